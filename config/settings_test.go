package config_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/postgres/managed"
)

func TestCheckSetting(t *testing.T) {
	tests := []struct{ name, value, want, wantManaged string }{
		{"log_level", "debug", "", ""},
		{"raft.snapshot_interval", "1m", "", ""},
		{"my.app.limit", "anything", "", ""},
		{"autopilot", `{"min_quorum":3}`, "", ""},
		{"autopilot", "on", "JSON", "JSON"},
		{"autopilot", `{"last_contact_threshold":"soon"}`, "not a duration", "not a duration"},
		{"log_level", "loud", "not known", "not known"},
		{"raft.snapshot_interval", "soon", "not a duration", "not a duration"},
		{"raft.batch_size", "10", "restart", "restart"},
		{"retry_join", "10.0.0.1", "restart", "restart"},
		{"postgres.work_mem", "64MB", "ALTER SYSTEM", ""},
		{"postgres.pg_stat_statements.max", "100", "ALTER SYSTEM", ""},
		{"postgres.Work_Mem", "64MB", "ALTER SYSTEM", "lower case"},
		{"postgres.", "x", "ALTER SYSTEM", "no name"},
		{"postgres.a-b", "x", "ALTER SYSTEM", "no name"},
		{"postgres.a.b.c", "x", "ALTER SYSTEM", "no name"},
		{"postgres.work_mem", "64MB\nport = 1", "ALTER SYSTEM", "one line"},
		{"postgres.synchronous_standby_names", "*", "ALTER SYSTEM", "majority"},
		{"postgres.primary_conninfo", "", "ALTER SYSTEM", "decision"},
		{"postgres.port", "1", "ALTER SYSTEM", "listen"},
		{"postgres.recovery_target_lsn", "0/1", "ALTER SYSTEM", "point in time"},
		{"postgres.max_wal_senders", "3", "ALTER SYSTEM", "10 or more"},
		{"postgres.max_wal_senders", "20", "ALTER SYSTEM", ""},
		{"postgres.wal_level", "minimal", "ALTER SYSTEM", "logical"},
		{"postgres.data_dir", "/x", "restart", "restart"},
		{"postgres.parameters", "x", "restart", "restart"},
		{"postgres.hba", "x", "restart", "restart"},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			checkRefusal(t, config.CheckSetting(tt.name, tt.value, false), tt.want)
			checkRefusal(t, config.CheckSetting(tt.name, tt.value, true), tt.wantManaged)
		})
	}
}

func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

func TestClusterParameters(t *testing.T) {
	got := config.ClusterParameters(map[string]string{
		"postgres.work_mem": "64MB", "postgres.auto_explain.log_min_duration": "1s", "postgres.port": "1", "postgres.priority": "3",
		"log_level": "debug", "app.postgres.x": "1",
	})
	if len(got) != 2 || got["work_mem"] != "64MB" || got["auto_explain.log_min_duration"] != "1s" {
		t.Errorf("got %v", got)
	}
	if !slices.Contains(config.OwnedParameters(), "primary_conninfo") {
		t.Error("primary_conninfo is not owned")
	}
}

// TestOwnedAgrees compares what is refused here with what the managed server overwrites, and with the guide.
func TestOwnedAgrees(t *testing.T) {
	guide, err := os.ReadFile("../website/content/docs/managed-postgresql.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(guide), "## What pgraft owns")
	section, _, _ = strings.Cut(section, "\n## ")
	harmful := []string{"config_file", "external_pid_file", "recovery_target_action", "recovery_target_inclusive"} // and overwritten by nobody
	for _, name := range config.OwnedParameters() {
		if is, adjustable := managed.Owned(name); (!is || adjustable) && !slices.Contains(harmful, name) {
			t.Errorf("%s is refused, and managed takes it", name)
		}
		if !strings.Contains(section, "`"+name+"`") && !strings.HasPrefix(name, "recovery_target_") {
			t.Errorf("%s is not in the guide's list of what pgraft owns", name)
		}
	}
	for name, value := range map[string]string{
		"wal_level": "logical", "max_wal_senders": "20", "max_replication_slots": "20", "unix_socket_directories": "/tmp", "wal_keep_size": "1GB",
		"wal_receiver_timeout": "5s", "hot_standby_feedback": "on", "archive_mode": "on", "shared_preload_libraries": "pg_stat_statements",
	} {
		if is, adjustable := managed.Owned(name); is && !adjustable {
			t.Errorf("managed owns %s", name)
		}
		if err := config.CheckParameter(name, value); err != nil {
			t.Errorf("%s = %s: %v", name, value, err)
		}
	}
}

func TestManagedPlaces(t *testing.T) {
	text := "bootstrap_expect = 3\nrun_dir = \"/run/x\"\npostgres {\n data_dir = \"/pg\"\n}\n"
	c, _, err := config.LoadBytes("a.hcl", []byte(text), config.LoadOptions{Host: fixedHost()})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Managed() || c.PostgresAdvertise() != "10.0.0.11:5432" || c.PostgresPort() != 5432 || c.PostgresSocketPath() != "/run/x/postgresql/.s.PGSQL.5432" {
		t.Errorf("managed %v, advertise %s, port %d, socket %s", c.Managed(), c.PostgresAdvertise(), c.PostgresPort(), c.PostgresSocketPath())
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
