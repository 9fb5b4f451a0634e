package pgext_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/pgext"
	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

func TestCommands(t *testing.T) {
	backend := newFakeBackend()
	dir := openConsole(t, backend)
	conn := newInstalled(t, dir)
	big := strings.Repeat(`\'`, 250_000)
	for _, test := range []struct{ sql, want string }{
		{"SELECT pgraft_kv_get('a')", "<null>"},
		{`SELECT pgraft_kv_put('app/config', '{"timeout":30}')`, "t"},
		{"SELECT pgraft_kv_get('app/config'), pgraft_get_last_index()", `{"timeout":30}|1`},
		{`SELECT pgraft_kv_put('o''dd \ é', E'line\nand \\ ''quote''')`, "t"},
		{`SELECT pgraft_kv_get('o''dd \ é')`, "line\nand \\ 'quote'"},
		{"SELECT pgraft_kv_list_keys()", "app/config\no'dd \\ é"},
		{"SELECT pgraft_kv_list_keys('app')", "app/config"},
		{"SELECT pgraft_kv_exists('app/config'), pgraft_kv_exists('a')", "t|f"},
		{"SELECT pgraft_kv_cas('app/config', 7, 'x'), pgraft_kv_cas('app/config', 1, 'x'), pgraft_kv_cas('new', 0, '')", "f|t|t"},
		{"SELECT pgraft_kv_get('new')", ""},
		{"SELECT pgraft_kv_delete('new'), pgraft_kv_delete('new')", "t|f"},
		{"SELECT pgraft_replicate_entry('x') > 0, pgraft_snapshot(), pgraft_set_debug(true)", "t|40|t"},
		{"SELECT pgraft_add_node(4, '10.0.0.14', 7401), pgraft_remove_node(4), pgraft_transfer_leadership(2), pgraft_switchover(2)", "t|t|t|t"},
		{"SELECT pgraft_kv_put('big', '" + strings.ReplaceAll(big, "'", "''") + "')", "t"},
		{"SELECT length(pgraft_kv_get('big'))", "500000"},
		{"SELECT dblink_get_connections()", "<null>"},
	} {
		if got := text(t, conn, test.sql); got != test.want {
			t.Errorf("%.100s: got %.100q, want %.100q", test.sql, got, test.want)
		}
	}
}

func TestCommandErrors(t *testing.T) {
	backend := newFakeBackend()
	conn := newInstalled(t, openConsole(t, backend))
	for _, test := range []struct {
		name, sql, code, message, hint string
		hook                           error
	}{
		{name: "not leader", sql: "SELECT pgraft_add_node(4, '10.0.0.4', 7401)", hook: &api.Error{Code: api.CodeNotLeader, Leader: &api.Leader{NodeID: 2, Name: "pg2"}},
			code: "55000", message: "cannot add node: this node is not the leader", hint: "run it on the leader, node 2 (pg2)"},
		{name: "in doubt", sql: "SELECT pgraft_kv_put('a', 'b')", hook: &api.Error{Code: api.CodeInDoubt, Message: "lost leadership", RequestID: "r1"},
			code: "40003", message: "lost leadership", hint: "may have been made"},
		{name: "no leader", sql: "SELECT pgraft_kv_delete('a')", hook: &api.Error{Code: api.CodeNoLeader, Message: "no leader"}, code: "57P03", message: "no leader", hint: "not made"},
		{name: "timeout", sql: "SELECT pgraft_kv_get('a')", hook: &api.Error{Code: api.CodeTimeout, Message: "no answer"}, code: "57014", message: "no answer"},
		{name: "null key", sql: "SELECT pgraft_kv_put(NULL, 'b')", code: "22004", message: "key must not be null"},
		{name: "switchover refused", sql: "SELECT pgraft_switchover(4)", hook: &api.Error{Code: api.CodeConflict, Message: "pg4 is a witness", Hint: "choose another node"},
			code: "55006", message: "pg4 is a witness", hint: "choose another node"},
		{name: "switchover to nobody", sql: "SELECT pgraft_switchover(NULL)", code: "22004", message: "node_id must not be null"},
		{name: "null node", sql: "SELECT pgraft_remove_node(NULL)", code: "22004", message: "node_id must not be null"},
		{name: "long value", sql: "SELECT pgraft_kv_put('a', repeat('x', 524289))", code: "54000", message: "too long"},
		{name: "bad node", sql: "SELECT pgraft_remove_node(0)", code: "22023", message: "node_id must be"},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend.setHook(func(context.Context, string) error { return test.hook })
			e := sqlErr(t, conn, test.sql)
			if e.Code != test.code || !strings.Contains(e.Message, test.message) || !strings.Contains(e.Hint, test.hint) {
				t.Errorf("got %s %q hint %q, want %s %q hint %q", e.Code, e.Message, e.Hint, test.code, test.message, test.hint)
			}
		})
	}
	if got := text(t, conn, "SELECT dblink_get_connections()"); got != "<null>" {
		t.Errorf("connections are left: %s", got)
	}
}

