package fsm_test

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// everyOp has one operation of each kind, with every field set.
func everyOp() []fsm.Op {
	request := fsm.Request{ID: "request", Base: 42}
	ops := []fsm.Op{
		fsm.ClusterInit{ClusterID: "id", ClusterName: "name"},
		fsm.KVSet{Request: request, Key: "k", Value: []byte{0, 255}, Flags: 1 << 63,
			Cond: fsm.Cond{Kind: fsm.CondVersion, Number: 9}, Acquire: "a", Release: "r"},
		fsm.KVDelete{Request: request, Key: "k", Prefix: true, Cond: fsm.Cond{Kind: fsm.CondModifyIndex, Number: 9}},
		fsm.Txn{Request: request, Txn: api.TxnRequest{
			Compares: []api.TxnCompare{{Key: "k", Target: "value", Op: "==", Number: 1, Value: []byte("v"), Text: "t", Exists: true}},
			Success:  []api.TxnOp{{Op: "set", Key: "k", Value: []byte("v"), Flags: 3}},
			Failure:  []api.TxnOp{{Op: "get", Key: "k"}},
		}},
		fsm.SessionCreate{Request: request, ID: "s", Name: "n", Node: "o", TTL: time.Second, LockDelay: 2, Behavior: "delete"},
		fsm.SessionDestroy{Request: request, ID: "s", Expired: true},
		fsm.NodeRegister{Node: fsm.Node{NodeID: 1, Name: "n", ServerID: "s", RaftAddress: "r", GossipAddress: "g",
			HTTPAddress: "h", PostgresAddress: "p", Version: "v", Protocol: 1, NonVoting: true, Witness: true, Zone: "z", Postgres: true, Priority: 100}},
		fsm.NodeBind{Request: request, Name: "n", NodeID: 4},
		fsm.NodeRemove{Request: request, ServerID: "s", Reason: "dead"},
		fsm.SettingSet{Request: request, Name: "n", Value: "v"},
		fsm.SettingDelete{Request: request, Name: "n"},
		fsm.EventAppend{Type: "t", Node: "n", Message: "m", Data: map[string]string{"a": "b"}},
		fsm.Noop{Request: request, Data: []byte("d")},
	}
	for _, op := range primacyOps() {
		ops = append(ops, fsm.Primacy{Request: request, Op: op})
	}
	return ops
}

func TestEntryRoundTrip(t *testing.T) {
	want := fsm.Entry{ID: fsm.EntryID{1, 15: 16}, Base: 1 << 60, Time: start.Add(1), Ops: everyOp()}
	b, err := fsm.EncodeEntry(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fsm.DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	for n := range b {
		if _, err := fsm.DecodeEntry(b[:n]); err == nil {
			t.Fatalf("an entry cut at byte %d of %d was accepted", n, len(b))
		}
	}
	if _, err := fsm.DecodeEntry(append(b, 0)); err == nil {
		t.Fatal("an entry with a byte too many was accepted")
	}
}

func TestStampTime(t *testing.T) {
	b, err := fsm.EncodeEntry(fsm.Entry{Ops: everyOp()})
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := fsm.DecodeEntry(b); !e.Time.IsZero() {
		t.Errorf("time of an entry not stamped: %v", e.Time)
	}
	if err := fsm.StampTime(b, start); err != nil {
		t.Fatal(err)
	}
	e, err := fsm.DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "time", e.Time, start)
	if !reflect.DeepEqual(e.Ops, everyOp()) {
		t.Error("the stamp changed the operations")
	}
	for _, bad := range [][]byte{nil, b[:10], append([]byte{9}, b[1:]...)} {
		if err := fsm.StampTime(bad, start); err == nil {
			t.Errorf("stamped %d bytes that are no entry", len(bad))
		}
	}
}

