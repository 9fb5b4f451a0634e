package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pacer makes the leader's heartbeats to all servers one beat. raft has a timer for each server, at random between a tenth
// and a fifth of the heartbeat timeout, so that a leader of three wakes some fifty times a second to send one packet,
// and as often for an answer; that is most of what an idle agent costs. Here a heartbeat that comes early waits until
// the beat is due, or until another server's is, if that is nearer than half a beat: from then on the two go together.
//
// # What it may not change
//
// A heartbeat is held back, never left out and never answered for the server: raft's contact times and the leases in
// acks.go are of real answers, and the send time is taken after the wait. What it does change is the longest time
// between two heartbeats, from a fifth of the heartbeat timeout to a beat if that is longer. A beat is two fifths of the
// leader's lease, which is shorter than the heartbeat timeout: a lease is renewed before half of it is over, and a
// follower gets two beats or more before it wants an election.
//
// A read that waits for a quorum's word holds nothing back: see hurry.
type pacer struct {
	beat time.Duration

	mu    sync.Mutex // guards the rest
	sent  map[raft.ServerID]time.Time
	asked time.Time     // what was sent before this does not serve the reads that wait
	wake  chan struct{} // closed and replaced when those who wait should look again
}

func newPacer(leaderLease time.Duration) *pacer {
	return &pacer{beat: leaderLease * 2 / 5, sent: make(map[raft.ServerID]time.Time), wake: make(chan struct{})}
}

// wait returns when a heartbeat to the server is due, or when done is closed.
func (p *pacer) wait(id raft.ServerID, done <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left, wake := p.take(id, time.Now())
		if left <= 0 {
			return
		}
		timer.Reset(left)
		select {
		case <-timer.C:
		case <-wake:
		case <-done:
			return
		}
	}
}

// take says how long a heartbeat has to wait; when that is over, it counts as sent and takes those with it that are due
// soon.
func (p *pacer) take(id raft.ServerID, now time.Time) (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.left(id, now); left > 0 {
		return left, p.wake
	}
	p.sent[id] = now
	p.wakeAll()
	return 0, nil
}

// left is how long a server's next heartbeat has to wait. Call with mu held.
func (p *pacer) left(id raft.ServerID, now time.Time) time.Duration {
	last := p.sent[id]
	if last.Before(p.asked) {
		return 0
	}
	left := last.Add(p.beat).Sub(now)
	if left > p.beat/2 {
		return left
	}
	for other, at := range p.sent {
		if other != id && now.Sub(at) < p.beat/10 {
			return 0 // another's beat is now
		}
	}
	return left
}

// hurry lets every heartbeat go at once that was not sent since now.
func (p *pacer) hurry(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = now
	p.wakeAll()
}

// wakeAll must be called with mu held.
func (p *pacer) wakeAll() {
	close(p.wake)
	p.wake = make(chan struct{})
}
