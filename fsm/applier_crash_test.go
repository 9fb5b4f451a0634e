package fsm_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

// kills is how often the server is killed under load.
const kills = 6

// chain is a load whose state tells a lost, doubled or reordered entry: one key holds the hash over all entries so far,
// and each entry leaves a key of its own. A table in the database notes each row that is written.
type chain struct {
	*history
	n    int
	link [sha256.Size]byte
}

const auditSQL = `
CREATE TABLE audit (seq bigserial PRIMARY KEY, key text NOT NULL, version bigint NOT NULL, modify_index bigint NOT NULL);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit (key, version, modify_index) VALUES (new.key, new.version, new.modify_index);
    RETURN new;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON pgraft.kv FOR EACH ROW EXECUTE FUNCTION note()`

func (c *chain) add() {
	c.tb.Helper()
	c.n++
	c.link = sha256.Sum256(fmt.Appendf(c.link[:], "entry %d", c.n))
	c.apply(
		fsm.KVSet{Key: "chain", Value: c.link[:]},
		put(fmt.Sprintf("entry/%06d", c.n), fmt.Sprintf("%x", c.link[:4])),
		put(fmt.Sprintf("hot/%d", c.n%7), fmt.Sprint(c.n)),
	)
}

// run adds entries until ctx ends.
func (c *chain) run(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		c.add()
		<-tick.C
	}
}

// assertExact checks that the rows are the store's, each entry was written once, and no key ever went back.
func (c *chain) assertExact(conn *pgx.Conn) {
	c.tb.Helper()
	assertRows(c.tb, conn, c.history)
	compare(c.tb, "audit, entries not written exactly once", nil, readRows(c.tb, conn, fmt.Sprintf(`
		SELECT format('%%s: %%s times', i, count(a.key)) FROM generate_series(1, %d) i
		LEFT JOIN audit a ON a.key = 'entry/' || lpad(i::text, 6, '0') GROUP BY i HAVING count(a.key) <> 1 ORDER BY i`, c.n)))
	compare(c.tb, "audit, keys that went back or were written twice", nil, readRows(c.tb, conn, `
		SELECT format('%s: index %s after %s', key, modify_index, before) FROM
		(SELECT key, modify_index, lag(modify_index) OVER (PARTITION BY key ORDER BY seq) AS before FROM audit) a
		WHERE before >= modify_index ORDER BY 1`))
}