// TestFrozenAgent has the agent take a statement and never answer.
func TestFrozenAgent(t *testing.T) {
	backend := newFakeBackend()
	conn := newInstalled(t, openConsole(t, backend))
	backend.setHook(func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() })
	quick := func(t *testing.T, sql, code, message string) {
		t.Helper()
		start := time.Now()
		if e := sqlErr(t, conn, sql); e.Code != code || !strings.Contains(e.Message, message) || code != "57014" && e.Hint == "" {
			t.Errorf("%s: got %+v", sql, e)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", sql, took)
		}
		if got := text(t, conn, "SELECT dblink_get_connections()"); got != "<null>" {
			t.Errorf("connections are left: %s", got)
		}
	}
	exec1(t, conn, "SET pgraft.command_timeout = '200ms'")
	quick(t, "SELECT pgraft_kv_put('a', 'b')", "40003", "no answer from the agent within")
	quick(t, "SELECT pgraft_kv_get('a')", "08006", "no answer from the agent within")
	exec1(t, conn, "SET pgraft.command_timeout = 'nonsense'")
	quick(t, "SELECT pgraft_kv_get('a')", "22023", "pgraft.command_timeout")
	exec1(t, conn, "RESET pgraft.command_timeout; SET statement_timeout = '200ms'")
	quick(t, "SELECT pgraft_kv_put('a', 'b')", "57014", "statement timeout")
	exec1(t, conn, "RESET statement_timeout")
	entered := make(chan struct{})
	backend.setHook(func(ctx context.Context, _ string) error { close(entered); <-ctx.Done(); return ctx.Err() })
	go func() {
		<-entered
		_ = conn.PgConn().CancelRequest(context.Background())
	}()
	quick(t, "SELECT pgraft_kv_put('a', 'b')", "57014", "user request")
}

// TestDeadAgent has no agent, an agent that left its socket, and one that accepts nobody.
func TestDeadAgent(t *testing.T) {
	dir := openDir(t)
	conn := newInstalled(t, dir)
	unreachable := func(t *testing.T) {
		t.Helper()
		start := time.Now()
		e := sqlErr(t, conn, "SELECT pgraft_kv_put('a', 'b')")
		if e.Code != "08006" || e.Message != "agent not reachable" || !strings.Contains(e.Hint, "pgraft agent") {
			t.Errorf("got %+v", e)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	}
	t.Run("no socket", unreachable)
	t.Run("accepts and says nothing", func(t *testing.T) {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: pgext.SocketPath(dir, consolePort), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(pgext.SocketPath(dir, consolePort), 0o777); err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		unreachable(t)
		_ = l.Close()
	})
	t.Run("stale socket", unreachable)
	t.Run("dies with the statement", func(t *testing.T) { agentDies(t, dir, conn) })
	exec1(t, conn, "DELETE FROM pgraft.local")
	if e := sqlErr(t, conn, "SELECT pgraft_snapshot()"); e.Code != "55000" || !strings.Contains(e.Hint, "pgraft setup") {
		t.Errorf("without a place: %+v", e)
	}
}

func TestLatin1Database(t *testing.T) {
	backend := newFakeBackend()
	dir := openConsole(t, backend)
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	postgrestest.CreateDatabase(t, server, "latin", "LATIN1")
	conn := postgrestest.Connect(t, server, "latin")
	opt := inline()
	opt.RunDir = dir
	mustInstall(t, conn, opt)
	s := exampleStatus()
	s.ClusterName = "größe"
	writeStatus(t, dir, s, time.Minute)
	if got := text(t, conn, quickSQL); got != "t|1|7|RUNNING" {
		t.Errorf("got %q", got)
	}
	if got := text(t, conn, "SELECT pgraft_kv_put('a', 'ascii'), pgraft_kv_get('a')"); got != "t|ascii" {
		t.Errorf("got %q", got)
	}
	if e := sqlErr(t, conn, "SELECT pgraft_kv_put('a', chr(233))"); e.Code != "22021" || !strings.Contains(e.Hint, "UTF8") {
		t.Errorf("got %v", e)
	}
	backend.kv["utf8"] = api.KVPair{Value: []byte("é")}
	if e := sqlErr(t, conn, "SELECT pgraft_kv_get('utf8')"); e.Code != "22021" {
		t.Errorf("got %v", e)
	}
}

// TestHotStandby clones a server and asks the clone.
func TestHotStandby(t *testing.T) {
	primary := postgrestest.TempInstance(t, postgrestest.NoSync, postgrestest.Param("wal_level", "replica"), postgrestest.Param("max_wal_senders", "4"))
	dir := openConsole(t, newFakeBackend())
	conn := postgrestest.Connect(t, primary, "postgres")
	opt := inline()
	opt.RunDir = dir
	mustInstall(t, conn, opt)
	exec1(t, conn, "INSERT INTO pgraft.kv (key, value, version, create_index, modify_index) VALUES ('a', 'b', 1, 1, 1)")
	standby := clone(t, primary)

	// The rows that say where the agent is came with the primary's data: the file beside them is what holds here.
	atPrimary := openDir(t)
	s := managedStatus()
	writeStatus(t, atPrimary, s, time.Minute)
	if err := pgext.WriteLocal(text(t, conn, "SHOW data_directory"), pgext.Local{RunDir: atPrimary, ConsolePort: consolePort}); err != nil {
		t.Fatal(err)
	}
	s.NodeID, s.Name, s.Role, s.Postgres.InRecovery = 2, "pg2", api.RoleStandby, true
	writeStatus(t, dir, s, time.Minute)
	const whoAmI = "SELECT node_id, name, role, primary_id, epoch FROM pgraft_get_cluster_status()"
	if a, b := text(t, conn, whoAmI), text(t, standby, whoAmI); a != "1|pg1|primary|1|3" || b != "2|pg2|standby|1|3" {
		t.Errorf("on the primary %q, on the standby %q", a, b)
	}
	for _, call := range slices.Concat(readFunctions, changeFunctions) {
		if _, err := standby.Exec(testContext(t), "SELECT "+call); err != nil {
			t.Errorf("%s on a standby: %v", call, err)
		}
	}

	writeStatus(t, dir, exampleStatus(), time.Minute)
	if got := text(t, standby, "SELECT pg_is_in_recovery()"); got != "t" {
		t.Fatal("the clone is no standby")
	}
	for sql, want := range map[string]string{
		quickSQL: "t|1|7|RUNNING", "SELECT count(*) FROM pgraft_get_nodes()": "3", "SELECT value FROM pgraft.kv": "b",
		"SELECT count(*) FROM pgraft.members": "3", "SELECT pgraft_health_check() ->> 'status'": "OK",
		"SELECT pgraft_kv_put('x', 'y'), pgraft_kv_get('x')": "t|y", "SELECT pgraft_kv_cas('x', 9, 'z')": "f", "SELECT pgraft_switchover(2)": "t",
	} {
		if got := text(t, standby, sql); got != want {
			t.Errorf("%s: got %q, want %q", sql, got, want)
		}
	}
	report := mustInstall(t, standby, opt)
	if !report.ReadOnly || len(report.Changes) != 0 || report.Version != "1.0" {
		t.Errorf("installation on a standby: %+v", report)
	}
	exec1(t, conn, "SELECT pgraft.advance(0, 5, 1, 'c')")
	if got := text(t, standby, "SELECT pgraft_wait_for_index(5, '20s')"); got != "t" {
		t.Errorf("wait for an index that comes by WAL: %q", got)
	}
	if err := pgext.Uninstall(testContext(t), conn, opt); err != nil {
		t.Fatal(err)
	}
	waitFor(t, standby, "SELECT to_regnamespace('pgraft') IS NULL")
	if e := installError(t, standby, opt); e.Kind != pgext.InstallStandby {
		t.Errorf("got %v", e)
	}
}

func waitFor(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); text(t, conn, sql) != "t"; {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never true", sql)
		}
	}
}

