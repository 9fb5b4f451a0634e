package pgext_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/pgext"
)

func connectConsole(tb testing.TB, runDir string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(testContext(tb), fmt.Sprintf("host=%s port=%d user=x dbname=x default_query_exec_mode=simple_protocol", runDir, consolePort))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// sqlErr runs a statement that must fail and returns PostgreSQL's form of the error.
func sqlErr(tb testing.TB, conn *pgx.Conn, sql string) *pgconn.PgError {
	tb.Helper()
	_, err := conn.PgConn().Exec(testContext(tb), sql).ReadAll()
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		tb.Fatalf("%.100s: got %v, want an error from the server", sql, err)
	}
	return e
}

func TestConsoleStatements(t *testing.T) {
	conn := connectConsole(t, openConsole(t, newFakeBackend()))
	for _, test := range []struct{ sql, want string }{
		{"SELECT 1", "1"},
		{"show version;", "0.1.0"},
		{"SHOW NODES", "1|pg1|10.0.0.11|7401|t|primary|alive|t|40|0|0|0.1.0\n2|pg2|10.0.0.12|7401|f|primary|alive|t|40|0|0|0.1.0\n" +
			"3|pg3|10.0.0.13|7401|f|primary|alive|t|40|0|0|0.1.0"},
		{"SHOW PEERS", "2|pg2|41|1|3|t"},
		{"SHOW LOG", "10|42|41|40|0|0|0|0|0|1048576"},
		{"SHOW EVENTS 5", "1|1970-01-01 00:00:00+00|join|pg1|joined"},
		{"SHOW SETTINGS", "work_mem|8MB|9"},
		{"SHOW INFO", "node_name|pg1|default"},
		{"KV PUT app/config '{\"a\": ''b''}'", "1|1"},
		{"KV GET app/config", "{\"a\": 'b'}"},
		{"KV PUT 'back' E'a\\\\b\\n\\u00e9'; KV GET back", "a\\b\né"},
		{"KV GET nothing", ""},
		{"KV EXISTS nothing", "f"},
		{"/* both /* are */ there */ KV LIST -- all of them", "app/config\nback"},
		{"KV LIST app/", "app/config"},
		{"KV CAS back 1 new", "3|2"},
		{"KV DELETE back", "4|1"},
		{"KV DELETE back", "5|0"},
		{"REPLICATE ENTRY 'x y'", "6|3"},
		{"WAIT INDEX 6 100ms", "6"},
		{"ADD NODE 4 10.0.0.14 7401", "4"},
		{"REMOVE NODE 4", "4"},
		{"TRANSFER LEADERSHIP 2", "2"},
		{"SWITCHOVER 2", "2"},
		{"SNAPSHOT", "40"},
		{"SET DEBUG on", "t"},
		{"SET client_encoding TO 'UTF8'; SELECT 1", "1"},
	} {
		if got := text(t, conn, test.sql); got != test.want {
			t.Errorf("%s: got %q, want %q", test.sql, got, test.want)
		}
	}
	if got := text(t, conn, "SHOW STATUS"); !strings.Contains(got, "is_leader|t\n") {
		t.Errorf("SHOW STATUS: %s", got)
	}
	if got := text(t, conn, "SHOW HELP"); !strings.Contains(got, "KV CAS key version value|") {
		t.Errorf("SHOW HELP: %s", got)
	}
}

