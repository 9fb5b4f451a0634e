package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

// part is a part of TestApplier with its database.
type part struct {
	*testing.T
	target target
}

// TestApplier runs what needs one quiet server, each part in a database of its own.
func TestApplier(t *testing.T) {
	instance := postgrestest.TempInstance(t, postgrestest.NoSync)
	for i, tc := range []struct {
		name string
		test func(t part)
	}{
		{"rows", testApplierRows},
		{"rows of a restored store", testApplierDiffOfRestored},
		{"differences", testApplierDiff},
		{"rewritten history, further", testApplierRewrittenFurther},
		{"rewritten history, shorter", testApplierRewrittenShorter},
		{"same index, other term", testApplierOtherTerm},
		{"agent replays its log", testApplierAgentReplays},
		{"big value", testApplierBigValue},
		{"big batch", testApplierBigBatch},
		{"events are trimmed", testApplierTrimsEvents},
		{"another cluster", testApplierRefusesOtherCluster},
		{"rows of nobody", testApplierRefusesRowsOfNobody},
		{"two appliers", testApplierSecondWriter},
		{"rows changed behind its back", testApplierMetaChanged},
		{"no cluster yet", testApplierWaitsForCluster},
		{"server comes late", testApplierServerComesLate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dsn := postgrestest.CreateDatabase(t, instance, fmt.Sprintf("db%d", i), "")
			tc.test(part{t, target{t, dsn}})
		})
	}
}

func testApplierRows(t part) {
	d := t.target
	h := newHistory(t, "c1")
	a := d.open(h)
	waitApplied(t, a, h)
	h.fillAll()
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	if s := a.Status(); s.Diffs != 0 || !s.Writing || s.LagEntries != 0 || s.Lag != 0 || s.Entries == 0 {
		t.Fatalf("unexpected status: %+v", s)
	}
}

func testApplierDiffOfRestored(t part) {
	d := t.target
	old := newHistory(t, "c1")
	old.fillAll()
	h := old.fork() // its feed begins after all that
	a := d.open(h)
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	h.apply(put("next", "1"))
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	if s := a.Status(); s.Diffs != 1 {
		t.Fatalf("%d differences written, want 1", s.Diffs)
	}
}

// testApplierDiff has every kind of difference: rows too few, too many, and changed in each column.
func testApplierDiff(t part) {
	d := t.target
	h := newHistory(t, "c1")
	h.fillAll()
	h.apply(put("same", "1"), put("z", "last"))
	a := d.open(h)
	waitApplied(t, a, h)
	a.Close()
	d.exec(`CREATE TABLE written AS SELECT ''::text AS key WHERE false;
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.written VALUES (new.key); RETURN new; END $$;
		DELETE FROM pgraft.kv WHERE key IN ('binary', 'z'); INSERT INTO pgraft.kv VALUES ('A', 'x', NULL, 0, 1, 1, 1), ('zz', 'x', NULL, 0, 1, 1, 1);
		UPDATE pgraft.kv SET value = 'lie' WHERE key = 'ü'; UPDATE pgraft.kv SET flags = 9 WHERE key = 'c/2';
		UPDATE pgraft.kv SET session = NULL WHERE key = 'lock'; UPDATE pgraft.kv SET version = 99 WHERE key = 'txn/1';
		UPDATE pgraft.kv SET value_bytes = '\xfe' WHERE key = 'turns binary';
		UPDATE pgraft.node SET name = CASE name WHEN 'n0' THEN 'n2' ELSE 'n0' END;
		INSERT INTO pgraft.node (node_id, name, server_id, create_index, modify_index) VALUES (77, 'x', '', 1, 1);
		UPDATE pgraft.setting SET value = 'lie'; INSERT INTO pgraft.setting VALUES ('gone', '1', 1, 1);
		DELETE FROM pgraft.event WHERE index = 1; UPDATE pgraft.event SET data = '{"k": "lie"}' WHERE index = 2;
		INSERT INTO pgraft.event VALUES (9999, now(), 'x', NULL, '', NULL);
		CREATE TRIGGER note AFTER INSERT OR UPDATE ON pgraft.kv FOR EACH ROW EXECUTE FUNCTION note()`)
	fork := h.fork()
	fork.apply(put("new", "1"))
	fork = fork.fork()
	a = d.open(fork)
	waitApplied(t, a, fork)
	assertRows(t, d.session(), fork)
	want := []string{"binary", "c/2", "lock", "new", "turns binary", "txn/1", "z", "ü"}
	compare(t, "written", want, readRows(t, d.session(), `SELECT key FROM written ORDER BY key COLLATE "C"`))
}

