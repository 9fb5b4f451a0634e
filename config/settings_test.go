package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/config"
)

func TestCheckSetting(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"log_level", "debug", ""},
		{"raft.snapshot_interval", "1m", ""},
		{"my.app.limit", "anything", ""},
		{"autopilot", `{"min_quorum":3}`, ""},
		{"autopilot", "on", "JSON"},
		{"autopilot", `{"last_contact_threshold":"soon"}`, "not a duration"},
		{"log_level", "loud", "not known"},
		{"raft.snapshot_interval", "soon", "not a duration"},
		{"raft.batch_size", "10", "restart"},
		{"retry_join", "10.0.0.1", "restart"},
		{"postgres.work_mem", "64MB", "later release"},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			err := config.CheckSetting(tt.name, tt.value)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestWithSettings(t *testing.T) {
	files := config.DevDefaults()
	changed, problems := files.WithSettings(map[string]string{
		"log_level": "debug", "raft.snapshot_interval": "1m", "raft.batch_size": "10", "unknown": "x",
	})
	if changed.LogLevel != "debug" || changed.Raft.SnapshotInterval != time.Minute {
		t.Errorf("log_level %q, snapshot_interval %s", changed.LogLevel, changed.Raft.SnapshotInterval)
	}
	if files.LogLevel == "debug" {
		t.Error("the files' configuration was changed")
	}
	if changed.Raft.BatchSize != files.Raft.BatchSize || len(problems) != 1 {
		t.Errorf("batch_size %d, problems %v", changed.Raft.BatchSize, problems)
	}
	for _, v := range changed.Values() {
		if v.Name == "log_level" && v.Source != "setting log_level" {
			t.Errorf("source of log_level is %q", v.Source)
		}
	}
}