func TestConsoleErrors(t *testing.T) {
	backend := newFakeBackend()
	conn := connectConsole(t, openConsole(t, backend, func(c *pgext.ConsoleConfig) { c.StatementTimeout = 100 * time.Millisecond }))
	backend.kv["binary"] = api.KVPair{Value: []byte{0xff, 0}}
	for _, test := range []struct {
		name, sql, code, message, hint string
		hook                           error
	}{
		{name: "unknown", sql: "FROB it", code: "42601", message: `unknown statement "FROB it"`, hint: "SHOW HELP"},
		{name: "arguments", sql: "KV PUT a", code: "42601", message: "KV PUT: wrong number of arguments", hint: "KV PUT key value"},
		{name: "quote", sql: "KV GET 'a", code: "42601", message: "unterminated quoted string"},
		{name: "comment", sql: "/* KV GET a", code: "42601", message: "unterminated /* comment"},
		{name: "sql", sql: "SELECT relname FROM pg_class", code: "0A000", message: "this is pgraft's console, not PostgreSQL", hint: "connect to PostgreSQL"},
		{name: "transaction", sql: "BEGIN", code: "0A000", message: "it has no BEGIN"},
		{name: "encoding", sql: "SET client_encoding = LATIN1", code: "0A000", message: "UTF-8 only"},
		{name: "bytes", sql: "KV PUT a E'\\xff'", code: "22021", message: "not UTF-8", hint: "/v1/kv/"},
		{name: "number", sql: "REMOVE NODE x", code: "22023", message: "node_id must be a number"},
		{name: "port", sql: "ADD NODE 4 10.0.0.4 70000", code: "22023", message: "port must be"},
		{name: "binary value", sql: "KV GET binary", code: "22021", message: "not text", hint: "value_bytes"},
		{name: "precondition", sql: "KV CAS a 5 b", code: "40001", message: "another version"},
		{name: "no leader", sql: "KV PUT a b", hook: &api.Error{Code: api.CodeNoLeader, Message: "no leader"}, code: "57P03", message: "no leader", hint: "not made"},
		{name: "in doubt", sql: "KV PUT a b", hook: &api.Error{Code: api.CodeInDoubt, Message: "lost leadership", RequestID: "r1"}, code: "40003", message: "lost", hint: "may have been made"},
		{name: "own hint", sql: "KV PUT a b", hook: &api.Error{Code: api.CodeBadRequest, Message: "bad key", Hint: "do this"}, code: "22023", message: "bad key", hint: "do this"},
		{name: "not leader", sql: "ADD NODE 4 10.0.0.4 7401", hook: &api.Error{Code: api.CodeNotLeader, Leader: &api.Leader{NodeID: 2, Name: "pg2"}},
			code: "55000", message: "cannot add node: this node is not the leader", hint: "node 2 (pg2)"},
		{name: "switchover refused", sql: "SWITCHOVER 4", hook: &api.Error{Code: api.CodeConflict, Message: "pg4 is a witness", Hint: "choose another node"},
			code: "55006", message: "pg4 is a witness", hint: "choose another node"},
		{name: "internal", sql: "SNAPSHOT", hook: errors.New("disk broke"), code: "XX000", message: "disk broke"},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend.setHook(func(context.Context, string) error { return test.hook })
			e := sqlErr(t, conn, test.sql)
			if e.Code != test.code || !strings.Contains(e.Message, test.message) || !strings.Contains(e.Hint, test.hint) {
				t.Errorf("got %s %q hint %q, want %s %q hint %q", e.Code, e.Message, e.Hint, test.code, test.message, test.hint)
			}
		})
	}
	backend.setHook(func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() })
	if e := sqlErr(t, conn, "KV PUT a b"); e.Code != "40003" {
		t.Errorf("a change that took too long: got %s, want 40003", e.Code)
	}
	if e := sqlErr(t, conn, "KV GET a"); e.Code != "57014" {
		t.Errorf("a read that took too long: got %s, want 57014", e.Code)
	}
	backend.setHook(nil)
	if e := sqlErr(t, conn, "KV PUT first 1; FROB; KV PUT second 2"); e.Code != "42601" {
		t.Errorf("got %v", e)
	}
	if got := text(t, conn, "KV LIST"); got != "binary\nfirst" {
		t.Errorf("after a statement that failed, keys are %q", got)
	}
}

func TestConsoleCancel(t *testing.T) {
	backend := newFakeBackend()
	conn := connectConsole(t, openConsole(t, backend))
	entered := make(chan struct{})
	backend.setHook(func(ctx context.Context, _ string) error { close(entered); <-ctx.Done(); return ctx.Err() })
	go func() {
		<-entered
		if err := conn.PgConn().CancelRequest(context.Background()); err != nil {
			t.Errorf("cancel: %v", err)
		}
	}()
	if e := sqlErr(t, conn, "KV GET a"); e.Code != "57014" {
		t.Errorf("got %v", e)
	}
	backend.setHook(nil)
	if got := text(t, conn, "SELECT 1"); got != "1" {
		t.Errorf("after a cancel: %q", got)
	}
}

