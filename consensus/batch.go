package consensus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// batcher gathers the operations that are proposed at the same time into entries. It has MaxInFlight senders, each of
// which takes what waits, up to an entry's bounds, and sees that entry through. So an operation that comes alone is
// sent at once, and under load the entries grow: what comes while some are on their way waits for company (see gathers).
type batcher struct {
	node   *Node
	ids    *entryIDs
	ctx    context.Context // ends when what is still on its way is given up
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards all below
	wake   *sync.Cond // on mu: there is something to send, or closing was closed
	queue  []*proposal
	queued int // bytes in queue
	flying int // operations in entries that are on their way
	closed bool
	// closing is closed with closed.
	closing chan struct{}
}

// proposal is one operation on its way.
type proposal struct {
	op       []byte
	deadline time.Time
	queued   time.Time
	waiting  bool // in the queue, not yet in an entry; guarded by the batcher's mu

	done   chan struct{} // closed when the two below are set
	result fsm.Result
	err    error
}

func newBatcher(n *Node) *batcher {
	b := &batcher{node: n, ids: newEntryIDs(), closing: make(chan struct{})}
	b.wake = sync.NewCond(&b.mu)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for range n.cfg.MaxInFlight {
		b.wg.Go(b.runSend)
	}
	return b
}

func (b *batcher) enqueue(ctx context.Context, op []byte) (*proposal, error) {
	deadline, _ := ctx.Deadline()
	p := &proposal{op: op, deadline: deadline, waiting: true, done: make(chan struct{})}
	if b.node.cfg.MaxBatchDelay > 0 {
		p.queued = time.Now()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, rejectClosed()
	}
	if len(b.queue) >= b.node.cfg.MaxQueued {
		return nil, &RejectedError{Code: api.CodeTooMany, Message: "too many writes are waiting on this node: try again later"}
	}
	b.queue = append(b.queue, p)
	b.queued += len(op)
	if !b.gathering() {
		b.wake.Signal()
	}
	return p, nil
}

// withdraw takes back an operation that has not left. It returns false if it is in an entry already.
func (b *batcher) withdraw(p *proposal) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !p.waiting {
		return false
	}
	i := slices.Index(b.queue, p)
	b.queue = slices.Delete(b.queue, i, i+1)
	b.queued -= len(p.op)
	return true
}

func (b *batcher) runSend() {
	for {
		batch := b.next()
		if batch == nil {
			return
		}
		b.node.sendEntry(b.ctx, b.form(batch))
		b.landed(len(batch))
	}
}

// landed notes that an entry has its outcome. Its sender then looks at what waits, so nobody needs to be woken for that.
func (b *batcher) landed(ops int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying -= ops
}

// next waits for operations and takes as many as make an entry; nil when the batcher is closed and empty.
func (b *batcher) next() []*proposal {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for len(b.queue) == 0 {
			if b.closed {
				return nil
			}
			b.wake.Wait()
		}
		if b.awaitLeader() {
			continue
		}
		if wait := b.companyDue(); wait > 0 {
			timer := time.AfterFunc(wait, b.wake.Broadcast)
			b.wake.Wait()
			timer.Stop()
			continue
		}
		if b.gathering() {
			b.wake.Wait()
			continue
		}
		if b.moreCome() {
			continue
		}
		batch := b.take()
		b.flying += len(batch)
		return batch
	}
}

func (b *batcher) full() bool {
	return len(b.queue) >= b.node.cfg.BatchSize || b.queued >= maxBatchBytes
}

func (b *batcher) gathering() bool { return !b.closed && !b.full() && gathers(len(b.queue), b.flying) }

// gathers reports whether operations that wait are to wait for more: until they are as many as those on their way, or
// fewer are on their way. An entry costs three servers much more than an operation in it does, and where each waits only
// for its like, a busy cluster spends itself on small entries. A write waits one round trip at most by this.
func gathers(waiting, flying int) bool { return waiting < flying }

