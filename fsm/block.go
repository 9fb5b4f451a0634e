package fsm

import (
	"context"
	"sync"
	"time"

	memdb "github.com/hashicorp/go-memdb"
)

// Block runs query until it reports an index above minIndex, wait has passed, or the store was replaced by a restore;
// each run but the first follows a change of something that the run before it read. query must leave what it found
// where its caller can see it and is safe to run again. The last run's findings stand in every case but an error. With
// minIndex 0 or wait 0 query runs once.
func (f *FSM) Block(
	ctx context.Context, minIndex uint64, wait time.Duration, query func(ws memdb.WatchSet, s *Store) (uint64, error),
) error {
	if minIndex == 0 || wait <= 0 {
		_, err := query(nil, f.Store())
		return err
	}
	waitCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		store := f.Store()
		ws := memdb.NewWatchSet()
		ws.Add(store.AbandonCh())
		index, err := query(ws, store)
		if err != nil || index > minIndex {
			return err
		}
		if ws.WatchCtx(waitCtx) != nil {
			return ctx.Err()
		}
		if store.abandoned() {
			_, err := query(nil, f.Store())
			return err
		}
	}
}

// WaitIndex returns when the store has applied index, or with the context's error.
//
// index must be the index of a command or of a configuration change, such as Result.Index: Raft's own entries (a new
// leader's no-op, a barrier) never reach a state machine, so waiting for Raft's applied index could wait for ever.
func (f *FSM) WaitIndex(ctx context.Context, index uint64) error {
	return f.feed.progress.wait(ctx, index)
}

// progress lets goroutines wait for an index that grows.
type progress struct {
	mu      sync.Mutex // guards the rest
	index   uint64
	waiters map[*waiter]struct{}
}

type waiter struct {
	target  uint64
	reached chan struct{} // closed by advance, once
}

func newProgress() *progress { return &progress{waiters: make(map[*waiter]struct{})} }

// advance sets the index and wakes those who wait for it or for one below.
func (p *progress) advance(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = index
	for w := range p.waiters {
		if w.target <= index {
			close(w.reached)
			delete(p.waiters, w)
		}
	}
}

// reset sets the index, also to a lower one, and wakes everyone: who waited must look again at what there is now.
func (p *progress) reset(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = index
	for w := range p.waiters {
		close(w.reached)
		delete(p.waiters, w)
	}
}

// wait returns once the index is at target or above.
func (p *progress) wait(ctx context.Context, target uint64) error {
	for {
		w, done := p.register(target)
		if done {
			return nil
		}
		select {
		case <-w.reached:
		case <-ctx.Done():
			p.forget(w)
			return ctx.Err()
		}
	}
}

func (p *progress) register(target uint64) (w *waiter, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index >= target {
		return nil, true
	}
	w = &waiter{target: target, reached: make(chan struct{})}
	p.waiters[w] = struct{}{}
	return w, false
}

func (p *progress) forget(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiters, w)
}
