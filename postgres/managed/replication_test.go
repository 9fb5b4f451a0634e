package managed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
)

func escape(literal string) string { return strings.ReplaceAll(literal, "'", "''") }

// roleRows tells by which transactions the role and its rights were written.
func (n *liveNode) roleRows(t *testing.T) (rows string) {
	t.Helper()
	err := n.conn(t).QueryRow(t.Context(), `SELECT coalesce(string_agg(row, ' '), '') FROM (
		SELECT xmin::text FROM pg_authid WHERE rolname = 'pgraft_replication' UNION ALL
		SELECT xmin::text FROM pg_proc WHERE proname IN ('pg_ls_dir', 'pg_stat_file', 'pg_read_binary_file') ORDER BY 1) r(row)`).Scan(&rows)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func (tpl *template) testReplicationRole(t *testing.T) {
	t.Parallel()
	n := tpl.node(t, 1)
	n.settings.ReadOnly = true // it must not stand in the way
	n.start(t)
	ensure := func(secret string) (wrote bool) {
		t.Helper()
		before := n.roleRows(t)
		if err := n.EnsureReplicationRole(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		return n.roleRows(t) != before
	}
	if !ensure(liveSecret) || ensure(liveSecret) {
		t.Error("the role is not made, or made again")
	}
	if !ensure("another") || !ensure(liveSecret) {
		t.Error("the password is not changed")
	}
	n.exec(t, "BEGIN READ WRITE; ALTER ROLE pgraft_replication NOLOGIN VALID UNTIL '2001-01-01';"+
		"REVOKE ALL ON FUNCTION pg_read_binary_file(text) FROM pgraft_replication; COMMIT")
	if !ensure(liveSecret) || ensure(liveSecret) {
		t.Error("the role is not mended, or mended again")
	}
	log, err := os.ReadFile(n.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), escape(liveSecret)) || strings.Contains(string(log), "another") {
		t.Error("the server's log has the password")
	}
	// PostgreSQL takes the verifier for what it is.
	hba := n.dir + "/data/pg_hba.conf"
	rules, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	rules = append([]byte("host postgres pgraft_replication all scram-sha-256\n"), rules...)
	if err := os.WriteFile(hba, rules, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	login := func(secret string) error {
		conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s dbname=postgres sslmode=disable",
			n.port, managed.ReplicationRole, postgres.QuoteConninfo(secret)))
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), "SELECT pg_read_binary_file('PG_VERSION'), pg_stat_file('PG_VERSION', true)")
		return err
	}
	if err := login(liveSecret); err != nil {
		t.Errorf("log in: %v", err)
	}
	if err := login("wrong"); err == nil {
		t.Error("logged in with a wrong password")
	}
}

func (tpl *template) testSlots(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 2)
	slots := func(n *liveNode) (all []string) {
		t.Helper()
		rows, err := n.conn(t).Query(t.Context(), `SELECT slot_name || CASE WHEN restart_lsn IS NULL THEN '-' ELSE '' END
			FROM pg_replication_slots ORDER BY 1`)
		if err == nil {
			all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	expect := func(n *liveNode, want ...string) {
		t.Helper()
		if got := slots(n); !slices.Equal(got, want) {
			t.Errorf("slots are %v, want %v", got, want)
		}
	}
	ensure := func(n *liveNode, settled bool, want ...string) {
		t.Helper()
		if err := n.EnsureSlots(t.Context(), want, settled); err != nil {
			t.Fatal(err)
		}
	}
	c.primary.exec(t, "SELECT pg_create_physical_replication_slot('hers', true)")
	ensure(c.primary, true, "pgraft_2", "pgraft_4")
	// pgraft_3 is in use, hers is not pgraft's.
	expect(c.primary, "hers", "pgraft_2", "pgraft_3", "pgraft_4")
	standby := c.standbys[0]
	ensure(standby, false, "pgraft_1", "pgraft_3")
	expect(standby, "pgraft_1-", "pgraft_3-")
	ensure(standby, true, "pgraft_3")
	expect(standby, "pgraft_3-")
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	if _, err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	ensure(standby, false, "pgraft_3", "pgraft_1")
	expect(standby, "pgraft_1", "pgraft_3-")
	ensure(standby, true, "pgraft_3", "pgraft_1")
	expect(standby, "pgraft_1", "pgraft_3")
	// One whose WAL is gone is of no use to anybody.
	standby.settings.Cluster = map[string]string{"max_slot_wal_keep_size": "1MB", "wal_keep_size": "0"}
	standby.reload(t)
	for range 4 {
		standby.exec(t, "SELECT pg_switch_wal(); SELECT pg_logical_emit_message(false, 'x', 'y')")
	}
	if err := standby.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := func() (n int) {
		t.Helper()
		err := standby.conn(t).QueryRow(t.Context(), "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if lost() != 2 {
		t.Fatal("no slot is lost: this test can show nothing")
	}
	ensure(standby, false, "pgraft_3", "pgraft_1")
	if lost() != 0 {
		t.Error("the lost slot is still there")
	}
}

// A sender that has not read the setting yet releases commits by the former one.
func (tpl *template) testSyncNamesInForce(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 2)
	all := managed.SyncNames(c.names(), 2)
	var senders []int
	for _, standby := range c.primary.observe(t).Standbys {
		senders = append(senders, standby.PID)
		if standby.SyncState != "quorum" || standby.State != "streaming" {
			t.Errorf("standby %+v", standby)
		}
	}
	if len(senders) != 2 {
		t.Fatalf("senders %v", senders)
	}
	c.primary.settings.SyncNames = all
	c.primary.write(t)
	if err := c.primary.SyncNamesInForce(t.Context(), all, false); err != nil {
		t.Fatal(err)
	}
	if !c.primary.commits(t, liveMax) {
		t.Fatal("no commit")
	}
	c.standbys[1].stop(t, postgres.StopImmediate)
	if c.primary.commits(t, unacknowledged) {
		t.Error("one standby released a commit that needs two")
	}
	// Nobody may be left whom the files are not for.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	lsn, err := c.primary.FlushedLSN(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.primary.WaitFlushed(ctx, c.names(), lsn, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a standby that is gone: %v", err)
	}
	if err := c.primary.WaitFlushed(t.Context(), c.names(), lsn, 1); err != nil {
		t.Error(err)
	}
	if _, err := c.standbys[0].FlushedLSN(t.Context()); !errors.Is(err, managed.ErrNotPrimary) {
		t.Errorf("a standby's flushed position: %v", err)
	}
}

