package fsm_test

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func entryID(n int) fsm.EntryID {
	var id fsm.EntryID
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func TestRepeatedEntryIsAppliedOnce(t *testing.T) {
	m := newMachine(t)
	e := fsm.Entry{ID: entryID(1), Ops: []fsm.Op{
		set("a", "1"),
		fsm.KVSet{Key: "a", Value: []byte("2"), Cond: fsm.Cond{Kind: fsm.CondVersion, Number: 1}},
		fsm.EventAppend{Type: "once"},
		fsm.Txn{Txn: api.TxnRequest{Success: []api.TxnOp{{Op: "get", Key: "a"}, {Op: "set", Key: "e"}}}},
	}}
	want := m.applyEntry(e)
	m.one(set("between", ""))
	for range 2 {
		if got := m.applyEntry(e); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		m.restore(m.bytes())
	}
	_, pair := m.Store().KVGet(nil, "a")
	equal(t, "version", pair.Version, 2)
	_, events := m.Store().Events(nil, 0, 0)
	equal(t, "events", len(events), 1)
	equal(t, "index goes on", m.Store().Index(), m.index)
}

func TestRepeatedRequestIsAppliedOnce(t *testing.T) {
	m := newMachine(t)
	m.one(set("a", "1"))
	write := fsm.KVSet{
		Request: fsm.Request{ID: "r"}, Key: "a", Value: []byte("2"),
		Cond: fsm.Cond{Kind: fsm.CondVersion, Number: 1},
	}
	failing := fsm.KVSet{Request: fsm.Request{ID: "f"}, Key: "a", Cond: fsm.Cond{Kind: fsm.CondVersion, Number: 1}}
	// Twice in one entry, again in another one with an id, again after a restore.
	first := m.apply(write, failing, write)
	equal(t, "first try", first[0].Code, "")
	equal(t, "failing try", first[1].Code, api.CodePrecondition)
	if !reflect.DeepEqual(first[0], first[2]) {
		t.Errorf("within the entry: got %+v, want %+v", first[2], first[0])
	}
	for i := range 2 {
		again := m.applyEntry(fsm.Entry{ID: entryID(i + 1), Ops: []fsm.Op{failing, write}})
		if !reflect.DeepEqual(again, []fsm.Result{first[1], first[0]}) {
			t.Errorf("again: got %+v, want %+v", again, first)
		}
		m.restore(m.bytes())
	}
	_, pair := m.Store().KVGet(nil, "a")
	equal(t, "version", pair.Version, 2)
}

func TestRetryExpires(t *testing.T) {
	m := newMachine(t)
	m.one(fsm.Noop{})
	entry := fsm.Entry{ID: entryID(1), Base: 1, Ops: []fsm.Op{set("entry", "v"), fsm.Noop{}}}
	request := fsm.KVSet{Request: fsm.Request{ID: "r", Base: 1}, Key: "request"}
	m.applyEntry(entry)
	m.one(request)
	fill(m, fsm.Window)

	check := func() {
		t.Helper()
		for i, r := range m.applyEntry(entry) {
			equal(t, fmt.Sprintf("entry's result %d", i), r.Code, api.CodeRetryExpired)
		}
		m.refused(api.CodeRetryExpired, request)
		_, pair := m.Store().KVGet(nil, "request")
		equal(t, "version", pair.Version, 1)
	}
	check()
	m.restore(m.bytes())
	check()

	recent := entry
	recent.ID, recent.Base = entryID(1<<40), m.index
	equal(t, "a new entry", m.applyEntry(recent)[0].Code, "")
	recent.ID, recent.Base = entryID(1<<41), 0
	equal(t, "an entry without base", m.applyEntry(recent)[0].Code, "")
}

// fill pushes everything before it out of the dedupe window.
func fill(m *machine, results int) {
	m.t.Helper()
	ops := make([]fsm.Op, 4096)
	for i := range ops {
		ops[i] = fsm.Noop{}
	}
	for i := 0; i < results; i += len(ops) {
		m.applyEntry(fsm.Entry{ID: entryID(1<<50 + i), Ops: ops})
	}
}

func TestWindowIsBoundedByBytes(t *testing.T) {
	m := newMachine(t)
	m.one(fsm.KVSet{Key: "big", Value: make([]byte, fsm.MaxValueSize)})
	get := fsm.Txn{Txn: api.TxnRequest{Success: []api.TxnOp{{Op: "get", Key: "big"}}}}
	entry := fsm.Entry{ID: entryID(1), Base: 1, Ops: []fsm.Op{get}}
	m.applyEntry(entry)
	equal(t, "remembered", m.applyEntry(entry)[0].Code, "")
	for i := range fsm.WindowBytes / fsm.MaxValueSize {
		m.applyEntry(fsm.Entry{ID: entryID(i + 2), Ops: []fsm.Op{get}})
	}
	equal(t, "forgotten", m.applyEntry(entry)[0].Code, api.CodeRetryExpired)
}

func TestUndecodableEntry(t *testing.T) {
	m := newMachine(t)
	m.one(set("a", "1"))
	log := command(t, 2, fsm.Entry{Ops: []fsm.Op{fsm.Noop{}, fsm.Noop{}}})
	log.Data = log.Data[:len(log.Data)-1]
	results := m.Apply(log).([]fsm.Result)
	equal(t, "results", len(results), 2)
	equal(t, "code", results[1].Code, api.CodeInternal)
	equal(t, "index", m.Store().Index(), 2)
	log.Index, log.Data = 3, nil
	equal(t, "results of nothing", len(m.Apply(log).([]fsm.Result)), 1)
}
