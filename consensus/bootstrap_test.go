package consensus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
)

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

func peer(id string, expect int) consensus.Peer {
	return consensus.Peer{ServerID: raft.ServerID(id), Name: "n" + id, Addr: id + ":7401", Expect: expect}
}

func TestPlanBootstrap(t *testing.T) {
	witnessless := peer("0", 3)
	witnessless.NonVoting = true
	tests := []struct {
		name       string
		self       consensus.Peer
		candidates []consensus.Peer
		founders   string
		outcome    consensus.BootstrapOutcome
		err        string
	}{
		{"alone", peer("a", 1), nil, "a", "", ""},
		{"alone and seen by itself", peer("a", 1), []consensus.Peer{peer("a", 1)}, "a", "", ""},
		{"too few", peer("a", 3), []consensus.Peer{peer("b", 3)}, "", consensus.BootstrapWaiting, ""},
		{"enough", peer("a", 3), []consensus.Peer{peer("c", 3), peer("b", 3)}, "a b c", "", ""},
		{"not the lowest", peer("b", 3), []consensus.Peer{peer("c", 3), peer("a", 3)}, "", consensus.BootstrapWaiting, ""},
		{"more than expected: the lowest found", peer("a", 3), []consensus.Peer{peer("d", 3), peer("c", 3), peer("b", 3)}, "a b c", "", ""},
		{"more than expected: the highest never", peer("d", 3), []consensus.Peer{peer("a", 3), peer("c", 3), peer("b", 3)}, "", consensus.BootstrapWaiting, ""},
		{"others that expect nothing don't count", peer("a", 3), []consensus.Peer{peer("b", 3), peer("c", 0)}, "", consensus.BootstrapWaiting, ""},
		{"nor do those without a vote", peer("a", 3), []consensus.Peer{peer("b", 3), witnessless}, "", consensus.BootstrapWaiting, ""},
		{"different expectations", peer("a", 3), []consensus.Peer{peer("b", 5)}, "", consensus.BootstrapWaiting, `node "nb" has bootstrap_expect = 5 and this one 3`},
		{"no expectation", peer("a", 0), []consensus.Peer{peer("b", 3)}, "", consensus.BootstrapNever, ""},
		{"non-voting", witnessless, []consensus.Peer{peer("b", 3)}, "", consensus.BootstrapNever, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			founders, outcome, reason, err := consensus.PlanBootstrap(test.self, test.candidates)
			if test.err != "" {
				if !contains(err, test.err) {
					t.Fatalf("err = %v, want %q", err, test.err)
				}
				return
			}
			var ids []string
			for _, f := range founders {
				ids = append(ids, string(f.ServerID))
			}
			if err != nil || strings.Join(ids, " ") != test.founders || (founders == nil && outcome != test.outcome) {
				t.Errorf("founders %v, outcome %q (%s), err %v", ids, outcome, reason, err)
			}
			if founders == nil && reason == "" {
				t.Error("no reason is given")
			}
		})
	}
}

func TestJudgeProposal(t *testing.T) {
	self := peer("b", 3)
	x := func(ballot uint64) consensus.Acceptance {
		return consensus.Acceptance{Ballot: ballot, Servers: []consensus.Peer{peer("a", 3), peer("b", 3), peer("c", 3)}}
	}
	y := consensus.Acceptance{Ballot: 2, Servers: []consensus.Peer{peer("b", 3), peer("c", 3), peer("d", 3)}}
	accepted := x(1)
	tests := []struct {
		name     string
		proposed consensus.Acceptance
		accepted *consensus.Acceptance
		pinned   bool
		recent   bool
		err      string
	}{
		{"first", x(1), nil, false, false, ""},
		{"too few", consensus.Acceptance{Ballot: 1, Servers: []consensus.Peer{peer("a", 3), self}}, nil, false, false, "2 servers are proposed"},
		{"without me", consensus.Acceptance{Ballot: 1, Servers: []consensus.Peer{peer("a", 3), peer("c", 3), peer("d", 3)}}, nil, false, false, "not among"},
		{"out of order", consensus.Acceptance{Ballot: 1, Servers: []consensus.Peer{peer("c", 3), self, peer("a", 3)}}, nil, false, false, "order"},
		{"same coordinator again", x(2), &accepted, false, true, ""},
		{"a late message", x(1), &accepted, false, false, "agreed to ballot 1"},
		{"another coordinator at once", y, &accepted, false, true, `agreed with node "na"`},
		{"another coordinator later", y, &accepted, false, false, ""},
		{"after a vote", y, &accepted, true, false, "asked to vote"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := consensus.JudgeProposal(self, test.proposed, test.accepted, test.pinned, test.recent)
			if (test.err == "") != (err == nil) || (err != nil && !contains(err, test.err)) {
				t.Errorf("err = %v, want %q", err, test.err)
			}
		})
	}
}

func TestBootstrapWaitsForEveryAnswer(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Idle: true})
	peers := c.Peers()
	c.Isolate(2)
	for i := range 3 {
		outcome, reason, err := c.Node(i).MaybeBootstrap(t.Context(), peers)
		if outcome != consensus.BootstrapWaiting || err != nil {
			t.Errorf("server %d: %s (%s), %v, want it to wait", i, outcome, reason, err)
		}
	}
	c.Heal()
	c.Bootstrap()
	c.Leader()
}