func TestConsoleNoticesThatTheClientLeft(t *testing.T) {
	backend := newFakeBackend()
	conn := connectConsole(t, openConsole(t, backend))
	entered, left := make(chan struct{}), make(chan struct{})
	backend.setHook(func(ctx context.Context, _ string) error { close(entered); <-ctx.Done(); close(left); return ctx.Err() })
	network := conn.PgConn().Conn()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.PgConn().Exec(context.Background(), "KV PUT a b").ReadAll()
	}()
	<-entered
	_ = network.Close()
	<-done
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the statement went on")
	}
}

func TestConsoleExtendedProtocol(t *testing.T) {
	conn := connectConsole(t, openConsole(t, newFakeBackend()))
	var e *pgconn.PgError
	for range 2 {
		_, err := conn.Exec(testContext(t), "KV GET $1", pgx.QueryExecModeExec, "a")
		if err == nil {
			t.Fatal("extended query was accepted")
		}
		if !errors.As(err, &e) || e.Code != "0A000" {
			t.Fatalf("got %v, want 0A000", err)
		}
		if got := text(t, conn, "SELECT 1"); got != "1" {
			t.Fatalf("out of step afterwards: %q", got)
		}
	}
}

func TestConsoleLimits(t *testing.T) {
	dir := openConsole(t, newFakeBackend(), func(c *pgext.ConsoleConfig) { c.MaxClients = 1 })
	conn := connectConsole(t, dir)
	_, err := pgx.Connect(testContext(t), fmt.Sprintf("host=%s port=%d user=x dbname=x", dir, consolePort))
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "53300" {
		t.Errorf("second client: got %v, want 53300", err)
	}
	if e := sqlErr(t, conn, "KV PUT a '"+strings.Repeat("x", 3<<20)+"'"); e.Code != "54000" {
		t.Errorf("long statement: got %v, want 54000", e)
	}
}

func TestConsoleSocket(t *testing.T) {
	dir := openDir(t)
	cfg := pgext.ConsoleConfig{Backend: newFakeBackend(), RunDir: dir, Port: consolePort}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: pgext.SocketPath(dir, consolePort), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := pgext.NewConsole(cfg).Open(); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("over a live socket: got %v", err)
	}
	_ = stale.Close()
	console := pgext.NewConsole(cfg)
	if err := console.Open(); err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	connectConsole(t, dir)
	if err := console.Close(); err != nil { // with a client connected
		t.Fatal(err)
	}
	if err := os.WriteFile(pgext.SocketPath(dir, consolePort), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pgext.NewConsole(cfg).Open(); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("over a file: got %v", err)
	}
	cfg.RunDir = "/" + strings.Repeat("x", 120)
	if err := pgext.NewConsole(cfg).Open(); err == nil || !strings.Contains(err.Error(), "shorter run_dir") {
		t.Errorf("long path: got %v", err)
	}
}

func psql(t *testing.T, dir string, uid uint32, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("SKIPPED, needs psql")
	}
	cmd := exec.CommandContext(testContext(t), path, append([]string{"-X", "-h", dir, "-p", "7403", "-U", "x", "-d", "x"}, args...)...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGCLIENTENCODING=UTF8")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestConsoleWithPsql(t *testing.T) {
	dir := openConsole(t, newFakeBackend())
	out, err := psql(t, dir, serverUID(t), "-c", "SHOW NODES")
	if err != nil || !strings.Contains(out, "(3 rows)") || !strings.Contains(out, " node_id | name |") {
		t.Errorf("SHOW NODES: %v\n%s", err, out)
	}
	if out, err := psql(t, dir, serverUID(t), "-c", `\d`); err == nil || !strings.Contains(out, "this is pgraft's console") {
		t.Errorf("\\d: %v\n%s", err, out)
	}
	if os.Geteuid() != 0 {
		return
	}
	if out, err := psql(t, dir, 12345, "-c", "SELECT 1"); err == nil || !strings.Contains(out, "user with id 12345 may not use the console") {
		t.Errorf("a stranger: %v\n%s", err, out)
	}
}
