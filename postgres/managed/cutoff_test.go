package managed_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// unacknowledged is how long a commit is watched that nobody may acknowledge.
const unacknowledged = 300 * time.Millisecond

// TestLive has one group for all that can be copies of one data directory.
func TestLive(t *testing.T) {
	t.Parallel()
	tpl := newTemplate(t)
	t.Run("observe", tpl.testObserve)
	t.Run("errors", tpl.testErrors)
	t.Run("a frozen server costs the deadline", tpl.testFrozen)
	t.Run("cut off", tpl.testCutOff)
	t.Run("cut off while replay is paused", tpl.testCutOffPaused)
	t.Run("cut off while a query holds replay up", tpl.testCutOffConflict)
	t.Run("cut off against ALTER SYSTEM", tpl.testCutOffOverridden)
	t.Run("cut off a frozen receiver", tpl.testCutOffFrozen)
	t.Run("position after a restart", tpl.testPositionAfterRestart)
	t.Run("position on a timeline that replay has not reached", tpl.testPositionOnNextTimeline)
	t.Run("promote", tpl.testPromote)
	t.Run("promote against pause and query", tpl.testPromoteHeldUp)
	t.Run("checkpoint before rewind", tpl.testCheckpointBeforeRewind)
	t.Run("replication role", tpl.testReplicationRole)
	t.Run("slots", tpl.testSlots)
	t.Run("sync names in force", tpl.testSyncNamesInForce)
	t.Run("sync names rising", tpl.testSyncNamesRising)
	t.Run("stop with a temporary table", tpl.testStopTempTable)
	t.Run("terminate", tpl.testTerminate)
	t.Run("reload", tpl.testReload)
	t.Run("refused", tpl.testRefused)
}

func (tpl *template) testCutOff(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby := c.standbys[0]
	if !c.primary.commits(t, liveMax) {
		t.Fatal("no commit before the fence")
	}
	lsn := c.awaitFlushed(t, 1)
	started := time.Now()
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	cut := time.Since(started)
	fenced, err := standby.FencedPosition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("cut off in %s, position known after %s", cut, time.Since(started))
	if fenced.Timeline != 1 || fenced.LSN < lsn || fenced.Replayed > fenced.LSN {
		t.Errorf("position is %+v, the acknowledged one %s", fenced, lsn)
	}
	if c.primary.commits(t, unacknowledged) {
		t.Error("the fenced standby acknowledged a commit")
	}
	if again, err := standby.FencedPosition(t.Context()); err != nil || again != fenced {
		t.Errorf("the position changed from %+v to %+v (%v)", fenced, again, err)
	}
	// Cut off is cut off, after a restart too.
	standby.stop(t, postgres.StopImmediate)
	ctx, cancel := context.WithTimeout(t.Context(), liveMax)
	defer cancel()
	if err := standby.CutOff(ctx, standby.settings); !errors.Is(err, postgres.ErrNotRunning) {
		t.Errorf("a stopped one: %v", err)
	}
	pid, exited, err := standby.pm.Launch(ctx)
	if err := errors.Join(err, standby.pm.WaitReady(ctx, pid, exited)); err != nil {
		t.Fatal(err)
	}
	if l := standby.observe(t); l.Receiver != nil || l.PrimaryConninfo != "" {
		t.Errorf("it receives again: %+v", l)
	}
}

// A reload alone leaves the receiver alive while replay is paused, and it acknowledges (SAFETY).
func (tpl *template) testCutOffPaused(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby := c.standbys[0]
	standby.exec(t, "SELECT pg_wal_replay_pause()")
	if !c.primary.commits(t, liveMax) { // it is what replay then pauses at
		t.Fatal("no commit")
	}
	soon(t, "replay pauses", func() bool { return standby.observe(t).Startup.Event == "RecoveryPause" })
	checkCutOff(t, c, standby)
}

func (tpl *template) testCutOffConflict(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby := c.standbys[0]
	holdUp(t, c.primary, standby)
	checkCutOff(t, c, standby)
}

