package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/config"
)

// load is Load of one text in HCL, with flags.
func load(t *testing.T, text string, args ...string) *config.Config {
	t.Helper()
	opt := config.LoadOptions{Host: fixedHost(), Flags: parseFlags(t, args...)}
	c, _, err := config.LoadBytes("a.hcl", []byte(text), opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// value returns "VALUE from SOURCE" of one key.
func value(t *testing.T, c *config.Config, name string) string {
	t.Helper()
	for _, v := range c.Values() {
		if v.Name == name {
			return v.Value + " from " + v.Source
		}
	}
	t.Fatalf("no value %q", name)
	return ""
}

func TestValuesNameTheirSource(t *testing.T) {
	c := load(t, "witness = true\nraft {\n  snapshot_interval = \"10s\"\n}\n", "-data-dir=/srv/pgraft", "-profile=wan")
	if _, err := c.ApplyPostgresDefaults(map[string]string{"pgraft.batch_size": "200", "pgraft.snapshot_interval": "5000"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"witness":                   "true from a.hcl:1",
		"raft.snapshot_interval":    "10s from a.hcl:3",
		"data_dir":                  "/srv/pgraft from flag -data-dir",
		"raft.batch_size":           "200 from postgresql.conf pgraft.batch_size",
		"raft.heartbeat_timeout":    "1s from default (profile wan)",
		"raft.leader_lease_timeout": "500ms from default (profile wan)",
		"log_level":                 "info from default",
		"raft.max_batch_delay":      "0ms from default",
	} {
		if got := value(t, c, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if got, want := len(c.Values()), len(config.Keys()); got != want {
		t.Errorf("%d values for %d keys", got, want)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	const secret = "hunter2"
	for _, dsn := range []string{
		"host=/tmp password=hunter2 user=a",
		"host=/tmp password = 'hunter2 \\' hunter2' user=a",
		`host=/tmp password=x\ hunter2 user=a`,
		"postgres://a:hunter2@h/db",
		"postgresql://a@h/db?password=hunter2&sslmode=disable",
	} {
		c := load(t, "encrypt = \"aHVudGVyMmh1bnRlcjJodQ==\"\npostgres {\n  dsn = "+fmt.Sprintf("%q", dsn)+"\n}\n")
		text := fmt.Sprint(c.Values())
		if strings.Contains(text, secret) || strings.Contains(text, "aHVudGVy") {
			t.Errorf("dsn %s: a secret is shown: %s", dsn, text)
		}
	}
	for _, dsn := range []string{"host=/tmp port=x password=hunter2", "postgres://a:hunter2@h:x/db", "postgres://a:hunter2@[/db"} {
		_, _, err := config.LoadBytes("a.hcl", []byte(fmt.Sprintf("postgres {\n  dsn = %q\n}\n", dsn)), config.LoadOptions{Host: fixedHost()})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("dsn %s: error %v", dsn, err)
		}
	}
}

func TestDiff(t *testing.T) {
	old := load(t, "witness = true\nretry_join = [\"10.0.0.12\"]\n")
	changed := load(t, "witness = true\nretry_join = [\"10.0.0.13\"]\nlog_level = \"debug\"\nports {\n  http = 8400\n}\n")
	live, restart := config.Diff(old, changed)
	if !slices.Equal(live, []string{"retry_join", "log_level"}) || !slices.Equal(restart, []string{"ports.http"}) {
		t.Errorf("live %v, restart %v", live, restart)
	}
	if live, restart = config.Diff(old, old); live != nil || restart != nil {
		t.Errorf("a config differs from itself: %v %v", live, restart)
	}
}

func TestPostgresDefaults(t *testing.T) {
	for _, tc := range []struct {
		name     string
		file     string
		settings map[string]string
		want     map[string]string // values after it
		problem  string
	}{
		{name: "the operations guide's",
			settings: map[string]string{"pgraft.batch_size": "200", "pgraft.max_batch_delay": "20", "pgraft.snapshot_interval": "5000", "pgraft.max_log_entries": "500"},
			want: map[string]string{"raft.batch_size": "200", "raft.max_batch_delay": "20ms", "raft.snapshot_interval": "5s",
				"raft.trailing_logs": "500", "raft.snapshot_threshold": "500"}},
		{name: "files win", file: "raft {\n  batch_size = 7\n  trailing_logs = 9\n}\n",
			settings: map[string]string{"pgraft.batch_size": "200", "pgraft.max_log_entries": "500"},
			want:     map[string]string{"raft.batch_size": "7", "raft.trailing_logs": "9", "raft.snapshot_threshold": "500"}},
		{name: "units", settings: map[string]string{"pgraft.max_batch_delay": "500us", "pgraft.snapshot_interval": "2 min"},
			want: map[string]string{"raft.max_batch_delay": "500µs", "raft.snapshot_interval": "2m"}},
		{name: "a longer election timeout makes elections rarer", settings: map[string]string{"pgraft.election_timeout": "2000"},
			want: map[string]string{"raft.election_timeout": "2s", "raft.heartbeat_timeout": "2s", "raft.leader_lease_timeout": "1.333s"}},
		{name: "heartbeats", settings: map[string]string{"pgraft.election_timeout": "1000", "pgraft.heartbeat_interval": "50"},
			want: map[string]string{"raft.election_timeout": "1s", "raft.heartbeat_timeout": "500ms"}},
		{name: "heartbeats capped", settings: map[string]string{"pgraft.election_timeout": "300", "pgraft.heartbeat_interval": "100"},
			want: map[string]string{"raft.election_timeout": "300ms", "raft.heartbeat_timeout": "300ms"}},
		{name: "not a number", settings: map[string]string{"pgraft.batch_size": "many", "pgraft.max_log_entries": "500"},
			problem: "postgresql.conf pgraft.batch_size: ", want: map[string]string{"raft.trailing_logs": "10000"}},
		{name: "out of bounds", settings: map[string]string{"pgraft.max_batch_delay": "1h"}, problem: "postgresql.conf pgraft.max_batch_delay: raft.max_batch_delay: "},
		{name: "contradiction", file: "raft {\n  heartbeat_timeout = \"1s\"\n}\n", settings: map[string]string{"pgraft.election_timeout": "300"},
			problem: "postgresql.conf pgraft.election_timeout: raft.election_timeout: ", want: map[string]string{"raft.election_timeout": "1s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := load(t, "witness = true\n"+tc.file)
			_, err := c.ApplyPostgresDefaults(tc.settings)
			switch {
			case (err == nil) != (tc.problem == ""):
				t.Fatalf("error %v, want %q", err, tc.problem)
			case err != nil && !strings.HasPrefix(err.Error(), tc.problem):
				t.Fatalf("error %v, want %q", err, tc.problem)
			}
			for name, want := range tc.want {
				if got := value(t, c, name); !strings.HasPrefix(got, want+" from ") {
					t.Errorf("%s = %s, want %s", name, got, want)
				}
			}
		})
	}
}

func TestPostgresDefaultsWarnOfUnknown(t *testing.T) {
	c := load(t, "witness = true\n")
	warnings, err := c.ApplyPostgresDefaults(map[string]string{"pgraft.batchsize": "5", "work_mem": "4MB"})
	if err != nil || len(warnings) != 1 || warnings[0].String() != "postgresql.conf pgraft.batchsize: pgraft does not read this setting" {
		t.Errorf("warnings %v, error %v", warnings, err)
	}
}

func TestRaftTimersKeepProportion(t *testing.T) {
	for _, tc := range []struct{ file, want string }{
		{"", "300ms 300ms 200ms"},
		{"gossip {\n  profile = \"wan\"\n}\n", "1s 1s 500ms"},
		{"gossip {\n  profile = \"local\"\n}\n", "2.5s 2.5s 1.25s"},
		{"raft {\n  heartbeat_timeout = \"3s\"\n}\n", "3s 3s 2s"},
		{"raft {\n  heartbeat_timeout = \"150ms\"\n  leader_lease_timeout = \"75ms\"\n}\n", "150ms 150ms 75ms"},
		{"raft {\n  election_timeout = \"900ms\"\n}\n", "300ms 900ms 200ms"},
	} {
		timers := load(t, "witness = true\n"+tc.file).RaftTimers()
		if got := fmt.Sprintf("%s %s %s", timers.Heartbeat, timers.Election, timers.Lease); got != tc.want {
			t.Errorf("%q gives %s, want %s", tc.file, got, tc.want)
		}
	}
}
