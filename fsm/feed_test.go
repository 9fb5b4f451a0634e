package fsm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	memdb "github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/fsm"
)

func logsOfSets(tb testing.TB, entries, ops int) []*raft.Log {
	tb.Helper()
	logs := make([]*raft.Log, entries)
	for i := range logs {
		e := fsm.Entry{Time: start}
		for j := range ops {
			e.Ops = append(e.Ops, fsm.KVSet{Key: fmt.Sprintf("key/%d/%d", i, j), Value: make([]byte, 256)})
		}
		logs[i] = command(tb, uint64(i+1), e)
	}
	return logs
}

func TestFeedSince(t *testing.T) {
	m := newMachine(t)
	m.apply(set("a", "1"), set("b", "1"), set("a", "2"))
	m.apply(fsm.Noop{})
	m.apply(fsm.KVDelete{Key: "a"})
	m.index = 9 // as if indexes 4 to 9 were Raft's own
	m.apply(fsm.SettingSet{Name: "s", Value: "v"})

	for _, tc := range []struct {
		name    string
		index   uint64
		maxRows int
		want    string
		ok      bool
	}{
		{"from the start", 0, 0, "1:3 2:0 3:1 10:2", true},
		{"first change only", 0, 1, "1:3", true},
		{"to the row limit", 0, 4, "1:3 2:0 3:1", true},
		{"from the middle", 2, 0, "3:1 10:2", true},
		{"current", 10, 0, "", true},
		{"ahead", 11, 0, "", true},
		{"an index that never was", 5, 0, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changes, ok := m.Feed().Since(tc.index, tc.maxRows)
			equal(t, "ok", ok, tc.ok)
			got := ""
			for _, c := range changes {
				got += fmt.Sprintf(" %d:%d", c.Index, len(c.Rows))
			}
			equal(t, "changes", got, map[bool]string{true: " " + tc.want, false: ""}[tc.want != ""])
		})
	}
	changes, _ := m.Feed().Since(2, 1)
	equal(t, "deleted", changes[0].Rows[0].Deleted(), true)
	equal(t, "key", changes[0].Rows[0].Key, "a")
}

func TestFeedIsBounded(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		m := newMachine(t)
		value := make([]byte, fsm.MaxValueSize)
		for range fsm.FeedMaxBytes/fsm.MaxValueSize + 2 {
			m.one(fsm.KVSet{Key: "k", Value: value})
		}
		checkTrimmed(t, m)
	})
	t.Run("rows", func(t *testing.T) {
		m := newMachine(t)
		ops := make([]fsm.Op, 4096)
		for i := range ops {
			ops[i] = set("k", "")
		}
		for range fsm.FeedMaxRows/len(ops) + 2 {
			m.apply(ops...)
		}
		checkTrimmed(t, m)
	})
}

func TestFeedRelease(t *testing.T) {
	reaches := func(m *machine, index uint64, want bool) {
		t.Helper()
		_, ok := m.Feed().Since(index, 0)
		equal(t, fmt.Sprintf("reaches back to %d", index), ok, want)
	}
	m := newMachine(t)
	for range fsm.FeedKeepRows + 10 {
		m.one(set("k", ""))
	}
	reaches(m, 1, true) // nobody has taken anything
	m.Feed().Release(5)
	reaches(m, 5, true)
	reaches(m, 4, false)
	m.Feed().Release(m.index)
	reaches(m, m.index-fsm.FeedKeepRows, true) // what the reader may ask for again
	reaches(m, m.index-fsm.FeedKeepRows-1, false)
	m.Feed().Release(math.MaxUint64) // there is no reader
	m.one(set("k", ""))
	reaches(m, m.index-fsm.FeedKeepRows-1, false)
	reaches(m, m.index-fsm.FeedKeepRows, true)
}

// checkTrimmed expects that the feed has lost its first changes and continues from somewhere.
func checkTrimmed(t *testing.T, m *machine) {
	t.Helper()
	if _, ok := m.Feed().Since(1, 0); ok {
		t.Error("the feed reaches back to 1")
	}
	for index := uint64(2); index < m.index; index++ {
		if changes, ok := m.Feed().Since(index, 0); ok {
			equal(t, "changes", uint64(len(changes)), m.index-index)
			return
		}
	}
	t.Error("the feed has nothing")
}