// clone takes a base backup into a new instance's directory and starts it as a standby.
func clone(t *testing.T, primary *postgres.Instance) *pgx.Conn {
	t.Helper()
	standby := postgrestest.StoppedInstance(t, postgrestest.NoSync)
	parent := filepath.Dir(standby.Dir())
	backup := filepath.Join(parent, "backup")
	cmd := exec.CommandContext(testContext(t), filepath.Join(primary.BinDir(), "pg_basebackup"), "-d", primary.DSN("postgres"), "-D", backup, "-R", "-c", "fast", "-X", "stream")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	if err := replaceData(backup, standby.Dir()); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	if err := standby.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return postgrestest.Connect(t, standby, "postgres")
}

// replaceData swaps the contents of a data directory and keeps its owner and its own configuration files.
func replaceData(from, to string) error {
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	kept := map[string][]byte{}
	files, err := filepath.Glob(filepath.Join(to, "*.conf"))
	if err != nil {
		return err
	}
	for _, name := range files {
		if filepath.Base(name) == "postgresql.auto.conf" { // the backup's tells whom to follow
			continue
		}
		if kept[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	if err := errors.Join(os.RemoveAll(to), os.Rename(from, to), os.Chmod(to, 0o700)); err != nil {
		return err
	}
	for name, content := range kept {
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			return err
		}
	}
	return chownAll(to, info)
}

// agentDies has an agent that takes a statement and is gone before it answers.
func agentDies(t *testing.T, dir string, conn *pgx.Conn) {
	t.Helper()
	path := pgext.SocketPath(dir, consolePort)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			takeAndDie(client)
		}
	}()
	for sql, code := range map[string]string{"SELECT pgraft_kv_put('a', 'b')": "40003", "SELECT pgraft_kv_get('a')": "08006"} {
		if e := sqlErr(t, conn, sql); e.Code != code || e.Hint == "" || !strings.Contains(e.Message, "before it answered") {
			t.Errorf("%s: got %+v, want %s", sql, e, code)
		}
	}
}

func takeAndDie(client net.Conn) {
	defer func() { _ = client.Close() }()
	backend := pgproto3.NewBackend(client, client)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if backend.Flush() == nil {
		_, _ = backend.Receive()
	}
}