// moreCome gives way, with mu released, to all that can run: under load these are requests that have arrived and want to
// be in the same entry. Where there is nothing else to do it takes no time. It returns true if the queue has changed.
func (b *batcher) moreCome() bool {
	if b.closed || b.full() {
		return false
	}
	waiting := len(b.queue)
	b.mu.Unlock()
	runtime.Gosched()
	b.mu.Lock()
	return len(b.queue) != waiting
}

// awaitLeader waits, with mu released, while no leader is known: what is still in the queue can be withdrawn without a
// doubt. It returns true if it did wait.
func (b *batcher) awaitLeader() bool {
	change := b.node.leadership.change()
	if leader, _ := b.node.Leader(); leader != "" || b.closed {
		return false
	}
	b.mu.Unlock()
	defer b.mu.Lock()
	select {
	case <-change:
	case <-b.closing:
	}
	return true
}

// companyDue returns how much longer the oldest operation may wait for others.
func (b *batcher) companyDue() time.Duration {
	delay := b.node.cfg.MaxBatchDelay
	if delay <= 0 || b.closed || b.full() {
		return 0
	}
	return delay - time.Since(b.queue[0].queued)
}

func (b *batcher) take() []*proposal {
	var batch []*proposal
	size := 0
	for _, p := range b.queue {
		if len(batch) == b.node.cfg.BatchSize || (len(batch) > 0 && size+len(p.op) > maxBatchBytes) {
			break
		}
		p.waiting = false
		batch = append(batch, p)
		size += len(p.op)
	}
	b.queue = slices.Delete(b.queue, 0, len(batch))
	b.queued -= size
	if len(b.queue) > 0 {
		b.wake.Signal()
	}
	return batch
}

// entry is a batch with its bytes. The bytes carry the id by which the state machine knows a repetition.
type entry struct {
	proposals []*proposal
	bytes     []byte
	deadline  time.Time // the latest of its operations'
	started   time.Time
	lent      bool  // raft may still read the bytes
	sent      bool  // it may be in some leader's log
	forwarded bool  // it went, or tried to go, by another node
	cause     error // why the last attempt failed
}

func (b *batcher) form(batch []*proposal) *entry {
	e := &entry{proposals: batch, started: time.Now()}
	bytes := 0
	for _, p := range batch {
		bytes += len(p.op)
	}
	builder := fsm.NewEntryBuilder(b.ids.next(), b.node.knownCommit(), len(batch), bytes)
	for _, p := range batch {
		if p.deadline.After(e.deadline) {
			e.deadline = p.deadline
		}
		if err := builder.Add(p.op); err != nil {
			// Can't be: the bounds of a batch are below an entry's. Nothing of it was sent.
			e.finish(nil, &RejectedError{Code: api.CodeInternal, Message: "cannot form an entry", Cause: err})
			return e
		}
	}
	e.bytes = builder.Bytes()
	return e
}

// finish gives each of the operations its outcome.
func (e *entry) finish(results []fsm.Result, err error) {
	for i, p := range e.proposals {
		p.err = err
		if err == nil {
			p.result = results[i]
		}
		close(p.done)
	}
	e.proposals = nil
}

// close lets nothing more in. What waits is still sent.
func (b *batcher) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.closing)
		b.wake.Broadcast()
	}
}

// drain waits a while for what is on its way, then gives it up.
func (b *batcher) drain(patience time.Duration) {
	timer := time.AfterFunc(patience, b.cancel)
	defer timer.Stop()
	b.wg.Wait()
}

// abort gives up what is on its way.
func (b *batcher) abort() {
	b.close()
	b.cancel()
	b.wg.Wait()
}

// entryIDs makes ids that no other process makes: eight random bytes at its start, then a counter.
type entryIDs struct {
	prefix  [8]byte
	counter atomic.Uint64
}

func newEntryIDs() *entryIDs {
	ids := &entryIDs{}
	_, _ = rand.Read(ids.prefix[:]) // never fails
	return ids
}

func (i *entryIDs) next() fsm.EntryID {
	var id fsm.EntryID
	copy(id[:], i.prefix[:])
	binary.BigEndian.PutUint64(id[8:], i.counter.Add(1))
	return id
}
