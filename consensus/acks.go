package consensus

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// acks remembers, for the term that this node leads, when each other server last confirmed it: the time at which a
// heartbeat was SENT that the server then answered with success. Reads and the lease are built on it.
//
// # Reads
//
// A server that answers a heartbeat of term t has not yet voted in a later term. If a quorum answered heartbeats sent
// after a read began, then no leader of a later term was elected before the read began, since its voters and this
// quorum share a server. So all that was committed when the read began is in this leader's log. (raft.VerifyLeader is
// not enough: it also counts answers to heartbeats that were on their way when it was called.)
//
// # The lease
//
// A server that hears from a leader votes for no other candidate until its heartbeat timeout has passed since: raft
// refuses both pre-vote and vote while it knows a leader. The server's clock starts when the heartbeat arrives, ours
// when it is sent, so ours runs out first. If a quorum answered heartbeats sent at s or later, no other leader can be
// elected before s + heartbeat timeout. The lease is shorter than that by a third or more, for clocks that run at
// different speeds, and also for servers whose configured timeout is shorter than ours: each says its own when a
// connection is opened.
//
// Three ways around that promise are closed elsewhere: a restarted server has forgotten whom it heard, so it votes
// for nobody for one heartbeat timeout (transport.go); a leadership transfer asks servers to vote in spite of it, so
// the lease is given up, and run out, before one starts (transfer.go); and a change of membership keeps one server in
// common between the quorums of two neighbouring configurations, of which Raft allows no third.
type acks struct {
	mu       sync.Mutex // guards all below
	term     uint64
	servers  map[raft.ServerID]ack
	promises map[raft.ServerID]time.Duration // heartbeat timeouts, as servers told them
	advanced chan struct{}                   // closed and replaced with each answer
	renewal  *renewal                        // nil when nobody waits for it
}

// renewal is what a caller of Node.LeaseRenewal waits for: answers of so many of the servers to heartbeats that were
// sent at since or later.
type renewal struct {
	since   time.Time
	servers []raft.ServerID
	needed  int
	done    chan struct{}
}

type ack struct {
	sent    time.Time // when the heartbeat was sent that was answered last
	heard   time.Time // when its answer came
	lastLog uint64    // the server's last log index as of then
}

func newAcks() *acks {
	return &acks{
		servers:  make(map[raft.ServerID]ack),
		promises: make(map[raft.ServerID]time.Duration),
		advanced: make(chan struct{}),
	}
}

// record notes that a server answered, in this term, a heartbeat that was sent at the given time.
func (a *acks) record(id raft.ServerID, term uint64, sent time.Time, lastLog uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if term < a.term {
		return
	}
	if term > a.term {
		a.term = term
		clear(a.servers)
	}
	previous := a.servers[id]
	if sent.Before(previous.sent) {
		return
	}
	a.servers[id] = ack{sent: sent, heard: time.Now(), lastLog: max(lastLog, previous.lastLog)}
	close(a.advanced)
	a.advanced = make(chan struct{})
	a.renew()
}

// awaitRenewal returns a channel that is closed when a quorum, self among it, has confirmed heartbeats that were sent at
// since or later. Only the channel of the last call is.
func (a *acks) awaitRenewal(configuration raft.Configuration, self raft.ServerID, since time.Time) <-chan struct{} {
	r := &renewal{since: since, done: make(chan struct{})}
	voters := 0
	for _, server := range configuration.Servers {
		if server.Suffrage != raft.Voter {
			continue
		}
		voters++
		if server.ID != self {
			r.servers = append(r.servers, server.ID)
		}
	}
	r.needed = voters/2 + 1 - (voters - len(r.servers))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renewal = r
	if r.needed > 0 { // else no answer will tell: this server is alone
		a.renew()
	}
	return r.done
}

// renew must be called with mu held.
func (a *acks) renew() {
	if a.renewal == nil {
		return
	}
	confirmed := 0
	for _, id := range a.renewal.servers {
		if found, ok := a.servers[id]; ok && !found.sent.Before(a.renewal.since) {
			confirmed++
		}
	}
	if confirmed >= a.renewal.needed {
		close(a.renewal.done)
		a.renewal = nil
	}
}

func (a *acks) promise(id raft.ServerID, heartbeat time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.promises[id] = heartbeat
}

// changed returns a channel that is closed at the next answer.
func (a *acks) changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.advanced
}

// of returns a server's last answer in a term.
func (a *acks) of(id raft.ServerID, term uint64) (ack, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if term != a.term {
		return ack{}, false
	}
	found, ok := a.servers[id]
	return found, ok
}

// confirmedAt returns the latest time s for which a quorum of the voters, self among them, answered heartbeats sent at
// s or later. ok is false when no quorum has answered in this term.
func (a *acks) confirmedAt(term uint64, configuration raft.Configuration, self raft.ServerID, now time.Time) (time.Time, bool) {
	return a.quorum(term, configuration, self, now, func(_ raft.ServerID, sent time.Time) time.Time { return sent })
}

// leaseUntil returns when the lease ends that a quorum's answers give.
func (a *acks) leaseUntil(
	term uint64, configuration raft.Configuration, self raft.ServerID, now time.Time, lease time.Duration,
) (time.Time, bool) {
	return a.quorum(term, configuration, self, now, func(id raft.ServerID, sent time.Time) time.Time {
		if heartbeat, known := a.promises[id]; known {
			return sent.Add(min(lease, heartbeat/3*2))
		}
		return sent.Add(lease)
	})
}

func (a *acks) quorum(
	term uint64, configuration raft.Configuration, self raft.ServerID, now time.Time,
	value func(raft.ServerID, time.Time) time.Time,
) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var times []time.Time
	voters := 0
	for _, server := range configuration.Servers {
		if server.Suffrage != raft.Voter {
			continue
		}
		voters++
		if server.ID == self {
			times = append(times, value(self, now))
		} else if found, ok := a.servers[server.ID]; ok && a.term == term {
			times = append(times, value(server.ID, found.sent))
		}
	}
	quorum := voters/2 + 1
	if voters == 0 || len(times) < quorum {
		return time.Time{}, false
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return times[quorum-1], true
}
