package consensus_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
)

func TestHeartbeatsBecomeOneBeat(t *testing.T) {
	const beat = 80 * time.Millisecond
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	p := consensus.NewPacer(200 * time.Millisecond)
	take := func(id raft.ServerID, ms int, want time.Duration) {
		t.Helper()
		if got := p.Take(id, at(ms)); got != want {
			t.Fatalf("heartbeat to %s at %d ms waits %s, want %s", id, ms, got, want)
		}
	}
	take("b", 0, 0)
	take("c", 30, 0) // first ones go at once
	take("b", 50, 30*time.Millisecond)
	take("c", 75, 35*time.Millisecond)
	take("b", 80, 0)
	take("c", 81, 0) // with b's, though 51 ms after its last
	take("b", 120, 40*time.Millisecond)
	take("c", 120, 41*time.Millisecond)
	p.Hurry(at(125))
	take("b", 125, 0)
	take("c", 126, 0)
	take("b", 127, beat-2*time.Millisecond) // sent since the read began
	take("b", 300, 0)                       // late: at once
}

func TestRenewalIsAQuorumsWord(t *testing.T) {
	now := time.Now()
	five := raft.Configuration{Servers: []raft.Server{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}, {ID: "e"}, {ID: "n", Suffrage: raft.Nonvoter}}}
	acks := consensus.NewAcks()
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	ch := acks.Renewed(five, "a", now)
	for _, early := range []raft.ServerID{"b", "c", "d", "e"} {
		acks.Record(early, 5, now.Add(-time.Millisecond))
	}
	acks.Record("b", 5, now)
	acks.Record("n", 5, now)
	if closed(ch) {
		t.Fatal("renewed by one voter of four, and by answers to earlier heartbeats")
	}
	acks.Record("d", 5, now)
	if !closed(ch) {
		t.Error("not renewed by a quorum")
	}
	if !closed(acks.Renewed(five, "a", now)) {
		t.Error("a quorum that answered before the call does not count")
	}
	if closed(acks.Renewed(raft.Configuration{Servers: []raft.Server{{ID: "a"}}}, "a", now)) {
		t.Error("renewed by nobody: the caller would spin")
	}
}

// fakePipeline remembers what is sent.
type fakePipeline struct {
	mu       sync.Mutex
	requests []*raft.AppendEntriesRequest
}

func (f *fakePipeline) AppendEntries(args *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, args)
	return nil, nil
}

func (f *fakePipeline) Consumer() <-chan raft.AppendFuture { return nil }

func (f *fakePipeline) Close() error { return nil }

func (f *fakePipeline) last() (request raft.AppendEntriesRequest, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) > 0 {
		request = *f.requests[len(f.requests)-1]
	}
	return request, len(f.requests)
}

func TestPipelineTellsWhatIsCommitted(t *testing.T) {
	var commit atomic.Uint64
	var deposed atomic.Bool
	var asked atomic.Int64
	fake := &fakePipeline{}
	p := consensus.NewPipeline(fake, time.Minute, func(term uint64) (uint64, bool) {
		asked.Add(1)
		return commit.Load(), term == 3 && !deposed.Load()
	})
	send := func(index uint64) {
		t.Helper()
		request := &raft.AppendEntriesRequest{
			Term: 3, PrevLogEntry: index - 1, PrevLogTerm: 2, LeaderCommitIndex: commit.Load(),
			Entries: []*raft.Log{{Index: index, Term: 3}},
		}
		if _, err := p.AppendEntries(request, nil); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, check func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !check(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				last, n := fake.last()
				t.Fatalf("%s: %d requests, the last %+v", what, n, last)
			}
		}
	}
	send(11)
	commit.Store(20) // other servers are further: this one must not take what is behind 11 for committed
	until("told", func() bool { _, n := fake.last(); return n == 2 })
	if last, _ := fake.last(); len(last.Entries) != 0 || last.Term != 3 || last.PrevLogEntry != 11 || last.PrevLogTerm != 3 || last.LeaderCommitIndex != 11 {
		t.Errorf("sent %+v", last)
	}
	deposed.Store(true)
	before := asked.Load()
	send(12)
	until("asked", func() bool { return asked.Load() > before })
	_ = p.Close() // and whatever it was about to do is done
	if _, n := fake.last(); n != 3 {
		t.Errorf("%d requests, want 3: a deposed leader tells nobody what is committed", n)
	}
}

// TestFollowersLearnSoonWhatIsCommitted fails if they do so by raft's own timer only.
func TestFollowersLearnSoonWhatIsCommitted(t *testing.T) {
	const timer = time.Minute
	c := consensustest.New(t, consensustest.Options{Configure: func(_ int, cfg *consensus.Config) { cfg.CommitTimeout = timer }})
	leader := c.Leader()
	start := time.Now()
	for i := range 20 {
		value := fmt.Sprint(i)
		put(t, c.Node(leader), "k", value)
		c.Eventually(func() error {
			for server := range 3 {
				if got := valueOf(c.FSM(server), "k"); got != value {
					return fmt.Errorf("server %d has %q, want %q", server, got, value)
				}
			}
			return nil
		})
	}
	t.Logf("%s on average", time.Since(start)/20)
	if took := time.Since(start); took > timer/2 {
		t.Errorf("took %s", took)
	}
}