func TestServerWithExpectationJoinsAnExistingCluster(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 4, Idle: true, Configure: func(i int, cfg *consensus.Config) {
		cfg.BootstrapExpect = 1
	}})
	peers := c.Peers()
	for i := range peers {
		peers[i].Expect = 1
	}
	first := slices.MinFunc(peers, func(a, b consensus.Peer) int { return strings.Compare(string(a.ServerID), string(b.ServerID)) })
	founder := c.Index(first.ServerID)
	if outcome, _, err := c.Node(founder).MaybeBootstrap(t.Context(), nil); outcome != consensus.BootstrapFounded {
		t.Fatalf("%s, %v", outcome, err)
	}
	// A later one that would be the lowest of those it sees, were the founder not there.
	for i := range 4 {
		if i == founder {
			continue
		}
		self := peers[i]
		outcome, reason, err := c.Node(i).MaybeBootstrap(t.Context(), []consensus.Peer{self, nonVoter(first)})
		if err != nil || outcome == consensus.BootstrapFounded {
			t.Errorf("server %d: %s (%s), %v, want no second cluster", i, outcome, reason, err)
		}
	}
}

// nonVoter is a peer of which gossip does not say that it founds clusters.
func nonVoter(p consensus.Peer) consensus.Peer {
	p.Expect = 0
	return p
}

// TestLateCoordinatorMakesNoSecondCluster lets a coordinator sleep between the agreement and the write, while the
// others found a cluster with a fourth server.
func TestLateCoordinatorMakesNoSecondCluster(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 4, Idle: true, Configure: func(_ int, cfg *consensus.Config) {
		cfg.BootstrapExpect = 3
	}})
	peers := c.Peers()
	for i := range peers {
		peers[i].Expect = 3
	}
	slices.SortFunc(peers, func(a, b consensus.Peer) int { return strings.Compare(string(a.ServerID), string(b.ServerID)) })
	sleeper := c.Index(peers[0].ServerID)
	old := consensus.Acceptance{Ballot: 1, Servers: peers[:3]}
	for _, p := range peers[:3] {
		if err := consensus.PrepareBootstrap(c.Node(c.Index(p.ServerID)), old); err != nil {
			t.Fatal(err)
		}
	}
	c.Isolate(sleeper)
	next := c.Index(peers[1].ServerID)
	// Within the window the others keep to what they agreed to.
	if outcome, reason, err := c.Node(next).MaybeBootstrap(t.Context(), peers[1:]); outcome != consensus.BootstrapWaiting || err != nil {
		t.Fatalf("%s (%s), %v, want it to wait", outcome, reason, err)
	}
	// After it they agree to another configuration.
	for _, p := range peers[1:] {
		c.Stop(c.Index(p.ServerID))
	}
	restartLater(t, c, peers[1:])
	for _, p := range peers[1:] {
		consensus.SetBootstrapWindow(c.Node(c.Index(p.ServerID)), 0)
	}
	c.Eventually(func() error {
		outcome, reason, err := c.Node(next).MaybeBootstrap(context.Background(), peers[1:])
		if outcome != consensus.BootstrapFounded {
			return fmt.Errorf("%s (%s): %w", outcome, reason, err)
		}
		return nil
	})
	c.Leader()
	// The sleeper wakes up and writes the old one.
	if err := consensus.FoundBootstrap(c.Node(sleeper)); err != nil {
		t.Fatal(err)
	}
	c.Heal()
	time.Sleep(2 * time.Second) // some elections' time
	if c.Node(sleeper).IsLeader() {
		t.Fatal("the late coordinator was elected: there are two clusters")
	}
	put(t, c.Node(next), "k", "v")
}

func restartLater(t *testing.T, c *consensustest.Cluster, peers []consensus.Peer) {
	t.Helper()
	for _, p := range peers {
		c.Start(c.Index(p.ServerID))
	}
	// What they agreed to survives a restart, and so does the window.
	next := c.Node(c.Index(peers[0].ServerID))
	if outcome, reason, err := next.MaybeBootstrap(t.Context(), peers); outcome != consensus.BootstrapWaiting || err != nil {
		t.Fatalf("after a restart: %s (%s), %v, want it to wait", outcome, reason, err)
	}
}

func TestEmptyServerVotesForNoStranger(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 2, Idle: true, Configure: func(_ int, cfg *consensus.Config) {
		cfg.BootstrapExpect = 2
	}})
	peers := c.Peers()
	slices.SortFunc(peers, func(a, b consensus.Peer) int { return strings.Compare(string(a.ServerID), string(b.ServerID)) })
	// The first one writes a configuration that the second never agreed to.
	first := c.Node(c.Index(peers[0].ServerID))
	if err := consensus.PrepareBootstrap(first, consensus.Acceptance{Ballot: 1, Servers: peers}); err != nil {
		t.Fatal(err)
	}
	if err := consensus.FoundBootstrap(first); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(1500 * time.Millisecond)
	for time.Now().Before(deadline) {
		if first.IsLeader() {
			t.Fatal("an empty server voted for one that it had no agreement with")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if stats := c.Node(c.Index(peers[1].ServerID)).Stats(); stats.Term != 0 {
		t.Errorf("the empty server's term is %d", stats.Term)
	}
}
