package fsm

import (
	"fmt"

	"github.com/pgraft/pgraft/api"
)

// The bounds of the dedupe window: the results of the latest operations are remembered, as long as they are not too
// big together. Where either is passed, the oldest entries' are forgotten.
const (
	Window      = 65536
	WindowBytes = 32 << 20
)

// record is what is remembered of one applied entry. It is never changed.
type record struct {
	ID       EntryID
	Index    uint64
	Requests []string // the request id of each operation, "" if it had none; nil if none had one
	Results  []Result
}

func (r *record) size() int {
	const fixed = 64 // of a result or an id, roughly
	n := fixed
	for _, id := range r.Requests {
		n += len(id)
	}
	for _, result := range r.Results {
		n += fixed + len(result.Message) + txnSize(result.Txn)
	}
	return n
}

func txnSize(t *api.TxnResponse) int {
	if t == nil {
		return 0
	}
	n := 0
	for _, result := range t.Results {
		for i := range result.Pairs {
			n += int(pairSize(&result.Pairs[i]))
		}
	}
	return n
}

// window is the dedupe window as a value: a version of it stays as it is while later ones grow, because records are
// only appended behind its end and dropped from their own front. That makes it part of a store's snapshot at no cost.
type window struct {
	Records []*record
	Results int
	Bytes   int
	// Floor is the index of the newest record forgotten, 0 if none is.
	Floor uint64
}

func (w *window) add(r *record) {
	w.Records = append(w.Records, r)
	w.Results += len(r.Results)
	w.Bytes += r.size()
}

func (w *window) dropOldest() *record {
	oldest := w.Records[0]
	w.Records = w.Records[1:]
	w.Results -= len(oldest.Results)
	w.Bytes -= oldest.size()
	w.Floor = oldest.Index
	return oldest
}

// memory is the window's directory. It is a function of the window, and used by the FSM goroutine only.
type memory struct {
	entries  map[EntryID]*record
	requests map[string]answer
}

type answer struct {
	record *record
	at     int
}

func newMemory() *memory {
	return &memory{entries: make(map[EntryID]*record), requests: make(map[string]answer)}
}

// enter adds a record to the directory. Of two answers to one request the later takes the place: it is the same.
func (m *memory) enter(r *record) {
	if r.ID != (EntryID{}) {
		m.entries[r.ID] = r
	}
	for i := range r.Requests {
		m.answer(r, i)
	}
}

// answer notes that r holds the answer to its i-th operation's request, unless that is only that the answer is lost.
func (m *memory) answer(r *record, i int) {
	if r.Requests[i] != "" && r.Results[i].Code != api.CodeRetryExpired {
		m.requests[r.Requests[i]] = answer{r, i}
	}
}

// leave takes a record's names out, unless a later record has taken them over.
func (m *memory) leave(r *record) {
	if m.entries[r.ID] == r {
		delete(m.entries, r.ID)
	}
	for _, id := range r.Requests {
		if m.requests[id].record == r {
			delete(m.requests, id)
		}
	}
}

// remember adds what an entry gave to the window and forgets what falls out of it.
func (w *write) remember(r *record) {
	win := &w.log.Window
	win.add(r)
	w.store.memory.enter(r)
	for win.Results > Window || win.Bytes > WindowBytes {
		w.store.memory.leave(win.dropOldest())
	}
}

// known returns what an earlier try of the same entry gave.
func (w *write) known(e Entry) ([]Result, bool) {
	if e.ID == (EntryID{}) {
		return nil, false
	}
	if r := w.store.memory.entries[e.ID]; r != nil {
		return r.Results, true
	}
	if !w.expired(e.Base) {
		return nil, false
	}
	results := make([]Result, len(e.Ops))
	for i := range results {
		results[i] = w.refuseExpired(e.Base)
	}
	return results, true
}

// answered returns what an earlier try of the same request gave.
func (w *write) answered(r Request) (Result, bool) {
	if r.ID == "" {
		return Result{}, false
	}
	if a, ok := w.store.memory.requests[r.ID]; ok {
		return a.record.Results[a.at], true
	}
	if w.expired(r.Base) {
		return w.refuseExpired(r.Base), true
	}
	return Result{}, false
}

// expired reports whether something first tried after index base, and not in the window, may have been applied and
// forgotten: what was forgotten has an index up to the floor, and what was applied has one above its base.
func (w *write) expired(base uint64) bool { return base > 0 && base < w.log.Window.Floor }

func (w *write) refuseExpired(base uint64) Result {
	return w.refuse(api.CodeRetryExpired, fmt.Sprintf(
		"retried too late: what was applied between log index %d and %d is forgotten, "+
			"so whether the first try was applied is not known: read before you write again",
		base, w.log.Window.Floor))
}
