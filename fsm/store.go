package fsm

import (
	"time"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// Store is the replicated state. Its methods read and may be called from any goroutine; only the FSM writes. Each call
// sees the state after some applied batch, whole. A method that takes a watch set adds to it what fires when the
// answer may have changed; nil is fine. Slices and maps inside what a method returns belong to the store and must not
// be changed.
//
// The index that comes with an answer is for blocking queries: it grows when the answer changes, is at least 1, and
// never goes down while the store lives.
type Store struct {
	db      *memdb.MemDB
	abandon chan struct{} // closed by the FSM when a restore replaced the store
	memory  *memory       // used by the FSM goroutine only; nil in what Snapshot returns
}

func newStore() *Store {
	return &Store{db: newDB(), abandon: make(chan struct{}), memory: newMemory()}
}

// stateRow is a row of the state table, which holds one row of each type below.
type stateRow interface{ rowKey() string }

// logState is how far the log has been applied, and the dedupe window, which is only ever read together with it.
type logState struct {
	Index, Term uint64
	Window      window
}

// clusterState is the cluster's identity.
type clusterState struct{ ID, Name string }

// kvState counts the key/value table.
type kvState struct {
	Keys       uint64
	Bytes      uint64 // of keys and values
	Tombstones int
	Floor      uint64 // index of the newest tombstone forgotten
}

// eventState counts the events.
type eventState struct {
	Last uint64 // index of the newest event
	Rows int
}

// tableIndex is the index of the last change of a table.
type tableIndex struct {
	Table string
	Index uint64
}

const (
	keyLog     = "log"
	keyCluster = "cluster"
	keyKV      = "kv"
	keyEvent   = "event"
	keyTable   = "table/" // followed by the table's name
)

func (logState) rowKey() string     { return keyLog }
func (clusterState) rowKey() string { return keyCluster }
func (kvState) rowKey() string      { return keyKV }
func (eventState) rowKey() string   { return keyEvent }
func (t tableIndex) rowKey() string { return keyTable + t.Table }

// state reads one row of the state table; its zero value before the first write.
func state[T stateRow](txn *memdb.Txn, ws memdb.WatchSet, key string) T {
	return first[T](txn, ws, tableState, indexID, key)
}

// changed returns when a table was last changed, at least 1.
func changed(txn *memdb.Txn, ws memdb.WatchSet, table string) uint64 {
	return max(1, state[tableIndex](txn, ws, keyTable+table).Index)
}

// read opens a read transaction. It needs no end.
func (s *Store) read() *memdb.Txn { return s.db.Txn(false) }

// Snapshot returns an immutable view of the store as it is now.
func (s *Store) Snapshot() *Store { return &Store{db: s.db.Snapshot(), abandon: s.abandon} }

// AbandonCh is closed when a restore has replaced this store by another.
func (s *Store) AbandonCh() <-chan struct{} { return s.abandon }

func (s *Store) abandoned() bool {
	select {
	case <-s.abandon:
		return true
	default:
		return false
	}
}

// Index returns the raft index of the last command or configuration change that was applied. Raft's own applied index
// may be higher: it counts entries that no state machine sees.
func (s *Store) Index() uint64 { return state[logState](s.read(), nil, keyLog).Index }

// Term returns the term of the entry at Index.
func (s *Store) Term() uint64 { return state[logState](s.read(), nil, keyLog).Term }

// Applied returns Index and Term of the same moment.
func (s *Store) Applied() (index, term uint64) {
	log := state[logState](s.read(), nil, keyLog)
	return log.Index, log.Term
}

// ClusterID returns the cluster's id, "" until its first command is applied.
func (s *Store) ClusterID() string { return state[clusterState](s.read(), nil, keyCluster).ID }

// ClusterName returns the name that the cluster was initialised with.
func (s *Store) ClusterName() string { return state[clusterState](s.read(), nil, keyCluster).Name }

// write is the transaction that applies one batch of entries. The FSM goroutine opens one at a time.
type write struct {
	txn   *memdb.Txn
	store *Store

	index, term uint64    // of the entry being applied
	now         time.Time // its time, by its leader's clock
	rows        []Row     // what it changed so far

	reads int // bytes that its transactions read so far

	changes []Change // of the entries applied before it

	// Read at begin and written at commit, since nearly every entry changes them.
	log logState
	kv  kvState
}

func (s *Store) begin() *write {
	txn := s.db.Txn(true)
	return &write{
		txn:   txn,
		store: s,
		log:   state[logState](txn, nil, keyLog),
		kv:    state[kvState](txn, nil, keyKV),
	}
}

// commit publishes the batch and returns its changes.
func (w *write) commit() []Change {
	w.put(tableState, w.log)
	if w.kv != state[kvState](w.txn, nil, keyKV) {
		w.put(tableState, w.kv)
	}
	w.txn.Commit()
	return w.changes
}

// advance ends the entry at index: what it changed becomes a Change.
func (w *write) advance(index, term uint64) {
	w.log.Index, w.log.Term = index, term
	w.changes = append(w.changes, Change{Index: index, Term: term, Rows: w.rows})
	w.rows = nil
}

func (w *write) put(table string, row any) { must(w.txn.Insert(table, row)) }

func (w *write) drop(table string, row any) { must(w.txn.Delete(table, row)) }

// touch notes that the entry changed a table.
func (w *write) touch(table string) { w.put(tableState, tableIndex{Table: table, Index: w.index}) }

// emit records a row for PostgreSQL.
func (w *write) emit(row Row) { w.rows = append(w.rows, row) }

// The results that more than one operation gives.

func (w *write) done() Result { return Result{Index: w.index} }

func (w *write) refuse(code, message string) Result {
	return Result{Code: code, Message: message, Index: w.index}
}

func (w *write) refuseErr(err *api.Error) Result { return w.refuse(err.Code, err.Error()) }
