package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/fsm"
)

// lived returns a machine whose store has rows in every table.
func lived(tb testing.TB) *machine {
	tb.Helper()
	m := newMachine(tb)
	m.apply(fsm.ClusterInit{ClusterID: "c-1", ClusterName: "prod"})
	m.apply(register("a", "s1", 0), register("b", "s2", 7), fsm.NodeRemove{ServerID: "s1"})
	m.apply(fsm.SessionCreate{ID: "s", LockDelay: fsm.MaxLockDelay}, fsm.SessionCreate{ID: "kept"})
	m.apply(fsm.KVSet{Key: "k", Value: []byte{0}, Acquire: "s"}, set("empty", ""), set("gone", "v"))
	m.apply(fsm.KVDelete{Key: "gone"}, fsm.SessionDestroy{ID: "s"}, fsm.SettingSet{Name: "n", Value: "v"})
	m.applyEntry(fsm.Entry{ID: entryID(1), Ops: []fsm.Op{fsm.Noop{Request: fsm.Request{ID: "r"}}}})
	return m
}

// sink is a raft.SnapshotSink in memory.
type sink struct {
	bytes.Buffer
	closed, cancelled bool
	fail              error
}

func (s *sink) Write(b []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Buffer.Write(b)
}
func (s *sink) ID() string    { return "test" }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }

func TestSnapshotIsOfItsMoment(t *testing.T) {
	m := lived(t)
	want := m.bytes()
	snapshot, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	view := m.Store().Snapshot()
	m.one(set("later", "v"))
	m.one(fsm.KVDelete{Prefix: true})
	var out sink
	if err := snapshot.Persist(&out); err != nil {
		t.Fatal(err)
	}
	snapshot.Release()
	equal(t, "closed", out.closed, true)
	if !bytes.Equal(out.Bytes(), want) {
		t.Error("what was applied after Snapshot is in what Persist wrote")
	}
	if !bytes.Equal(storeBytes(t, view), want) {
		t.Error("what was applied after Store.Snapshot is in the view")
	}
}

func TestPersistCancelsOnError(t *testing.T) {
	snapshot, err := lived(t).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	out := sink{fail: errors.New("disk full")}
	if err := snapshot.Persist(&out); !errors.Is(err, out.fail) {
		t.Errorf("got %v, want %v", err, out.fail)
	}
	equal(t, "cancelled", out.cancelled, true)
	equal(t, "closed", out.closed, false)
}

func TestRestore(t *testing.T) {
	m := lived(t)
	want := m.bytes()
	other := newMachine(t)
	other.one(set("discarded", "v"))
	old := other.Store()
	other.restore(want)
	select {
	case <-old.AbandonCh():
	default:
		t.Error("the old store does not say that it was abandoned")
	}
	if !bytes.Equal(other.bytes(), want) {
		t.Error("the restored store differs")
	}
	keys, size := m.Store().KVStats(nil)
	gotKeys, gotSize := other.Store().KVStats(nil)
	equal(t, "keys", gotKeys, keys)
	equal(t, "bytes", gotSize, size)

	m.one(set("next", "v"))
	other.index, other.now = m.index-1, m.now.Add(-1e6)
	other.one(set("next", "v"))
	if !bytes.Equal(other.bytes(), m.bytes()) {
		t.Error("the stores part after the restore")
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	good := lived(t).bytes()
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	cases := map[string][]byte{
		"empty":       nil,
		"magic":       flip(0),
		"version":     flip(7),
		"checksum":    flip(len(good) - 1),
		"end":         flip(len(good) - 33),
		"trailing":    append(bytes.Clone(good), 0),
		"only header": good[:8],
	}
	for at := 8; at < len(good); at += 11 {
		cases["flip at "+fsm.EventKey(uint64(at))] = flip(at)
		cases["cut at "+fsm.EventKey(uint64(at))] = good[:at]
	}
	for name, b := range cases {
		m := newMachine(t)
		m.one(set("kept", "v"))
		if err := m.Restore(io.NopCloser(bytes.NewReader(b))); err == nil {
			t.Errorf("%s: restored", name)
		}
		if _, pair := m.Store().KVGet(nil, "kept"); pair == nil {
			t.Errorf("%s: a snapshot that was refused replaced the store", name)
		}
	}
}

func TestInspectSnapshot(t *testing.T) {
	m := lived(t)
	b := m.bytes()
	info, err := fsm.InspectSnapshot(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "version", info.Version, 1)
	equal(t, "index", info.Index, m.index)
	equal(t, "term", info.Term, 1)
	equal(t, "cluster id", info.ClusterID, "c-1")
	equal(t, "cluster name", info.ClusterName, "prod")
	equal(t, "size", info.Size, int64(len(b)))
	rows := map[string]int{}
	for _, c := range info.Tables {
		rows[c.Table] = c.Rows
	}
	for table, want := range map[string]int{
		"kv": 2, "tombstone": 1, "session": 1, "lockdelay": 1, "node": 1, "binding": 2, "removed": 1, "setting": 1, "event": 4, "dedupe": 1,
	} {
		equal(t, table, rows[table], want)
	}
	_, err = fsm.InspectSnapshot(strings.NewReader("something else"))
	if err == nil || !strings.Contains(err.Error(), "not a snapshot") {
		t.Errorf("got %v, want that it is not a snapshot", err)
	}
}

func FuzzReadStore(f *testing.F) {
	f.Add(lived(f).bytes())
	f.Add(newMachine(f).bytes())
	f.Add(managed(f).bytes())
	f.Add([]byte("pgraftS\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		store, err := fsm.ReadStore(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if _, err := store.WriteTo(&again); err != nil {
			t.Fatalf("read, but can't be written: %v", err)
		}
		if _, err := fsm.ReadStore(&again); err != nil {
			t.Fatalf("written again, but can't be read: %v", err)
		}
	})
}

func BenchmarkApplyBatchOf64(b *testing.B) { benchmarkApply(b, 64, 1) }

func BenchmarkApplyEntryOf100(b *testing.B) { benchmarkApply(b, 1, 100) }

func benchmarkApply(b *testing.B, entries, ops int) {
	b.Helper()
	f := fsm.New(hclog.NewNullLogger())
	batch := logsOfSets(b, entries, ops)
	b.ReportAllocs()
	for b.Loop() {
		f.ApplyBatch(batch)
		for _, log := range batch {
			log.Index += uint64(entries)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*entries*ops), "ns/op-in-entry")
}