// holdUp lets a query on the standby stand in the way of replay, and returns its session.
func holdUp(t *testing.T, primary, standby *liveNode) *pgx.Conn {
	t.Helper()
	conn := standby.conn(t)
	if _, err := conn.Exec(t.Context(), "BEGIN; SELECT count(*) FROM t"); err != nil {
		t.Fatal(err)
	}
	primary.exec(t, "TRUNCATE t")
	soon(t, "replay waits for a lock", func() bool { return standby.observe(t).Startup.Type == "Lock" })
	return conn
}

// checkCutOff shows first what the configuration alone does.
func checkCutOff(t *testing.T, c *liveCluster, standby *liveNode) {
	t.Helper()
	fenced := standby.settings
	fenced.PrimaryConninfo, fenced.PrimarySlot = "", ""
	if _, err := standby.WriteConfig(t.Context(), fenced); err != nil {
		t.Fatal(err)
	}
	if err := standby.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !c.primary.commits(t, liveMax) {
		t.Fatal("no commit was acknowledged after a reload alone: this test can show nothing")
	}
	lsn := c.awaitFlushed(t, 1)
	if _, err := standby.FencedPosition(t.Context()); !errors.Is(err, managed.ErrNotCutOff) {
		t.Errorf("a position of one that still receives: %v", err)
	}
	if _, err := standby.Promote(t.Context()); !errors.Is(err, managed.ErrNotCutOff) {
		t.Errorf("promotion of one that still receives: %v", err)
	}
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	if c.primary.commits(t, unacknowledged) {
		t.Error("the fenced standby acknowledged a commit")
	}
	// What was acknowledged is beyond what could be replayed, and counts.
	position, err := standby.FencedPosition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if position.LSN < lsn || position.Replayed >= lsn || position.Timeline != 1 {
		t.Errorf("position is %+v, the acknowledged one %s", position, lsn)
	}
}

// PostgreSQL reads postgresql.auto.conf after every other file.
func (tpl *template) testCutOffOverridden(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby := c.standbys[0]
	if _, err := standby.conn(t).Exec(t.Context(), "ALTER SYSTEM SET primary_conninfo = '"+escape(standby.settings.PrimaryConninfo)+"'"); err != nil {
		t.Fatal(err)
	}
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	if l := standby.observe(t); l.PrimaryConninfo != "" || l.Receiver != nil {
		t.Errorf("not cut off: %+v", l)
	}
	if c.primary.commits(t, unacknowledged) {
		t.Error("the fenced standby acknowledged a commit")
	}
}

// A receiver that may still acknowledge is not cut off.
func (tpl *template) testCutOffFrozen(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby := c.standbys[0]
	receiver := standby.observe(t).Receiver.PID
	freeze(t, receiver)
	ctx, cancel := context.WithTimeout(t.Context(), unacknowledged)
	defer cancel()
	if err := standby.CutOff(ctx, standby.settings); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("cut off with a frozen receiver: %v", err)
	}
	if err := syscall.Kill(receiver, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	if c.primary.commits(t, unacknowledged) {
		t.Error("the fenced standby acknowledged a commit")
	}
}

// After a restart the received position begins anew (SAFETY), far below what was acknowledged.
func (tpl *template) testPositionAfterRestart(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby := c.standbys[0]
	c.primary.exec(t, "INSERT INTO t SELECT generate_series(1, 1000)")
	lsn := c.awaitFlushed(t, 1)
	c.primary.stop(t, postgres.StopImmediate)
	standby.stop(t, postgres.StopImmediate)
	standby.start(t) // with the address of the dead primary, as after a loss of power
	soon(t, "WAL is asked for", func() bool { return standby.observe(t).Received != 0 })
	if naive := standby.observe(t).Received; naive >= lsn {
		t.Fatalf("the received position %s is not below the acknowledged %s: this test can show nothing", naive, lsn)
	}
	checkPosition(t, standby, lsn)
	// Without an address WAL is never asked for, and there is no received position at all.
	standby.stop(t, postgres.StopImmediate)
	standby.settings.PrimaryConninfo = ""
	standby.start(t)
	checkPosition(t, standby, lsn)
	if naive := standby.observe(t).Received; naive != 0 {
		t.Errorf("received position %s", naive)
	}
}

