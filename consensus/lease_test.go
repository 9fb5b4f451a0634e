package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
	"github.com/pgraft/pgraft/fsm"
)

func TestLeaseIsAQuorumsWord(t *testing.T) {
	now := time.Now()
	const lease = 200 * time.Millisecond
	voters := func(ids ...raft.ServerID) (c raft.Configuration) {
		for _, id := range ids {
			c.Servers = append(c.Servers, raft.Server{ID: id})
		}
		return c
	}
	tests := []struct {
		name          string
		configuration raft.Configuration
		prepare       func(consensus.Acks)
		until         time.Duration // after now
		ok            bool
	}{
		{"alone", voters("a"), func(consensus.Acks) {}, lease, true},
		{"nobody answered", voters("a", "b", "c"), func(consensus.Acks) {}, 0, false},
		{"one of three answered", voters("a", "b", "c"), func(k consensus.Acks) {
			k.Record("b", 5, now.Add(-50*time.Millisecond))
		}, 150 * time.Millisecond, true},
		{"both answered: the better one counts", voters("a", "b", "c"), func(k consensus.Acks) {
			k.Record("b", 5, now.Add(-50*time.Millisecond))
			k.Record("c", 5, now.Add(-10*time.Millisecond))
		}, 190 * time.Millisecond, true},
		{"two of five are needed besides the leader", voters("a", "b", "c", "d", "e"), func(k consensus.Acks) {
			k.Record("b", 5, now.Add(-50*time.Millisecond))
			k.Record("c", 5, now.Add(-10*time.Millisecond))
			k.Record("d", 5, now.Add(-90*time.Millisecond))
		}, 150 * time.Millisecond, true},
		{"an answer in another term is none", voters("a", "b", "c"), func(k consensus.Acks) { k.Record("b", 4, now) }, 0, false},
		{"a stranger's answer is none", voters("a", "b", "c"), func(k consensus.Acks) { k.Record("z", 5, now) }, 0, false},
		{"a server with a short timeout promises less", voters("a", "b", "c"), func(k consensus.Acks) {
			k.Promise("b", 90*time.Millisecond)
			k.Record("b", 5, now)
		}, 60 * time.Millisecond, true},
		{"a leader without a vote needs two others of three", voters("b", "c", "d"), func(k consensus.Acks) {
			k.Record("b", 5, now)
		}, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			acks := consensus.NewAcks()
			test.prepare(acks)
			until, ok := acks.LeaseUntil(5, test.configuration, "a", now, lease)
			if ok != test.ok || (ok && !until.Equal(now.Add(test.until))) {
				t.Errorf("lease for %s (%v), want %s (%v)", until.Sub(now), ok, test.until, test.ok)
			}
		})
	}
}

// leaseWatch looks at all servers' leases all the time and remembers whether two ever overlapped.
type leaseWatch struct {
	mu    sync.Mutex
	until map[int]time.Time
	err   error
}

