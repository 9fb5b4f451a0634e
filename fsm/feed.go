package fsm

import (
	"context"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/pgraft/pgraft/api"
)

// The bounds of a Feed. Past either of the first two the oldest changes go, and a reader that still needs them must diff.
// What the reader has taken is kept up to the third: a PostgreSQL that crashes forgets its last moments, and asks again.
const (
	FeedMaxRows  = 131072   // rows and changes together
	FeedMaxBytes = 64 << 20 // of keys and values
	FeedKeepRows = 49152    // rows and changes together, up to the released index: what an applier at full speed writes in a second
)

// Table names one of the PostgreSQL tables that mirror the store.
type Table string

// The mirrored tables, without their schema.
const (
	TableKV      Table = "kv"
	TableNode    Table = "node"
	TableSetting Table = "setting"
	TableEvent   Table = "event"
)

// Change is everything that one raft index changed. Rows is empty where the entry touched no mirrored table; the index
// still counts as applied.
type Change struct {
	Index, Term uint64
	Rows        []Row

	at time.Time // when the feed got it
}

// Row is the new state of one row, in the order in which the entry produced it: of several rows with the same Table and
// Key the last one holds. At most the field that belongs to Table is set; none is set when the row is deleted. What
// the pointers lead to belongs to the store and must not be changed.
type Row struct {
	Table Table
	// Key identifies the row within Table: the key, the node's name, the setting's name, the event's index in decimal.
	Key     string
	KV      *api.KVPair
	Node    *Node
	Setting *api.Setting
	Event   *api.Event
}

// Deleted reports whether the row is gone.
func (r Row) Deleted() bool {
	return r.KV == nil && r.Node == nil && r.Setting == nil && r.Event == nil
}

// EventKey is the Row.Key of the event with the given index.
func EventKey(index uint64) string { return strconv.FormatUint(index, 10) }

// size is what the row counts for against FeedMaxBytes.
func (r Row) size() int {
	n := len(r.Key)
	switch {
	case r.KV != nil:
		n += len(r.KV.Value)
	case r.Setting != nil:
		n += len(r.Setting.Value)
	case r.Event != nil:
		n += eventSize(r.Event)
	}
	return n
}

func eventSize(e *api.Event) int {
	n := len(e.Type) + len(e.Node) + len(e.Message)
	for k, v := range e.Data {
		n += len(k) + len(v)
	}
	return n
}

// Feed is a bounded record of the latest changes in log order. The FSM goroutine appends; any goroutine reads.
type Feed struct {
	progress *progress

	mu sync.Mutex // guards the rest
	// base is the index that changes continues from: the state at base plus changes is the state now.
	base     uint64
	baseTerm uint64    // the term of the entry at base
	since    time.Time // when the feed was last empty and current to base
	changes  []Change
	rows     int
	bytes    int
	released uint64 // the reader's copy is at this index
}

func newFeed() *Feed { return &Feed{progress: newProgress(), since: time.Now()} }

// Since returns the changes above index, oldest first: whole changes, until they hold maxRows rows or more (0 = all).
//
// ok is false when the changes can't be applied to a copy that is at index: the feed no longer reaches back to it, or
// index never was an index of this store's history, as after a restore of an older snapshot. The caller must then
// write the difference to Store().Snapshot(). An index ahead of the store, as a restarted agent finds it in PostgreSQL while
// the log is replayed, is no reason to diff: ok is true and there is nothing to do until the store has come past it.
func (f *Feed) Since(index uint64, maxRows int) (changes []Change, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index >= f.last() {
		return nil, true
	}
	start, ok := f.after(index)
	if !ok {
		return nil, false
	}
	return append(changes, limitRows(f.changes[start:], maxRows)...), true
}

// Wait returns when there is a change above index, or with the context's error.
func (f *Feed) Wait(ctx context.Context, index uint64) error {
	return f.progress.wait(ctx, index+1)
}

// Release tells that the reader's copy is at index, so that the feed need not keep all that leads there. Without a reader
// release math.MaxUint64 once.
func (f *Feed) Release(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = index
	f.trim()
}

// last is the index that the feed is current to. The caller holds mu.
func (f *Feed) last() uint64 {
	if n := len(f.changes); n > 0 {
		return f.changes[n-1].Index
	}
	return f.base
}

// after finds the first change above index, provided that index is exactly one that the history passed through. The
// caller holds mu.
func (f *Feed) after(index uint64) (int, bool) {
	if index == f.base {
		return 0, true
	}
	i := sort.Search(len(f.changes), func(i int) bool { return f.changes[i].Index >= index })
	if i == len(f.changes) || f.changes[i].Index != index {
		return 0, false
	}
	return i + 1, true
}

func limitRows(changes []Change, maxRows int) []Change {
	if maxRows <= 0 {
		return changes
	}
	rows := 0
	for i, c := range changes {
		if rows >= maxRows {
			return changes[:i]
		}
		rows += len(c.Rows)
	}
	return changes
}

// append adds the changes of one committed batch and drops the oldest ones past the bounds.
func (f *Feed) append(changes []Change) {
	if len(changes) == 0 {
		return
	}
	f.mu.Lock()
	now := time.Now()
	for _, c := range changes {
		c.at = now
		f.changes = append(f.changes, c)
		f.count(c, 1)
	}
	f.trim()
	last := f.last()
	f.mu.Unlock()
	f.progress.advance(last)
}

// trim drops from the front. The caller holds mu.
func (f *Feed) trim() {
	n := 0
	for n < len(f.changes) && f.tooMany(f.changes[n].Index) {
		f.base, f.baseTerm = f.changes[n].Index, f.changes[n].Term
		f.count(f.changes[n], -1)
		f.changes[n] = Change{} // the array outlives the slice's front
		n++
	}
	f.changes = f.changes[n:]
}

// tooMany reports whether the oldest change, which has the given index, is to go. The caller holds mu.
func (f *Feed) tooMany(oldest uint64) bool {
	return f.rows > FeedMaxRows || f.bytes > FeedMaxBytes || f.rows > FeedKeepRows && oldest <= f.released
}

// count adds (sign 1) or takes away (-1) what c holds. A change without rows counts as one. The caller holds mu.
func (f *Feed) count(c Change, sign int) {
	f.rows += sign * max(1, len(c.Rows))
	for _, r := range c.Rows {
		f.bytes += sign * r.size()
	}
}

// reset empties the feed after the store was replaced by one at the given index and term.
func (f *Feed) reset(index, term uint64) {
	f.mu.Lock()
	f.base, f.baseTerm, f.since = index, term, time.Now()
	f.changes, f.rows, f.bytes = nil, 0, 0
	f.mu.Unlock()
	f.progress.reset(index)
}