func testApplierRewrittenFurther(t part) {
	d := t.target
	h := newHistory(t, "c1")
	h.apply(put("a", "1"))
	other := h.fork()
	h.apply(put("a", "2"), put("lost", "1"))
	a := d.open(h)
	waitApplied(t, a, h)
	a.Close()
	other.term = 5
	other.apply(put("a", "3")) // takes the index of the entry that is lost
	other.apply(put("b", "1"))
	a = d.open(other)
	waitApplied(t, a, other)
	assertRows(t, d.session(), other)
}

func testApplierRewrittenShorter(t part) {
	d := t.target
	h := newHistory(t, "c1")
	h.apply(put("a", "1"))
	other := h.fork()
	for range 5 {
		h.apply(put("a", "2"), put("lost", "1"))
	}
	a := d.open(h)
	waitApplied(t, a, h)
	a.Close()
	other.term = 5
	other.apply(put("b", "1"))
	a = d.open(other)
	waitApplied(t, a, other)
	assertRows(t, d.session(), other)
}

func testApplierOtherTerm(t part) {
	d := t.target
	h := newHistory(t, "c1")
	other := h.fork()
	h.apply(put("a", "1"))
	a := d.open(h)
	waitApplied(t, a, h)
	a.Close()
	other.term = 2
	other.apply(put("a", "2"))
	other = other.fork() // all that its feed knows is the snapshot's index and term
	a = d.open(other)
	waitApplied(t, a, other)
	assertRows(t, d.session(), other)
}

// testApplierAgentReplays has an agent whose store is behind what PostgreSQL remembers, until it has caught up.
func testApplierAgentReplays(t part) {
	d := t.target
	h := newHistory(t, "c1")
	replaying := h.fork()
	entries := []fsm.Op{put("a", "1"), put("b", "1"), put("a", "2")}
	for _, op := range entries {
		h.apply(op)
	}
	a := d.open(h)
	waitApplied(t, a, h)
	a.Close()
	var caught atomic.Bool
	a = d.open(replaying, func(cfg *fsm.ApplierConfig) { cfg.Caught = caught.Load })
	waitApplier(t, a, "the applier to know the index", func(s fsm.ApplierStatus) bool { return s.Writing })
	for _, op := range entries {
		replaying.apply(op)
	}
	replaying.apply(put("c", "1"))
	caught.Store(true)
	waitApplied(t, a, replaying)
	assertRows(t, d.session(), replaying)
	if s := a.Status(); s.Diffs != 0 || s.Entries != 1 {
		t.Fatalf("wrote %d entries and %d differences, want the one new entry: %+v", s.Entries, s.Diffs, s)
	}
}

func testApplierBigValue(t part) {
	d := t.target
	h := newHistory(t, "c1")
	a := d.open(h)
	for i := range 12 { // together more than one transaction takes
		value := bytes.Repeat([]byte{byte('a' + i)}, fsm.MaxValueSize)
		if i%2 == 1 {
			value[7] = 0
		}
		h.apply(fsm.KVSet{Key: fmt.Sprint("big", i), Value: value})
	}
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	fork := h.fork()
	fork.apply(put("next", "1"))
	fork = fork.fork()
	a.Close()
	a = d.open(fork)
	waitApplied(t, a, fork)
	assertRows(t, d.session(), fork)
}

func testApplierBigBatch(t part) {
	d := t.target
	h := newHistory(t, "c1")
	for i := range 5000 {
		h.apply(put(fmt.Sprintf("k/%d", i%3000), fmt.Sprint(i)))
	}
	a := d.open(h)
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	if s := a.Status(); s.Batches < 3 || s.Batches > 10 {
		t.Fatalf("%d entries took %d transactions, want a few", s.Entries, s.Batches)
	}
	h.apply(fsm.KVDelete{Key: "k/", Prefix: true})
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
}

func testApplierTrimsEvents(t part) {
	d := t.target
	h := newHistory(t, "c1")
	a := d.open(h)
	for i := range fsm.MaxEvents + 150 {
		h.apply(fsm.EventAppend{Type: "test", Message: fmt.Sprint("no ", i)})
	}
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	if n := len(wantEvents(h)); n != fsm.MaxEvents {
		t.Fatalf("the store keeps %d events, want %d", n, fsm.MaxEvents)
	}
}

