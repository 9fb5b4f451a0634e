package pgext_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/pgext"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

// writeStatus writes a status file that is true now.
func writeStatus(tb testing.TB, dir string, s api.Status, fresh time.Duration) {
	tb.Helper()
	if err := (pgext.StatusFile{Path: pgext.StatusPath(dir)}).Write(s, time.Now(), fresh); err != nil {
		tb.Fatal(err)
	}
}

// newInstalled is a server with the extension's objects, which look for the agent in the directory.
func newInstalled(tb testing.TB, dir string) *pgx.Conn {
	tb.Helper()
	server := postgrestest.TempInstance(tb, postgrestest.NoSync)
	conn := postgrestest.Connect(tb, server, "postgres")
	opt := inline()
	opt.RunDir = dir
	mustInstall(tb, conn, opt)
	return conn
}

const (
	quickSQL  = "SELECT pgraft_is_leader(), pgraft_get_leader(), pgraft_get_term(), pgraft_get_worker_state()"
	statusSQL = "SELECT node_id, leader_id, state, num_nodes, has_quorum, role, last_contact_ms FROM pgraft_get_cluster_status()"
	nodesSQL  = "SELECT node_id, is_leader, status, role, lag_ms FROM pgraft_get_nodes()"
)

func TestStatusFunctions(t *testing.T) {
	dir := openDir(t)
	conn := newInstalled(t, dir)
	check := func(t *testing.T, sql, want string) {
		t.Helper()
		if got := text(t, conn, sql); got != want {
			t.Errorf("%s:\n got %q\nwant %q", sql, got, want)
		}
	}
	const (
		nobody      = "f|0|0|STOPPED"
		emptyStatus = "0|0|unknown|0|f|unknown|-1"
	)
	t.Run("fresh leader", func(t *testing.T) {
		writeStatus(t, dir, exampleStatus(), time.Minute)
		check(t, quickSQL, "t|1|7|RUNNING")
		check(t, statusSQL, "1|1|leader|3|t|primary|0")
		check(t, nodesSQL, "1|t|alive|primary|0\n2|f|alive|primary|0\n3|f|alive|primary|0")
		check(t, "SELECT * FROM pgraft_log_get_stats()", "10|42|41|40|0|0|0|0|0|1048576")
		check(t, "SELECT * FROM pgraft_log_get_replication_status()", "2|pg2|41|1|3|t")
		check(t, "SELECT pgraft_get_version()", "0.1.0")
		check(t, "SELECT string_agg(status, ',') FROM pgraft.health", "OK,OK,OK,OK,OK,OK,OK")
		check(t, "SELECT j ->> 'status', j ->> 'is_leader', json_array_length(j -> 'checks') FROM pgraft_health_check() AS j", "OK|true|7")
		check(t, "SELECT now() - as_of < '1 minute' FROM pgraft_get_cluster_status()", "t")
	})
	t.Run("checks of the agent", func(t *testing.T) {
		s := exampleStatus()
		s.Checks = []api.Check{
			{Name: "fsync", Status: api.CheckWarning, Message: "it is slow", Next: "Buy a disk."},
			{Name: "future", Status: "FATAL", Message: "of a later agent"},
			{Name: "versions", Status: api.CheckOK, Message: "all run 1.0"},
		}
		writeStatus(t, dir, s, time.Minute)
		check(t, "SELECT c.* FROM pgraft_check() WITH ORDINALITY AS c(n, s, m, i) WHERE i > 7",
			"fsync|WARNING|it is slow. Buy a disk.|8\nfuture|UNKNOWN|of a later agent|9\nversions|OK|all run 1.0|10")
		check(t, "SELECT j ->> 'status', json_array_length(j -> 'checks') FROM pgraft_health_check() AS j", "WARNING|10")
	})
	t.Run("follower", func(t *testing.T) {
		s := exampleStatus()
		s.NodeID, s.State, s.IsLeader, s.LeaseUntil, s.Nodes[2].Status = 2, "follower", false, time.Time{}, api.NodeFailed
		writeStatus(t, dir, s, time.Minute)
		check(t, quickSQL, "f|1|7|RUNNING")
		check(t, statusSQL, "2|1|follower|3|t|primary|0")
		check(t, "SELECT status, message FROM pgraft_check() WHERE check_name = 'members'", "WARNING|2 of 3 voters alive; not alive: pg3")
	})
	t.Run("lease is over", func(t *testing.T) {
		s := exampleStatus()
		s.LeaseUntil = time.Now().Add(-time.Millisecond)
		writeStatus(t, dir, s, time.Minute)
		check(t, quickSQL, "f|0|7|RUNNING")
		check(t, statusSQL, "1|0|unknown|3|f|primary|0")
		check(t, "SELECT bool_or(is_leader) FROM pgraft_get_nodes()", "f")
		check(t, "SELECT string_agg(check_name, ',') FROM pgraft_check() WHERE status = 'CRITICAL'", "leader,quorum")
	})
	t.Run("stale", func(t *testing.T) {
		writeStatus(t, dir, exampleStatus(), -time.Millisecond)
		check(t, quickSQL, "f|0|7|STOPPED")
		check(t, statusSQL, "1|0|unknown|3|f|unknown|-1")
		check(t, nodesSQL, "1|f|unknown|unknown|<null>\n2|f|unknown|unknown|<null>\n3|f|unknown|unknown|<null>")
		check(t, "SELECT is_active FROM pgraft_log_get_replication_status()", "f")
		check(t, "SELECT as_of IS NOT NULL FROM pgraft_get_cluster_status()", "t")
		check(t, "SELECT string_agg(status, ',') FROM pgraft.health", "CRITICAL,UNKNOWN,UNKNOWN,UNKNOWN,UNKNOWN,UNKNOWN,UNKNOWN")
	})
	t.Run("from the future", func(t *testing.T) {
		f := pgext.StatusFile{Path: pgext.StatusPath(dir)}
		if err := f.Write(exampleStatus(), time.Now().Add(10*time.Minute), time.Minute); err != nil {
			t.Fatal(err)
		}
		check(t, quickSQL, "f|0|7|STOPPED")
	})
	t.Run("stopped", func(t *testing.T) {
		if err := (pgext.StatusFile{Path: pgext.StatusPath(dir)}).Remove(); err != nil {
			t.Fatal(err)
		}
		check(t, quickSQL, nobody)
		check(t, statusSQL, emptyStatus)
		check(t, nodesSQL, "")
		check(t, "SELECT pgraft_get_version()", "1.0")
		check(t, "SELECT last_index FROM pgraft_log_get_stats()", "0")
	})
	whole := wholeFile(t, exampleStatus())
	for name, content := range map[string]string{
		"empty": "", "binary": "\xff\x00\xfe", "no json": "hello", "other json": "[1]\n", "head only": whole[:512], "cut": whole[:len(whole)-40],
		"types":      `{"head":{"fresh_until_us":99999999999999999,"written_us":1,"is_leader":"perhaps","lease_until_us":[],"term":{},"node_id":"x"},` + "\n" + `"status":{"node_id":"x","nodes":[{"node_id":"y"}],"peers":[1],"term":1e40,"log":{"last_index":"z"}}}`,
		"huge count": `{"head":{"fresh_until_us":1e400,"written_us":1},` + "\n" + `"status":{}}`,
		"scalars":    `{"head":7,` + "\n" + `"status":7}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(pgext.StatusPath(dir), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			if name != "head only" && name != "cut" { // whose head is whole, and true
				check(t, quickSQL, nobody)
			}
			check(t, statusSQL, emptyStatus)
			check(t, nodesSQL, "")
			check(t, "SELECT count(*) FROM pgraft_log_get_replication_status()", "0")
			check(t, "SELECT last_index FROM pgraft_log_get_stats()", "0")
			check(t, "SELECT bool_or(status = 'OK') FROM pgraft.health", "f")
		})
	}
	t.Run("file in the data directory wins", func(t *testing.T) {
		other := openDir(t)
		writeStatus(t, other, exampleStatus(), time.Minute)
		data := text(t, conn, "SHOW data_directory")
		if err := pgext.WriteLocal(data, pgext.Local{RunDir: other, ConsolePort: 1}); err != nil {
			t.Fatal(err)
		}
		check(t, quickSQL, "t|1|7|RUNNING")
		if err := os.WriteFile(filepath.Join(data, "pgraft.local"), []byte("garbage"), 0o644); err != nil {
			t.Fatal(err)
		}
		check(t, quickSQL, nobody)
		check(t, statusSQL, emptyStatus)
	})
}

// managedStatus is what pg1 says as the primary of a managed cluster.
func managedStatus() api.Status {
	s := exampleStatus()
	s.PrimaryID, s.PrimaryName, s.PrimaryUntil, s.Epoch, s.Phase = 1, "pg1", time.Now().Add(time.Minute), 3, api.PhaseReady
	s.Sync = api.SyncStatus{Mode: api.SyncQuorum, Acks: 1, Members: []string{"pg1", "pg2", "pg3"}}
	s.Postgres.Mode, s.Postgres.SyncAcks = "managed", 2
	for i := range s.Nodes[1:] {
		s.Nodes[1+i].Role, s.Nodes[1+i].LagBytes = api.RoleStandby, int64(i*2000-1000)
	}
	return s
}

// TestManagedStatus asks the functions what a managed PostgreSQL is.
func TestManagedStatus(t *testing.T) {
	dir := openDir(t)
	conn := newInstalled(t, dir)
	const (
		who    = "SELECT role, primary_id, epoch, in_doubt_lsn FROM pgraft_get_cluster_status()"
		nodes  = "SELECT string_agg(role, ','), string_agg(coalesce(lag_bytes::text, '?'), ',') FROM pgraft_get_nodes()"
		checks = "SELECT string_agg(check_name || ' ' || status, ', ') FROM pgraft_check() WHERE check_name IN ('primary', 'in_doubt')"
		why    = "SELECT message FROM pgraft_check() WHERE check_name = 'primary'"
	)
	for _, test := range []struct {
		name                    string
		change                  func(*api.Status)
		who, nodes, checks, why string
	}{
		{"primary", func(*api.Status) {}, "primary|1|3|<null>", "primary,standby,standby|0,?,1000", "primary OK, in_doubt OK", "this node is the primary, epoch 3"},
		{"proof is over", func(s *api.Status) { s.PrimaryUntil = time.Now() }, "unknown|0|3|<null>", "unknown,standby,standby|0,?,1000",
			"primary CRITICAL, in_doubt OK", "no primary is known in epoch 3 (ready)"},
		{"standby", func(s *api.Status) {
			s.NodeID, s.Role, s.Postgres.InRecovery, s.PrimaryUntil = 2, api.RoleStandby, true, time.Time{}
		}, "standby|1|3|<null>", "primary,standby,standby|0,?,1000", "primary OK, in_doubt OK", "node 1 (pg1) is the primary, epoch 3"},
		{"paused", func(s *api.Status) { s.Paused = true }, "primary|1|3|<null>", "primary,standby,standby|0,?,1000", "primary WARNING, in_doubt OK", "paused"},
		{"commits wait", func(s *api.Status) { s.Postgres.SyncAcks = 0 }, "primary|1|3|<null>", "primary,standby,standby|0,?,1000",
			"primary CRITICAL, in_doubt OK", "commits wait: 0 of 1"},
		{"read-only", func(s *api.Status) { s.Postgres.ReadOnly = true }, "primary|1|3|<null>", "primary,standby,standby|0,?,1000",
			"primary CRITICAL, in_doubt OK", "takes no writes"},
		{"cut off", func(s *api.Status) {
			s.Role, s.Nodes[0].Role, s.PrimaryID, s.InDoubtLSN, s.Postgres.InDoubtBytes = api.RoleUnknown, api.RoleUnknown, 0, "0/5000148", 328
		}, "unknown|0|3|0/5000148", "unknown,standby,standby|0,?,1000", "primary CRITICAL, in_doubt CRITICAL", "no primary is known"},
		{"fenced", func(s *api.Status) {
			s.Role, s.Nodes[0].Role, s.PrimaryID, s.Phase = api.RoleFenced, api.RoleFenced, 0, api.PhaseFenced
		},
			"fenced|0|3|<null>", "fenced,standby,standby|0,?,1000", "primary CRITICAL, in_doubt OK", "epoch 3 (fenced)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := managedStatus()
			test.change(&s)
			writeStatus(t, dir, s, time.Minute)
			for sql, want := range map[string]string{who: test.who, nodes: test.nodes, checks: test.checks} {
				if got := text(t, conn, sql); got != want {
					t.Errorf("%s:\n got %q\nwant %q", sql, got, want)
				}
			}
			if got := text(t, conn, why); !strings.Contains(got, test.why) {
				t.Errorf("check primary says %q, want %q", got, test.why)
			}
		})
	}
}

func wholeFile(t *testing.T, s api.Status) string {
	t.Helper()
	dir := t.TempDir()
	writeStatus(t, dir, s, time.Minute)
	content, err := os.ReadFile(pgext.StatusPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestStatusFileReadsBack(t *testing.T) {
	dir := t.TempDir()
	s := exampleStatus()
	s.WorkerMessage = "it's\x00é\xff"
	now := time.Now()
	if err := (pgext.StatusFile{Path: pgext.StatusPath(dir), Mode: 0o640}).Write(s, now, time.Second); err != nil {
		t.Fatal(err)
	}
	head, got, err := pgext.ReadStatus(pgext.StatusPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if head.FreshUntilUS-head.WrittenUS != 1e6 || head.WrittenUS != now.UnixMicro() || head.LeaseUntilUS != s.LeaseUntil.UnixMicro() || !head.IsLeader {
		t.Errorf("head is %+v", head)
	}
	if got.Name != s.Name || len(got.Nodes) != 3 || strings.Contains(got.WorkerMessage, "\x00") {
		t.Errorf("status is %+v", got)
	}
	info, err := os.Stat(pgext.StatusPath(dir))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode: %v, %v", info, err)
	}
	if err := (pgext.StatusFile{Path: "/nowhere/x"}).Write(s, now, time.Second); err == nil {
		t.Error("writing to nowhere went well")
	}
}

func TestAdvance(t *testing.T) {
	conn := newInstalled(t, "/nowhere")
	exec1(t, conn, "SELECT pgraft.advance(0, 5, 1, 'c1')")
	exec1(t, conn, "SELECT pgraft.advance(5, 5, 2, 'c1')")
	if got := text(t, conn, "SELECT cluster_id, applied_index, applied_term, pgraft_get_applied_index() FROM pgraft.meta"); got != "c1|5|2|5" {
		t.Errorf("meta is %q", got)
	}
	for _, test := range []struct{ sql, code, message string }{
		{"SELECT pgraft.advance(4, 6, 2, 'c1')", "40001", "applied index is 5 and not 4"},
		{"SELECT pgraft.advance(5, 6, 2, 'c2')", "55000", "another cluster"},
		{"SELECT pgraft.advance(5, 4, 2, 'c1')", "22023", "go back"},
	} {
		if e := sqlErr(t, conn, test.sql); e.Code != test.code || !strings.Contains(e.Message, test.message) {
			t.Errorf("%s: got %s %s", test.sql, e.Code, e.Message)
		}
	}
	exec1(t, conn, "DELETE FROM pgraft.meta")
	if e := sqlErr(t, conn, "SELECT pgraft.advance(5, 6, 2, 'c1')"); e.Code != "55000" || !strings.Contains(e.Hint, "DROP EXTENSION") {
		t.Errorf("without its row: %v", e)
	}
}

func TestWaitForIndex(t *testing.T) {
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	conn := postgrestest.Connect(t, server, "postgres")
	mustInstall(t, conn, inline())
	if got := text(t, conn, "SELECT pgraft_wait_for_index(5, '20ms')"); got != "f" {
		t.Errorf("index that isn't there: %q", got)
	}
	writer := postgrestest.Connect(t, server, "postgres")
	done := make(chan error, 1)
	go func() {
		waiting := false
		var err error
		for deadline := time.Now().Add(20 * time.Second); !waiting && err == nil && time.Now().Before(deadline); {
			err = writer.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')").Scan(&waiting)
		}
		if err == nil {
			_, err = writer.Exec(t.Context(), "SELECT pgraft.advance(0, 5, 1, 'c')")
		}
		done <- err
	}()
	if got := text(t, conn, "SELECT pgraft_wait_for_index(5, '30s')"); got != "t" {
		t.Errorf("index that comes: %q", got)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	exec1(t, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	if e := sqlErr(t, conn, "SELECT pgraft_wait_for_index(6, '30s')"); e.Code != "25000" {
		t.Errorf("in a fixed snapshot: %v", e)
	}
}

// readFunctions and changeFunctions are all functions there are, by who may call them, with arguments that work.
var (
	readFunctions = []string{
		"pgraft_is_leader()", "pgraft_get_leader()", "pgraft_get_term()", "pgraft_get_worker_state()", "pgraft_get_version()",
		"pgraft_health_check()", "pgraft_get_cluster_status()", "pgraft_get_nodes()", "pgraft_log_get_stats()",
		"pgraft_log_get_replication_status()", "pgraft_get_applied_index()", "pgraft_get_last_index()", "pgraft_wait_for_index(0)",
		"pgraft_check()", "pgraft_kv_get_stats()", "pgraft_kv_get('a')", "pgraft_kv_exists('a')", "pgraft_kv_list_keys()", "pgraft_events()",
	}
	changeFunctions = []string{
		"pgraft_kv_put('a', 'b')", "pgraft_kv_cas('a', 1, 'c')", "pgraft_kv_delete('a')", "pgraft_add_node(4, 'h', 1)", "pgraft_remove_node(4)",
		"pgraft_transfer_leadership(2)", "pgraft_switchover(2)", "pgraft_replicate_entry('x')", "pgraft_snapshot()", "pgraft_set_debug(true)",
	}
)

// TestRights runs every function as each role.
func TestRights(t *testing.T) {
	dir := openConsole(t, newFakeBackend())
	conn := newInstalled(t, dir)
	exec1(t, conn, "CREATE ROLE nobody; CREATE ROLE watcher IN ROLE pg_monitor; CREATE ROLE boss IN ROLE pgraft_admin")
	reads, changes := slices.Clone(readFunctions), changeFunctions
	for _, table := range []string{"meta", "kv", "node", "setting", "event", "local", "members", "health"} {
		reads = append(reads, "* FROM pgraft."+table)
	}
	always := []string{
		"pgraft.command('SNAPSHOT', 1, true)", "pgraft.own_role('{}', true)", "pgraft.head()", "pgraft.status()", "pgraft.advance(0, 1, 1, 'c')", "pgraft.local_place()",
	}
	listed := len(reads) - 8 + len(changes)
	if got := text(t, conn, `SELECT count(*) FROM pg_proc WHERE proname LIKE 'pgraft\_%'`); got != fmt.Sprint(listed) {
		t.Errorf("there are %s functions, the test knows %d", got, listed)
	}
	for _, test := range []struct {
		role          string
		reads, writes bool
	}{{"nobody", false, false}, {"watcher", true, false}, {"boss", true, true}} {
		try := func(sql string, allowed bool) {
			t.Helper()
			exec1(t, conn, "SET ROLE "+test.role)
			_, err := conn.Exec(testContext(t), "SELECT "+sql)
			exec1(t, conn, "RESET ROLE")
			if denied := err != nil && strings.Contains(err.Error(), "42501"); denied == allowed || allowed && err != nil {
				t.Errorf("%s as %s: %v", sql, test.role, err)
			}
		}
		for _, sql := range reads {
			try(sql, test.reads)
		}
		for _, sql := range changes {
			try(sql, test.writes)
		}
		for _, sql := range always {
			try(sql, false)
		}
	}
}

// TestNoHijack has a user put things into every schema he may write to; the functions must not meet them.
func TestNoHijack(t *testing.T) {
	dir := openConsole(t, newFakeBackend())
	conn := newInstalled(t, dir)
	writeStatus(t, dir, exampleStatus(), time.Minute)
	exec1(t, conn, "GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE ROLE mallory IN ROLE pgraft_admin; SET ROLE mallory")
	exec1(t, conn, `
CREATE FUNCTION public.pg_read_file(text, int, int, boolean) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''hijacked''; END';
CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''hijacked''; END';
CREATE FUNCTION public.dblink_send_query(text, varchar) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''hijacked''; END';
CREATE FUNCTION pg_temp.pg_read_file(text, int, int, boolean) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''hijacked''; END';
CREATE TEMP TABLE meta (applied_index bigint); CREATE TEMP TABLE local (run_dir text, console_port int);
SET search_path = pg_temp, public, pg_catalog; SET pgraft.last_index = 'junk'`)
	if got := text(t, conn, quickSQL); got != "t|1|7|RUNNING" {
		t.Errorf("got %q", got)
	}
	if got := text(t, conn, "SELECT pgraft_get_last_index(), pgraft_kv_put('a', 'b'), pgraft_kv_get('a'), pgraft_get_last_index()"); got != "0|t|b|1" {
		t.Errorf("got %q", got)
	}
}