func (w *leaseWatch) run(ctx context.Context, c *consensustest.Cluster) {
	for ctx.Err() == nil {
		for i := range 3 {
			node := c.Node(i)
			if node == nil {
				continue
			}
			asked := time.Now()
			if until, ok := node.Lease(); ok {
				w.saw(i, asked, until)
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func (w *leaseWatch) saw(server int, asked, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other, held := range w.until {
		if other != server && asked.Before(held) {
			w.err = fmt.Errorf("server %d has a lease while server %d's holds for another %s", server, other, held.Sub(asked))
		}
	}
	w.until[server] = until
}

func watchLeases(t *testing.T, c *consensustest.Cluster) {
	t.Helper()
	watch := &leaseWatch{until: make(map[int]time.Time)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { watch.run(ctx, c) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if watch.err != nil {
			t.Error(watch.err)
		}
	})
}

func TestLeaseEndsBeforeAnotherServerLeads(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	watchLeases(t, c)
	for range 3 {
		leader := c.Leader()
		c.Isolate(leader)
		cut := time.Now()
		c.Eventually(func() error {
			if _, ok := c.Node(leader).Lease(); ok {
				return errors.New("the leader without a quorum still has its lease")
			}
			return nil
		})
		if took := time.Since(cut); took > 5*time.Second {
			t.Errorf("the lease ended %s after the cut", took)
		}
		c.Leader()
		c.Heal()
	}
}

func TestLeaseIsRunOutBeforeATransfer(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	watchLeases(t, c)
	for range 4 {
		leader := c.Leader()
		target := c.Follower(leader)
		if err := c.Node(leader).TransferLeadership(t.Context(), c.Node(target).ServerID()); err != nil {
			t.Fatal(err)
		}
		if got := c.Leader(); got != target {
			t.Fatalf("server %d leads, want %d", got, target)
		}
	}
}

func TestRestartedFollowerKeepsItsPromise(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	watchLeases(t, c)
	leader := c.Leader()
	follower := c.Follower(leader)
	c.Stop(follower)
	c.Start(follower)
	c.Isolate(leader)
	c.Leader()
	c.Heal()
}

func TestTransferToWhoDoesNotAnswerIsRejected(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	leader := c.Leader()
	target := c.Follower(leader)
	id := c.Node(target).ServerID()
	c.Kill(target)
	c.Eventually(func() error {
		err := c.Node(leader).TransferLeadership(t.Context(), id)
		var rejected *consensus.RejectedError
		if !errors.As(err, &rejected) || rejected.Code != api.CodeUnavailable {
			return fmt.Errorf("err = %w, want it rejected", err)
		}
		return nil
	})
	put(t, c.Node(c.Leader()), "after", "1")
}

func TestStepDownLeadsToAnElection(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	leader := c.Leader()
	term := c.Node(leader).Stats().Term
	consensus.StepDown(c.Node(leader))
	c.Eventually(func() error {
		if now := c.Node(leader).Stats().Term; now <= term {
			return fmt.Errorf("still in term %d", now)
		}
		return nil
	})
	put(t, c.Node(c.Leader()), "after", "1")
}

func TestConsistentBarrier(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	leader := c.Leader()
	follower := c.Follower(leader)
	for i := range 20 {
		value := fmt.Sprint(i)
		put(t, c.Node(follower), "k", value)
		if err := c.Node(leader).ConsistentBarrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := valueOf(c.FSM(leader), "k"); got != value {
			t.Fatalf("read %q after the barrier, want %q", got, value)
		}
	}
	err := c.Node(follower).ConsistentBarrier(t.Context())
	var rejected *consensus.RejectedError
	if !errors.As(err, &rejected) || rejected.Code != api.CodeNotLeader || rejected.Leader != c.Node(leader).ServerID() {
		t.Errorf("on a follower: %v, want it to name the leader", err)
	}
}

func TestConsistentBarrierFailsWithoutQuorum(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	leader := c.Leader()
	c.Isolate(leader)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := c.Node(leader).ConsistentBarrier(ctx); err == nil {
		t.Error("a leader without a quorum confirmed a read")
	}
}

// TestRetryAcrossLeaderChangeAppliesOnce writes without pause while leaders are killed. Each write adds one to the
// key's version, so the version tells how often they were applied.
func TestRetryAcrossLeaderChangeAppliesOnce(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	const writers = 4
	acknowledged, doubted := make([]uint64, writers), make([]uint64, writers)
	for w := range writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				node := c.Node(w % 3)
				if node == nil {
					continue
				}
				_, err := node.Propose(context.Background(), fsm.KVSet{Key: fmt.Sprint(w), Value: []byte("x")})
				var doubt *consensus.InDoubtError
				switch {
				case err == nil:
					acknowledged[w]++
				case errors.As(err, &doubt):
					doubted[w]++
				}
			}
		})
	}
	for range 3 {
		leader := c.Leader()
		time.Sleep(150 * time.Millisecond) // of load on this leader
		c.Isolate(leader)
		c.Leader()
		c.Heal()
	}
	killed := c.Leader()
	c.Kill(killed)
	leader := c.Leader()
	cancel()
	wg.Wait()
	if err := c.Node(leader).ConsistentBarrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	for w := range writers {
		_, pair := c.FSM(leader).Store().KVGet(nil, fmt.Sprint(w))
		if pair == nil {
			t.Fatalf("writer %d wrote nothing", w)
		}
		if pair.Version < acknowledged[w] || pair.Version > acknowledged[w]+doubted[w] {
			t.Errorf("writer %d: applied %d times, acknowledged %d, in doubt %d", w, pair.Version, acknowledged[w], doubted[w])
		}
		t.Logf("writer %d: %d acknowledged, %d in doubt, %d applied", w, acknowledged[w], doubted[w], pair.Version)
	}
}

func TestFullDiskIsNamed(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 1})
	consensus.InjectDiskFault(c.Node(0), "no space left on device")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.Node(0).Propose(ctx, fsm.Noop{Request: fsm.Request{ID: "r1"}})
	// It is certain only if the disk failed before the write got that far.
	var doubt *consensus.InDoubtError
	var rejected *consensus.RejectedError
	switch {
	case errors.As(err, &doubt) && doubt.RequestID == "r1":
	case errors.As(err, &rejected) && rejected.Code == api.CodeUnavailable:
	default:
		t.Fatalf("err = %v, want it in doubt with its request id, or unavailable", err)
	}
	if want := "no space left on device"; !contains(err, want) {
		t.Errorf("err = %v, want it to name the cause", err)
	}
	if c.Node(0).Stats().DiskFault == nil {
		t.Error("the stats show no disk fault")
	}
}