func testApplierRefusesOtherCluster(t part) {
	d := t.target
	h := newHistory(t, "c1")
	h.fillAll()
	a := d.open(h)
	waitApplied(t, a, h)
	a.Close()
	stranger := newHistory(t, "c2")
	stranger.fillAll()
	var prepared atomic.Bool
	b := d.open(stranger, func(cfg *fsm.ApplierConfig) {
		cfg.Prepare = func(context.Context, *pgx.Conn) error { prepared.Store(true); return nil }
	})
	s := waitApplier(t, b, "refusal", func(s fsm.ApplierStatus) bool { return s.Refused })
	if !strings.Contains(s.LastError, "another cluster, c1") || !strings.Contains(s.LastError, "DROP EXTENSION") || s.ErrorSince.IsZero() {
		t.Fatalf("refused without saying why and what to do: %+v", s)
	}
	stranger.apply(put("a", "stranger"))
	b.Wake()
	waitApplier(t, b, "a second refusal", func(s fsm.ApplierStatus) bool { return s.Sessions > 1 && s.Refused && !s.Connected })
	if prepared.Load() {
		t.Fatal("prepared another cluster's database")
	}
	assertRows(t, d.session(), h)
	b.Close()
	a = d.open(h)
	waitApplied(t, a, h)
}

func testApplierRefusesRowsOfNobody(t part) {
	d := t.target
	conn := d.session()
	if err := d.prepare(testContext(t), conn); err != nil {
		t.Fatal(err)
	}
	d.exec("INSERT INTO pgraft.kv VALUES ('a', 'x', NULL, 0, 1, 1, 1)")
	h := newHistory(t, "c1")
	a := d.open(h)
	waitApplier(t, a, "refusal", func(s fsm.ApplierStatus) bool { return s.Refused })
	compare(t, "kv", []string{"a"}, readRows(t, conn, "SELECT key FROM pgraft.kv"))
	d.exec("DELETE FROM pgraft.kv")
	a.Wake()
	waitApplied(t, a, h)
	if s := a.Status(); s.Refused || s.LastError != "" {
		t.Fatalf("the error stays: %+v", s)
	}
}

func testApplierSecondWriter(t part) {
	d := t.target
	h := newHistory(t, "c1")
	a := d.open(h)
	waitApplied(t, a, h)
	b := d.open(h.fork())
	s := waitApplier(t, b, "an error", func(s fsm.ApplierStatus) bool { return s.LastError != "" })
	if !strings.Contains(s.LastError, "another agent applies") || !strings.Contains(s.LastError, "pgraft applier n0") {
		t.Fatalf("unclear error: %s", s.LastError)
	}
	a.Close()
	waitApplier(t, b, "the second to take over", func(s fsm.ApplierStatus) bool { return s.Writing && s.LastError == "" })
}

// testApplierMetaChanged has somebody move the index. The applier must notice, also while it has nothing to write.
func testApplierMetaChanged(t part) {
	d := t.target
	h := newHistory(t, "c1")
	h.fillAll()
	a := d.open(h)
	waitApplied(t, a, h)
	before := a.Status()
	d.exec("UPDATE pgraft.meta SET applied_index = 3") // as if the rows above it were not there yet
	waitApplier(t, a, "the entries to be written again", func(s fsm.ApplierStatus) bool { return s.Entries > before.Entries })
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
	d.exec("UPDATE pgraft.meta SET applied_index = 1000; DELETE FROM pgraft.kv WHERE key = 'binary'")
	waitApplier(t, a, "a difference to be written", func(s fsm.ApplierStatus) bool { return s.Diffs > before.Diffs })
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
}

func testApplierWaitsForCluster(t part) {
	d := t.target
	h := &history{FSM: fsm.New(nil), tb: t, term: 1}
	a := d.open(h)
	waitApplier(t, a, "a session", func(s fsm.ApplierStatus) bool { return s.Connected })
	h.apply(fsm.ClusterInit{ClusterID: "late", ClusterName: "test"}, put("a", "1"))
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
}

func testApplierServerComesLate(t part) {
	d := t.target
	h := newHistory(t, "c1")
	h.fillAll()
	var there atomic.Bool
	a := d.open(h, func(cfg *fsm.ApplierConfig) {
		cfg.Connect = func(ctx context.Context) (*pgx.Conn, error) {
			if !there.Load() {
				return nil, errors.New("nobody home")
			}
			return d.connect(ctx)
		}
	})
	s := waitApplier(t, a, "an error", func(s fsm.ApplierStatus) bool { return s.LastError != "" })
	if s.Connected || s.Known || s.Lag != -1 || time.Since(s.ErrorSince) > time.Minute {
		t.Fatalf("unexpected status without a server: %+v", s)
	}
	there.Store(true)
	a.Wake()
	waitApplied(t, a, h)
	assertRows(t, d.session(), h)
}
