package rolelog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/postgrestest"
	"github.com/pgraft/pgraft/postgres/rolelog"
)

func TestLine(t *testing.T) {
	cases := []struct {
		name string
		s    api.Status
		want string
	}{
		{"external leader", api.Status{Role: api.RolePrimary, IsLeader: true, Term: 4},
			"pgraft: this server is primary; its agent is Raft's leader in term 4"},
		{"standby", api.Status{Role: api.RoleStandby, Epoch: 3, EpochReason: "the primary did not answer", PrimaryName: "b", Term: 9},
			"pgraft: this server is standby in epoch 3 (the primary did not answer); the primary is b; its agent is Raft's follower in term 9"},
		{"fenced", api.Status{Role: api.RoleFenced, Epoch: 3, Term: 9},
			"pgraft: this server is fenced in epoch 3 (no reason known); the primary is not known; its agent is Raft's follower in term 9"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := rolelog.Of(&tc.s).Line(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestSame(t *testing.T) {
	base := rolelog.Role{Postgres: api.RolePrimary, Primary: "a", Epoch: 2, Leads: true, Term: 5}
	cases := []struct {
		name   string
		change func(*rolelog.Role)
		same   bool
	}{
		{"nothing", func(*rolelog.Role) {}, true},
		{"a later term", func(r *rolelog.Role) { r.Term++ }, true},
		{"another epoch", func(r *rolelog.Role) { r.Epoch++ }, false},
		{"another primary", func(r *rolelog.Role) { r.Primary = "b" }, false},
		{"a standby", func(r *rolelog.Role) { r.Postgres = api.RoleStandby }, false},
		{"no longer leader", func(r *rolelog.Role) { r.Leads = false }, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			other := base
			tc.change(&other)
			if got := base.Same(other); got != tc.same {
				t.Errorf("Same is %v, want %v", got, tc.same)
			}
		})
	}
}

// TestWriter: each change is one line, what could not be written is written when PostgreSQL answers, and only the newest.
func TestWriter(t *testing.T) {
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	log := logOf(server)
	var refuse atomic.Bool
	refuse.Store(true)
	tried := make(chan struct{}, 100)
	w := rolelog.New(func(ctx context.Context) (*pgx.Conn, error) {
		if refuse.Load() {
			tried <- struct{}{}
			return nil, errors.New("PostgreSQL is down")
		}
		return pgx.Connect(ctx, server.DSN("postgres"))
	}, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })

	w.Saw(rolelog.Role{Postgres: api.RoleStandby, Epoch: 1, Reason: "it's first", Primary: "a"})
	<-tried
	w.Saw(rolelog.Role{Postgres: api.RoleFenced, Epoch: 2, Reason: "100% 'sure'", Primary: ""})
	refuse.Store(false)
	wantLines(t, log, "fenced in epoch 2 (100% 'sure')")
	w.Saw(rolelog.Role{Postgres: api.RoleUnknown, Epoch: 2})
	w.Saw(rolelog.Role{Postgres: api.RolePrimary, Epoch: 2, Primary: "b"})
	w.Saw(rolelog.Role{Postgres: api.RolePrimary, Epoch: 2, Primary: "b", Term: 7})
	wantLines(t, log, "fenced in epoch 2", "primary in epoch 2")
}

// TestTellWithFewRights: a role that is no superuser may write the line too.
func TestTellWithFewRights(t *testing.T) {
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	conn := postgrestest.Connect(t, server, "postgres")
	for _, sql := range []string{"CREATE ROLE few", "SET ROLE few"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := rolelog.Tell(t.Context(), conn, "pgraft: few rights"); err != nil {
		t.Fatal(err)
	}
	wantLines(t, logOf(server), "few rights")
}

// wantLines waits until the log's lines of pgraft are those wanted, each whole, and no more.
func wantLines(t *testing.T, path string, want ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := linesAre(path, want)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func linesAre(path string, want []string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, "LOG:  pgraft:") {
			lines = append(lines, line)
		}
	}
	if len(lines) != len(want) {
		return fmt.Errorf("got lines %q, want %q", lines, want)
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			return fmt.Errorf("line %d is %q, want %q in it", i, lines[i], want[i])
		}
	}
	return nil
}

func logOf(server *postgres.Instance) string { return filepath.Join(filepath.Dir(server.Dir()), "log") }
