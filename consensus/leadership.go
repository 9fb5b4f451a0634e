package consensus

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// leadership tells whoever wants to know that the leader changed.
type leadership struct {
	ready atomic.Uint64 // the term in which this server leads and has committed an entry

	mu          sync.Mutex    // guards all below; never held across anything that waits
	changed     chan struct{} // closed and replaced with each change
	leading     bool
	subscribers []chan bool
}

func newLeadership() *leadership { return &leadership{changed: make(chan struct{})} }

// change returns a channel that is closed at the next change of leader, or of readiness to lead.
func (l *leadership) change() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *leadership) broadcast() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leadership) set(leading bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = leading
	for _, subscriber := range l.subscribers {
		replace(subscriber, leading)
	}
}

func (l *leadership) subscribe() <-chan bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	subscriber := make(chan bool, 1)
	if l.leading {
		subscriber <- true
	}
	l.subscribers = append(l.subscribers, subscriber)
	return subscriber
}

// replace puts a value into a channel of one place, in place of one that nobody took.
func replace(ch chan bool, value bool) {
	select {
	case <-ch:
	default:
	}
	ch <- value
}

// NotifyLeadership returns a channel that says when this server gains (true) or loses leadership. It holds the latest
// word only: two times the same in a row mean that there was a change and a change back in between.
func (n *Node) NotifyLeadership() <-chan bool { return n.leadership.subscribe() }

// LeaderChanged returns a channel that is closed when this server's state, or the leader that it knows, changes.
func (n *Node) LeaderChanged() <-chan struct{} { return n.leadership.change() }

// observe is called by raft, on its main goroutine, with all that it observes.
func (n *Node) observe(observation *raft.Observation) bool {
	switch data := observation.Data.(type) {
	case raft.RaftState:
		if data == raft.Candidate {
			n.counters.elections.Add(1)
		}
		n.leadership.broadcast()
	case raft.LeaderObservation:
		if data.LeaderID != "" {
			n.counters.leaderChanges.Add(1)
		}
		n.leadership.broadcast()
	}
	return false
}

// Ready reports whether this leader has committed an entry of its own term. Before that its state may lack what its
// predecessor acknowledged.
func (n *Node) Ready() bool {
	return n.IsLeader() && n.leadership.ready.Load() == n.raft.CurrentTerm()
}

func (n *Node) runLeadership(notify <-chan bool) {
	for {
		select {
		case leading := <-notify:
			n.leadership.set(leading)
			if leading {
				n.wg.Go(n.establish)
			}
		case <-n.ctx.Done():
			n.leadership.set(false)
			return
		}
	}
}

// establish commits an entry of this server's own term. Before that a new leader doesn't know what is committed, and
// must not answer reads from its state.
func (n *Node) establish() {
	term := n.raft.CurrentTerm()
	if err := await(n.ctx, n.raft.Barrier(0)); err != nil {
		return // no longer the leader; if it becomes one again, that is another call
	}
	if n.raft.CurrentTerm() == term {
		n.leadership.ready.Store(term)
		n.leadership.broadcast()
	}
}