func TestDecodeEntryRefuses(t *testing.T) {
	good, err := fsm.EncodeEntry(fsm.Entry{Ops: []fsm.Op{set("k", "v")}})
	if err != nil {
		t.Fatal(err)
	}
	noop, err := fsm.EncodeEntry(fsm.Entry{Ops: []fsm.Op{fsm.Noop{Data: []byte("d")}}})
	if err != nil {
		t.Fatal(err)
	}
	edit := func(change func(b []byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	for _, tc := range []struct {
		name, want string
		entry      []byte
	}{
		{"empty", "too few", nil},
		{"version", "unknown version", edit(func(b []byte) { b[0] = 2 })},
		{"count too high", "too many", edit(func(b []byte) { binary.BigEndian.PutUint32(b[33:], 1<<31) })},
		{"one op more", "cut short", edit(func(b []byte) { b[36]++ })},
		{"length too high", "announced", edit(func(b []byte) { b[37] = 255 })},
		{"unknown kind", "unknown kind", edit(func(b []byte) { b[41] = 200 })},
		{"unknown field", "Datz", bytes.Replace(noop, []byte("Data"), []byte("Datz"), 1)},
		{"set too short", "too few", edit(func(b []byte) { b[40] = 20 })},
		{"set with a text too long", "decode fsm.KVSet", edit(func(b []byte) { b[67] = 255 })},
		{"set with a byte more than its value", "1 bytes too many", edit(func(b []byte) { b[len(b)-2]-- })},
		{"too large", "more than", make([]byte, fsm.MaxEntrySize+1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := fsm.DecodeEntry(tc.entry)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want something with %q", err, tc.want)
			}
		})
	}
}

func TestEntryBuilderBounds(t *testing.T) {
	op, err := fsm.EncodeOp(fsm.Noop{Data: make([]byte, fsm.MaxValueSize)})
	if err != nil {
		t.Fatal(err)
	}
	b := fsm.NewEntryBuilder(fsm.EntryID{}, 0, 1, 100)
	if err := b.Add(op); err != nil {
		t.Fatal(err)
	}
	size := b.Size()
	if b.Fits(len(op)) {
		t.Fatal("two operations of the largest size fit")
	}
	if err := b.Add(op); err == nil {
		t.Fatal("added an operation past the bound")
	}
	equal(t, "size after the refusal", b.Size(), size)
	equal(t, "operations", b.Len(), 1)
	if _, err := fsm.DecodeEntry(b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func TestResultsRoundTrip(t *testing.T) {
	want := []fsm.Result{
		{Index: 1, Version: 2, Deleted: 3, NodeID: 4},
		{Code: api.CodeConflict, Message: "taken", Index: 1},
		{Index: 1, Txn: &api.TxnResponse{Succeeded: true, Index: 1, Results: []api.TxnResult{
			{Pairs: []api.KVPair{{Key: "k", Value: []byte("v"), Version: 1}}}, {Deleted: 1},
		}}},
	}
	b, err := fsm.EncodeResults(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fsm.DecodeResults(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := fsm.DecodeResults(b[:len(b)-1]); err == nil {
		t.Error("results cut short were accepted")
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, op := range everyOp() {
		b, err := fsm.EncodeEntry(fsm.Entry{ID: fsm.EntryID{1}, Base: 1, Time: start, Ops: []fsm.Op{op}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := fsm.DecodeEntry(b)
		if err != nil {
			return
		}
		again, err := fsm.EncodeEntry(e)
		if err != nil {
			t.Fatalf("decoded, but can't be encoded: %v", err)
		}
		if _, err := fsm.DecodeEntry(again); err != nil {
			t.Fatalf("encoded again, but can't be decoded: %v", err)
		}
		for _, op := range e.Ops {
			_ = fsm.Validate(op)
		}
	})
}

func BenchmarkEntryOfOneSet(b *testing.B) {
	op := fsm.KVSet{Request: fsm.Request{ID: "0123456789abcdef"}, Key: "app/config/key", Value: make([]byte, 256)}
	b.ReportAllocs()
	for b.Loop() {
		entry, err := fsm.EncodeEntry(fsm.Entry{Time: start, Ops: []fsm.Op{op}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fsm.DecodeEntry(entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEntryOfHundredSets(b *testing.B) {
	ops := make([]fsm.Op, 100)
	for i := range ops {
		ops[i] = fsm.KVSet{Request: fsm.Request{ID: "0123456789abcdef"}, Key: "app/config/key", Value: make([]byte, 256)}
	}
	b.ReportAllocs()
	for b.Loop() {
		entry, err := fsm.EncodeEntry(fsm.Entry{Time: start, Ops: ops})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fsm.DecodeEntry(entry); err != nil {
			b.Fatal(err)
		}
	}
}
