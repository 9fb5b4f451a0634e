package fsm_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/fsm"
)

// start is the time of the first entry of every test.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// machine drives one FSM as Raft does, an entry at a time, and stands for the leader's clock.
type machine struct {
	*fsm.FSM
	t     testing.TB
	index uint64
	now   time.Time
}

func newMachine(tb testing.TB) *machine {
	tb.Helper()
	return &machine{FSM: fsm.New(hclog.NewNullLogger()), t: tb, now: start}
}

// apply puts the operations into one entry and returns their results.
func (m *machine) apply(ops ...fsm.Op) []fsm.Result {
	m.t.Helper()
	return m.applyEntry(fsm.Entry{Ops: ops})
}

func (m *machine) applyEntry(e fsm.Entry) []fsm.Result {
	m.t.Helper()
	m.index++
	m.now = m.now.Add(time.Millisecond)
	e.Time = m.now
	return m.Apply(command(m.t, m.index, e)).([]fsm.Result)
}

// one applies a single operation, which must succeed.
func (m *machine) one(op fsm.Op) fsm.Result {
	m.t.Helper()
	result := m.apply(op)[0]
	if result.Code != "" {
		m.t.Fatalf("%T at index %d: %s: %s", op, m.index, result.Code, result.Message)
	}
	return result
}

// refused applies a single operation, which must fail with code.
func (m *machine) refused(code string, op fsm.Op) fsm.Result {
	m.t.Helper()
	result := m.apply(op)[0]
	if result.Code != code {
		m.t.Fatalf("%+v at index %d: got code %q (%s), want %q", op, m.index, result.Code, result.Message, code)
	}
	return result
}

// bytes returns the snapshot of the store as it is.
func (m *machine) bytes() []byte {
	m.t.Helper()
	return storeBytes(m.t, m.Store())
}

// restore replaces the store by the snapshot.
func (m *machine) restore(b []byte) {
	m.t.Helper()
	if err := m.Restore(io.NopCloser(bytes.NewReader(b))); err != nil {
		m.t.Fatal(err)
	}
}

func storeBytes(tb testing.TB, s *fsm.Store) []byte {
	tb.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil {
		tb.Fatal(err)
	}
	if n != int64(b.Len()) {
		tb.Fatalf("WriteTo says %d bytes, wrote %d", n, b.Len())
	}
	return b.Bytes()
}

func command(tb testing.TB, index uint64, e fsm.Entry) *raft.Log {
	tb.Helper()
	data, err := fsm.EncodeEntry(e)
	if err != nil {
		tb.Fatal(err)
	}
	return &raft.Log{Type: raft.LogCommand, Index: index, Term: 1 + index/1000, Data: data}
}

func set(key, value string) fsm.KVSet { return fsm.KVSet{Key: key, Value: []byte(value)} }

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