// load returns a chain applied to a new server, and how to end the load.
func load(t *testing.T, instance *postgres.Instance) (c *chain, a *fsm.Applier, d target, stop func()) {
	t.Helper()
	d = target{t, instance.DSN("postgres")}
	if err := d.prepare(testContext(t), d.session()); err != nil {
		t.Fatal(err)
	}
	d.exec(auditSQL)
	c = &chain{history: newHistory(t, "c1")}
	a = d.open(c.history)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { c.run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return c, a, d, stop
}

func waitEntries(t *testing.T, a *fsm.Applier, n uint64) {
	t.Helper()
	target := a.Status().Entries + n
	waitApplier(t, a, "entries to be applied", func(s fsm.ApplierStatus) bool { return s.Entries >= target })
}

// TestApplierSurvivesKills kills the server again and again in the middle of the work. Entries that it had not written
// to disk are gone then (synchronous_commit is off), index and all, and are written again from the feed.
func TestApplierSurvivesKills(t *testing.T) {
	instance := postgrestest.TempInstance(t, postgrestest.Param("wal_writer_delay", "1s")) // lose more
	c, a, d, stop := load(t, instance)
	for i := range kills {
		waitEntries(t, a, uint64(50+100*i))
		if err := instance.Kill(testContext(t)); err != nil {
			t.Fatal(err)
		}
		s := waitApplier(t, a, "the applier to notice", func(s fsm.ApplierStatus) bool { return s.LastError != "" })
		if s.Connected && s.Writing {
			t.Fatalf("writing to a dead server: %+v", s)
		}
		if err := instance.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		a.Wake()
	}
	waitEntries(t, a, 50)
	stop()
	waitApplied(t, a, c.history)
	c.assertExact(d.session())
	s := a.Status()
	if s.Diffs != 0 || s.Sessions <= kills {
		t.Fatalf("want everything from the feed and a session per life of the server: %+v", s)
	}
	t.Logf("%d entries, %d written again after a crash", c.index, s.Entries-c.index)
}

func TestApplierSurvivesRestart(t *testing.T) {
	instance := postgrestest.TempInstance(t, postgrestest.NoSync)
	c, a, d, stop := load(t, instance)
	for _, mode := range []postgres.StopMode{postgres.StopFast, postgres.StopImmediate} {
		waitEntries(t, a, 100)
		if err := instance.Stop(testContext(t), mode); err != nil {
			t.Fatal(err)
		}
		waitApplier(t, a, "lag to show", func(s fsm.ApplierStatus) bool { return !s.Connected && s.LagEntries > 20 && s.Lag > 0 })
		if err := instance.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	waitEntries(t, a, 100)
	stop()
	waitApplied(t, a, c.history)
	c.assertExact(d.session())
}

// TestApplierCatchesUpRestoredDatabase puts the database back to an older state, as a restored backup does: once with
// a feed that reaches back to it and once with one that does not.
func TestApplierCatchesUpRestoredDatabase(t *testing.T) {
	instance := postgrestest.TempInstance(t)
	d := target{t, instance.DSN("postgres")}
	h := newHistory(t, "c1")
	h.fillAll()
	a := d.open(h)
	waitApplied(t, a, h)
	backup := backUp(t, instance)
	waitEntriesAfter(t, a, h, 50)
	before := a.Status().Sessions
	restore(t, instance, backup)
	// What the applier says of the time before the restore is no longer so.
	waitApplier(t, a, "a session with the restored server", func(s fsm.ApplierStatus) bool { return s.Sessions > before })
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	if s := a.Status(); s.Diffs != 0 {
		t.Fatalf("wrote a difference although the feed reaches back: %+v", s)
	}

	waitEntriesAfter(t, a, h, 50)
	a.Close()
	h = h.fork()
	h.apply(put("since", "1"))
	restore(t, instance, backup)
	a = d.open(h)
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	if s := a.Status(); s.Diffs != 1 {
		t.Fatalf("want one difference written: %+v", s)
	}
}

func waitEntriesAfter(t *testing.T, a *fsm.Applier, h *history, n int) {
	t.Helper()
	for i := range n {
		h.apply(put(fmt.Sprintf("later/%d", i), "1"), fsm.KVDelete{Key: "txn/1"})
	}
	waitApplied(t, a, h)
}

// backUp copies the data directory of a stopped server, and starts the server again.
func backUp(t *testing.T, instance *postgres.Instance) string {
	t.Helper()
	if err := instance.Stop(testContext(t), postgres.StopFast); err != nil {
		t.Fatal(err)
	}
	backup := instance.Dir() + ".backup" // goes with the instance's directory
	run(t, "cp", "-a", instance.Dir(), backup)
	if err := instance.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return backup
}

func restore(t *testing.T, instance *postgres.Instance, backup string) {
	t.Helper()
	if err := instance.Stop(testContext(t), postgres.StopFast); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(instance.Dir()); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", backup, instance.Dir())
	if err := instance.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// TestApplierFollowsAStandby has the server in recovery: nothing may be written, the index counts as it is found there,
// and the applier goes on from it after the promotion.
func TestApplierFollowsAStandby(t *testing.T) {
	instance := postgrestest.TempInstance(t)
	d := target{t, instance.DSN("postgres")}
	h := newHistory(t, "c1")
	h.fillAll()
	a := d.open(h)
	waitApplied(t, a, h)
	if err := instance.Stop(testContext(t), postgres.StopFast); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(instance.Dir(), "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := instance.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	found := h.index
	h.apply(put("later", "1"))
	a.Wake()
	s := waitApplier(t, a, "the standby", func(s fsm.ApplierStatus) bool { return s.InRecovery && s.LastError == "" && s.Connected })
	if s.Writing || s.AppliedIndex != found || s.LagEntries != 1 {
		t.Fatalf("unexpected status on a standby: %+v", s)
	}
	d.exec("SELECT pg_promote(true)")
	waitApplied(t, a, h)
	s = waitApplier(t, a, "the writer", func(s fsm.ApplierStatus) bool { return s.Writing })
	if s.InRecovery || s.Diffs != 0 {
		t.Fatalf("unexpected status after a promotion: %+v", s)
	}
	assertRows(t, d.session(), h)
}

// TestApplierFrozenServer freezes the applier's backend in the middle of its work: Status must show it and Close not hang.
func TestApplierFrozenServer(t *testing.T) {
	instance := postgrestest.TempInstance(t, postgrestest.NoSync)
	_, a, d, stop := load(t, instance)
	waitEntries(t, a, 10)
	var pid int
	err := d.session().QueryRow(testContext(t),
		"SELECT pid FROM pg_stat_activity WHERE application_name = 'pgraft applier n0'").Scan(&pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // else it could not even die
	waitApplier(t, a, "lag", func(s fsm.ApplierStatus) bool { return s.Lag > 300*time.Millisecond && s.LagEntries > 10 })
	start := time.Now()
	a.Close()
	if took := time.Since(start); took > 5*time.Second {
		t.Fatalf("Close took %v with a frozen server", took)
	}
	stop()
}