// Whether commits wait at all is decided by the checkpointer, when it reads the configuration.
func (tpl *template) testSyncNamesRising(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	names := c.primary.settings.SyncNames
	c.primary.settings.SyncNames = ""
	c.primary.reload(t)
	if err := c.primary.SyncNamesInForce(t.Context(), "", true); err != nil { // it has seen that too
		t.Fatal(err)
	}
	for _, n := range c.standbys {
		n.stop(t, postgres.StopImmediate)
	}
	var checkpointer int
	err := c.primary.conn(t).QueryRow(t.Context(),
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").Scan(&checkpointer)
	if err != nil {
		t.Fatal(err)
	}
	freeze(t, checkpointer)
	c.primary.settings.SyncNames = names
	c.primary.reload(t)
	if !c.primary.commits(t, liveMax) {
		t.Fatal("a commit waits although the checkpointer has not looked: this test can show nothing")
	}
	ctx, cancel := context.WithTimeout(t.Context(), unacknowledged)
	defer cancel()
	if err := c.primary.SyncNamesInForce(ctx, names, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("in force although commits don't wait: %v", err)
	}
	if err := syscall.Kill(checkpointer, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := c.primary.SyncNamesInForce(t.Context(), names, true); err != nil {
		t.Fatal(err)
	}
	if c.primary.commits(t, unacknowledged) {
		t.Error("a commit does not wait")
	}
}

// A session that made a temporary table drops it when it ends, and that is a commit, which waits for standbys: a fast
// stop then never ends.
func (tpl *template) testStopTempTable(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	if _, err := c.primary.conn(t).Exec(t.Context(), "CREATE TEMP TABLE tt (a int)"); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.standbys {
		n.stop(t, postgres.StopImmediate)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.primary.Stop(ctx, postgres.StopFast); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a fast stop ends (%v): this test can show nothing", err)
	}
	started := time.Now()
	if err := c.primary.StopQuickly(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > 8*time.Second || c.primary.Running() {
		t.Errorf("stopping took %s", took)
	}
}

func (tpl *template) testTerminate(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	idle, waiting := c.primary.conn(t), c.primary.conn(t)
	for _, n := range c.standbys {
		if err := n.CutOff(t.Context(), n.settings); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error, 1)
	go func() {
		_, err := waiting.Exec(context.Background(), "INSERT INTO t VALUES (1)")
		failed <- err
	}()
	var n int
	soon(t, "the commit waits", func() bool {
		var err error
		if n, err = c.primary.TerminateClients(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
	if err := <-failed; err == nil || n != 1 {
		t.Errorf("ended %d sessions; the waiting commit: %v", n, err)
	}
	if err := idle.Ping(t.Context()); err != nil {
		t.Errorf("a session that did not wait: %v", err)
	}
	if n, err := c.primary.TerminateClients(t.Context(), false); err != nil || n < 1 {
		t.Errorf("ended %d sessions, %v", n, err)
	}
	if err := idle.Ping(t.Context()); err == nil {
		t.Error("a session was not ended")
	}
}