func TestFeedAfterRestore(t *testing.T) {
	m := newMachine(t)
	for range 5 {
		m.one(set("k", "v"))
	}
	archive := m.bytes()
	for range 5 {
		m.one(set("k", "w"))
	}
	m.restore(archive) // an older state, as an operator restores it
	for index, want := range map[uint64]bool{4: false, 5: true, 9: true} {
		_, ok := m.Feed().Since(index, 0)
		equal(t, fmt.Sprintf("ok at %d", index), ok, want)
	}
	m.index = 20
	m.one(set("k", "x"))
	if _, ok := m.Feed().Since(9, 0); ok {
		t.Error("a copy that is at an index of the discarded history was told to go on from there")
	}
	changes, ok := m.Feed().Since(5, 0)
	equal(t, "ok from the restored index", ok, true)
	equal(t, "changes", len(changes), 1)
}

func TestFeedWait(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- m.Feed().Wait(ctx, 1) }()
	m.one(fsm.Noop{})
	m.one(fsm.Noop{})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := m.Feed().Wait(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestWaitIndex(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := m.WaitIndex(ctx, 2)
		if err == nil && m.Store().Index() < 2 {
			err = fmt.Errorf("index is %d", m.Store().Index())
		}
		done <- err
	}()
	m.one(fsm.Noop{})
	m.ApplyBatch([]*raft.Log{{Type: raft.LogConfiguration, Index: 2, Term: 1}})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	m.StoreConfiguration(3, raft.Configuration{})
	equal(t, "index", m.Store().Index(), 3)
}

func TestBlock(t *testing.T) {
	query := func(key string, found *string) func(memdb.WatchSet, *fsm.Store) (uint64, error) {
		return func(ws memdb.WatchSet, s *fsm.Store) (uint64, error) {
			index, pair := s.KVGet(ws, key)
			*found = ""
			if pair != nil {
				*found = string(pair.Value)
			}
			return index, nil
		}
	}
	for _, tc := range []struct {
		name   string
		min    uint64
		wait   time.Duration
		change func(m *machine)
		want   string
	}{
		{"not asked to wait", 0, time.Minute, nil, "v"},
		{"newer already", 1, time.Minute, nil, "v"},
		{"no time", 2, 0, nil, "v"},
		{"nothing changes", 2, 10 * time.Millisecond, nil, "v"},
		{"another key changes", 2, 50 * time.Millisecond, func(m *machine) { m.one(set("other", "x")) }, "v"},
		{"the key changes", 2, time.Minute, func(m *machine) { m.one(set("k", "w")) }, "w"},
		{"the key goes", 2, time.Minute, func(m *machine) { m.one(fsm.KVDelete{Key: "k"}) }, ""},
		{"restore", 2, time.Minute, func(m *machine) { m.restore(newMachine(t).bytes()) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			m.one(fsm.Noop{})
			m.one(set("k", "v"))
			found := "not run"
			ran := make(chan struct{}, 10) // room for every run of the query
			done := make(chan error, 1)
			go func() {
				run := query("k", &found)
				done <- m.Block(t.Context(), tc.min, tc.wait, func(ws memdb.WatchSet, s *fsm.Store) (uint64, error) {
					defer func() { ran <- struct{}{} }()
					return run(ws, s)
				})
			}()
			<-ran
			if tc.change != nil {
				tc.change(m)
			}
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("still blocked")
			}
			equal(t, "found", found, tc.want)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var found string
		if err := newMachine(t).Block(ctx, 5, time.Minute, query("k", &found)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
	t.Run("error", func(t *testing.T) {
		failed := errors.New("failed")
		err := newMachine(t).Block(t.Context(), 5, time.Minute,
			func(memdb.WatchSet, *fsm.Store) (uint64, error) { return 0, failed })
		if !errors.Is(err, failed) {
			t.Errorf("got %v, want %v", err, failed)
		}
	})
}
