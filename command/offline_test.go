package command_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

func TestSetup(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, needs a real PostgreSQL")
	}
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	dsn := "-dsn=" + server.DSN("postgres")
	args := []string{"setup", dsn, "-run-dir=" + t.TempDir(), "-no-files"}
	plan := run(t, "", args...)
	if plan.code != 0 || !strings.Contains(plan.stdout, "Nothing was changed yet") {
		t.Fatalf("plan: %+v", plan)
	}
	if got := functions(t, server.DSN("postgres")); got != 0 {
		t.Fatalf("the plan made %d functions", got)
	}
	if r := run(t, "", append(args, "-format=json")...); r.code != 0 || !json.Valid([]byte(r.stdout)) {
		t.Errorf("plan as JSON: %+v", r)
	}
	if r := run(t, "", append(args, "-yes")...); r.code != 0 || !strings.Contains(r.stdout, "Done: ") {
		t.Fatalf("setup: %+v", r)
	}
	if functions(t, server.DSN("postgres")) == 0 {
		t.Error("setup made no functions")
	}
	if r := run(t, "", append(args, "-yes")...); r.code != 0 || !strings.Contains(r.stdout, "Nothing to change") {
		t.Errorf("second setup: %+v", r)
	}
	if r := run(t, "", "setup", "-dsn=host=127.0.0.1 port=1"); r.code != 1 || !strings.Contains(r.stderr, "-dsn") {
		t.Errorf("no server: %+v", r)
	}
}

func functions(t *testing.T, dsn string) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'pgraft\\_%'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOfflineVerbsMakeNothing(t *testing.T) {
	dir := t.TempDir()
	for _, verb := range []string{"info", "recover"} {
		r := run(t, "yes\n", "operator", "raft", verb, "-data-dir="+dir)
		if r.code != 1 || !strings.Contains(r.stderr, "holds no Raft log") {
			t.Errorf("%s: %+v", verb, r)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("looking made %v", left)
	}
	if r := run(t, "", "operator", "raft", "info"); r.code != 2 {
		t.Errorf("without a directory: %+v", r)
	}
}

func TestRecover(t *testing.T) {
	dir := newRaftDir(t)
	r := run(t, "", "operator", "raft", "info", "-data-dir="+dir, "-format=json")
	var info consensus.OfflineInfo
	if r.code != 0 || json.Unmarshal([]byte(r.stdout), &info) != nil || len(info.Configuration) != 3 {
		t.Fatalf("info: %+v", r)
	}
	table := run(t, "", "operator", "raft", "info", "-data-dir="+dir)
	if table.code != 0 || !strings.Contains(table.stdout, "this server") {
		t.Errorf("info: %+v", table)
	}
	fits(t, table.stdout)

	for stdin, want := range map[string]string{"": "-yes", "no\n": "nothing was changed"} {
		r = run(t, stdin, "operator", "raft", "recover", "-data-dir="+dir)
		if r.code != 1 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "is lost") || strings.Count(r.stderr, "DROPPED") != 2 {
			t.Errorf("stdin %q: %+v", stdin, r)
		}
		fits(t, r.stderr)
	}
	if r = run(t, "", "operator", "raft", "recover", "-yes", "-keep=unknown", "-data-dir="+dir); r.code != 2 {
		t.Errorf("unknown server without an address: %+v", r)
	}
	if r = run(t, "yes\n", "operator", "raft", "recover", "-data-dir="+dir); r.code != 0 || !strings.Contains(r.stdout, "Recovered: 1 server") {
		t.Fatalf("recover: %+v", r)
	}
	after, err := consensus.Inspect(dir, hclog.NewNullLogger())
	if err != nil || len(after.Configuration) != 1 || after.Configuration[0].ID != info.ServerID {
		t.Errorf("after: %+v, %v", after, err)
	}
}

// newRaftDir returns the data directory of one of three servers, all stopped.
func newRaftDir(t *testing.T) string {
	t.Helper()
	c := consensustest.New(t, consensustest.Options{})
	if _, err := c.Node(c.Leader()).Propose(t.Context(), fsm.KVSet{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	dir := c.DataDir(0)
	c.Close()
	return dir
}
