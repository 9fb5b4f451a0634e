package fsm

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

var (
	_ raft.BatchingFSM        = (*FSM)(nil)
	_ raft.ConfigurationStore = (*FSM)(nil)
)

// FSM is the state machine as Raft drives it.
type FSM struct {
	logger hclog.Logger
	packer *packer // of the FSM goroutine
	feed   *Feed
	store  atomic.Pointer[Store] // replaced by Restore

	configuration atomic.Uint64 // index of the last configuration entry applied
	commands      atomic.Uint64 // entries with operations applied
}

// New returns the state machine of a server that has applied nothing yet.
func New(logger hclog.Logger) *FSM {
	f := &FSM{logger: logger, packer: newPacker(), feed: newFeed()}
	f.store.Store(newStore())
	return f
}

// Store returns the current store. Hold on to it only with an eye on its AbandonCh.
func (f *FSM) Store() *Store { return f.store.Load() }

// Feed returns the changes for the applier.
func (f *FSM) Feed() *Feed { return f.feed }

// Apply implements raft.FSM. The response is a []Result, one per operation.
func (f *FSM) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch implements raft.BatchingFSM: the whole batch becomes visible at once, and how Raft cuts the log into
// batches makes no difference to what becomes of it. The response to a command is a []Result, one per operation, which
// must not be changed: the store remembers it. To anything else it is nil.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	w := f.Store().begin()
	for i, log := range logs {
		switch log.Type {
		case raft.LogCommand:
			responses[i] = f.apply(w, log)
			f.commands.Add(1)
			w.advance(log.Index, log.Term)
		case raft.LogConfiguration:
			w.advance(log.Index, log.Term)
			f.configuration.Store(log.Index)
		}
	}
	f.feed.append(w.commit())
	return responses
}

// ConfigurationIndex returns the index of the last configuration entry that was applied, 0 if none was since the start.
func (f *FSM) ConfigurationIndex() uint64 { return f.configuration.Load() }

// Commands returns how many log entries with operations were applied since the start, replayed ones among them.
func (f *FSM) Commands() uint64 { return f.commands.Load() }

// StoreConfiguration implements raft.ConfigurationStore. Raft calls it only on state machines that take no batches,
// which get configuration changes in ApplyBatch; it is here for tools that replay a log entry by entry.
func (f *FSM) StoreConfiguration(index uint64, _ raft.Configuration) {
	w := f.Store().begin()
	w.advance(index, w.log.Term)
	f.feed.append(w.commit())
}

// apply runs one entry. What can't be decoded is refused by every server alike, and the index goes on.
func (f *FSM) apply(w *write, log *raft.Log) []Result {
	w.enter(log.Index, log.Term)
	entry, err := f.packer.decodeEntry(log.Data)
	if err != nil {
		f.logger.Error("log entry can't be decoded, and is ignored", "index", log.Index, "term", log.Term, "error", err)
		return w.refuseUndecodable(log.Data, err)
	}
	return w.entry(entry)
}

// Snapshot implements raft.FSM. It only takes a view of the store, which Persist writes while entries go on being
// applied.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	return snapshot{f.Store().Snapshot()}, nil
}

// Restore implements raft.FSM. The snapshot is read and verified whole before it replaces anything. Watches on the old
// store fire, and the feed starts again, empty, from the snapshot's index.
func (f *FSM) Restore(r io.ReadCloser) error {
	defer func() { _ = r.Close() }() // read to its end or refused: nothing to learn from it
	store, err := ReadStore(r)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	old := f.store.Swap(store)
	f.feed.reset(store.Applied())
	close(old.abandon)
	f.logger.Info("restored snapshot", "index", store.Index(), "term", store.Term())
	return nil
}

// snapshot implements raft.FSMSnapshot.
type snapshot struct{ store *Store }

// Persist writes the snapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.store.WriteTo(sink); err != nil {
		_ = sink.Cancel() // the error that led here says more
		return fmt.Errorf("persist snapshot: %w", err)
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	return nil
}

// Release has nothing to release: the view is garbage once nobody holds it.
func (s snapshot) Release() {}