func checkPosition(t *testing.T, standby *liveNode, lsn wal.LSN) {
	t.Helper()
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	fenced, err := standby.FencedPosition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fenced.LSN < lsn || fenced.Timeline != 1 {
		t.Errorf("position is %+v, the acknowledged one %s", fenced, lsn)
	}
}

// A standby that follows a new primary may have acknowledged commits of a timeline that it has not begun to replay.
func (tpl *template) testPositionOnNextTimeline(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 2)
	next, standby := c.standbys[0], c.standbys[1]
	c.primary.stop(t, postgres.StopImmediate)
	for _, n := range c.standbys {
		if err := n.CutOff(t.Context(), n.settings); err != nil {
			t.Fatal(err)
		}
	}
	if err := next.EnsureSlots(t.Context(), []string{"pgraft_3"}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := next.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The startup process is held at its last record of the old timeline.
	startup := startupPID(t, standby)
	standby.follow(t, next)
	standby.reload(t)
	soon(t, "the new timeline arrives", func() bool {
		r := standby.observe(t).Receiver
		return r != nil && r.Timeline == 2 && r.Status == "streaming"
	})
	freezeWaiting(t, standby, startup)
	next.settings.SyncNames = managed.SyncNames([]string{standby.name()}, 1)
	next.reload(t)
	if !next.commits(t, liveMax) {
		t.Fatal("no commit")
	}
	lsn, err := next.FlushedLSN(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := next.WaitFlushed(t.Context(), []string{standby.name()}, lsn, 1); err != nil {
		t.Fatal(err)
	}
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	fenced, err := standby.FencedPosition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fenced.Timeline != 2 || fenced.LSN < lsn {
		t.Errorf("position is %+v, the acknowledged one %s", fenced, lsn)
	}
}

// freezeWaiting holds the startup process where it waits: held in the middle of something it would not be seen to have
// read its configuration, and the standby could not be cut off.
func freezeWaiting(t *testing.T, n *liveNode, startup int) {
	t.Helper()
	conn := n.conn(t)
	soon(t, "the startup process is held while it waits", func() (waits bool) {
		freeze(t, startup)
		err := conn.QueryRow(t.Context(), "SELECT wait_event IS NOT NULL FROM pg_stat_activity WHERE pid = $1", startup).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		if !waits {
			_ = syscall.Kill(startup, syscall.SIGCONT)
		}
		return waits
	})
}

func startupPID(t *testing.T, n *liveNode) (pid int) {
	t.Helper()
	err := n.conn(t).QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'").Scan(&pid)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func (tpl *template) testCheckpointBeforeRewind(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby, old := c.standbys[0], c.primary
	c.awaitFlushed(t, 1)
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	if old.commits(t, unacknowledged) { // what must be rewound
		t.Fatal("acknowledged")
	}
	old.stop(t, postgres.StopFast)
	if _, err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	rewind := func() string {
		t.Helper()
		out, err := tpl.output(t, "pg_rewind", "-n", "-D", filepath.Join(old.dir, "data"), "--source-server",
			managed.Conninfo(managed.Target{Host: "127.0.0.1", Port: standby.port, Secret: liveSecret}))
		if err != nil {
			t.Fatalf("pg_rewind: %v: %s", err, out)
		}
		return out
	}
	t.Logf("without a checkpoint: %s", rewind())
	if err := standby.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := rewind(); !strings.Contains(out, "rewinding from last common checkpoint") {
		t.Errorf("after a checkpoint pg_rewind says %s", out)
	}
	if _, err := os.Stat(filepath.Join(standby.dir, "data", "standby.signal")); err == nil {
		t.Error("the promoted server kept standby.signal")
	}
}
