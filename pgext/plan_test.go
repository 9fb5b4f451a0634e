package pgext

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	fine := serverState{versionNum: 150018, serverVersion: "15.18", user: "postgres", superuser: true, database: "db", dblinkAvailable: true}
	with := func(f func(s *serverState)) serverState {
		s := fine
		f(&s)
		return s
	}
	local := func(s *serverState) { s.localRunDir, s.localPort = "/run/x", 7403 }
	for _, test := range []struct {
		name  string
		state serverState
		role  string
		want  []string         // the first words of each change
		kind  InstallErrorKind // or the obstacle
		hint  string
	}{
		{name: "bare, files open", state: with(func(s *serverState) { s.extensionDir, s.files = "/d", []string{"f"} }),
			want: []string{"write the extension's files", "create extension dblink", "create extension pgraft 1.0", "tell the functions"}},
		{name: "bare, files closed", state: fine, want: []string{"create extension dblink", "run script pgraft--1.0.sql", "tell the functions"}},
		{name: "packaged files", state: with(func(s *serverState) { s.available, s.dblink = true, true }), want: []string{"create extension pgraft 1.0", "tell the functions"}},
		{name: "all there", state: with(func(s *serverState) { s.extension, s.ours = "1.0", true; local(s) })},
		{name: "later version there", state: with(func(s *serverState) { s.extension, s.ours = "1.10", true; local(s) })},
		{name: "too old", state: with(func(s *serverState) { s.versionNum, s.serverVersion = 130014, "13.14" }), kind: InstallTooOld, hint: "14 or later"},
		{name: "no dblink", state: with(func(s *serverState) { s.dblinkAvailable = false }), kind: InstallNoDblink, hint: "postgresql-contrib, on Debian and Ubuntu postgresql-15"},
		{name: "no rights", state: with(func(s *serverState) { s.missing = []string{"GRANT a", "GRANT b"} }), kind: InstallNoRights, hint: "GRANT a; GRANT b"},
		{name: "no rights needed", state: with(func(s *serverState) { s.inline, s.ours, s.missing = "1.0", true, []string{"GRANT a"}; local(s) })},
		{name: "old extension, files closed", state: with(func(s *serverState) { s.extension, s.ours, s.dblink = "0.9", true, true }), kind: InstallNoFiles, hint: "pgraft setup"},
		{name: "old extension, files open", state: with(func(s *serverState) {
			s.extension, s.ours, s.dblink, s.extensionDir = "0.9", true, true, "/d"
			local(s)
		}),
			want: []string{"upgrade extension pgraft from 0.9 to 1.0"}},
		{name: "no script", state: with(func(s *serverState) { s.inline, s.ours, s.dblink = "0.9", true, true }), kind: InstallNoScript, hint: "DROP SCHEMA"},
		{name: "standby with it", state: with(func(s *serverState) { s.inRecovery, s.extension, s.ours = true, "1.0", true })},
		{name: "standby without", state: with(func(s *serverState) { s.inRecovery = true }), kind: InstallStandby, hint: "primary"},
		{name: "new role", state: with(func(s *serverState) { s.extension, s.ours = "1.0", true; local(s) }), role: "agent", want: []string{"create role agent", "let role agent"}},
		{name: "role without rights", state: with(func(s *serverState) { s.extension, s.ours, s.agentRole = "1.0", true, true; local(s) }), role: "agent", want: []string{"let role agent"}},
		{name: "role with all", state: with(func(s *serverState) {
			s.extension, s.ours, s.agentRole, s.agentRights = "1.0", true, true, true
			local(s)
		}), role: "agent"},
		{name: "leftover", state: with(func(s *serverState) { s.dblink, s.leftover = true, []string{"pgraft_x()"}; local(s) }), want: []string{"remove the functions", "run script"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			changes, err := plan(test.state, InstallOptions{RunDir: "/run/x", ConsolePort: 7403, AgentRole: test.role}.withDefaults())
			var e *InstallError
			if errors.As(err, &e) && e.Kind == test.kind && strings.Contains(e.Hint, test.hint) {
				return
			}
			if err != nil || test.kind != "" {
				t.Fatalf("got %v, want %q with hint %q", err, test.kind, test.hint)
			}
			ok := slices.EqualFunc(changes, test.want, func(c Change, want string) bool { return strings.HasPrefix(c.What, want) })
			if !ok {
				t.Errorf("got %v, want %q", changes, test.want)
			}
		})
	}
	if _, err := plan(fine, InstallOptions{RunDir: "relative"}.withDefaults()); err == nil {
		t.Error("a relative run_dir was taken")
	}
}

func TestNewer(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{{"1.0", "1.0", false}, {"1.10", "1.9", true}, {"1.9", "1.10", false}, {"2", "1.9", true}, {"1.0.1", "1.0", true}, {"", "1.0", false}} {
		if got := newer(test.a, test.b); got != test.want {
			t.Errorf("newer(%q, %q) = %v", test.a, test.b, got)
		}
	}
}
