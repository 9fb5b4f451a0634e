package consensus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
)

// source plays gossip for autopilot.
type source struct {
	c       *consensustest.Cluster
	mu      sync.Mutex
	config  api.AutopilotConfig
	nonVote int // server that is to have no vote, -1 = none
	removed []raft.ServerID
}

func newSource(c *consensustest.Cluster, minQuorum uint) *source {
	return &source{c: c, nonVote: -1, config: api.AutopilotConfig{
		CleanupDeadServers: true, MinQuorum: minQuorum, DeadServerThreshold: "200ms",
		ServerStabilizationTime: "100ms", MaxTrailingLogs: 1000, LastContactThreshold: "1s",
	}}
}

func (s *source) AutopilotConfig() (api.AutopilotConfig, error) { return s.config, nil }

func (s *source) KnownServers() []consensus.AutopilotServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var servers []consensus.AutopilotServer
	for i := range 4 {
		server := consensus.AutopilotServer{Name: fmt.Sprint(i), Address: s.c.Address(i), Status: api.NodeFailed, NonVoting: i == s.nonVote}
		server.ID = s.c.ID(i)
		if s.c.Node(i) != nil {
			server.Status = api.NodeAlive
		}
		servers = append(servers, server)
	}
	return servers
}

func (s *source) ServerRemoved(server consensus.AutopilotServer, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = append(s.removed, server.ID)
}

// startAutopilot runs autopilot on the leader of a cluster of three, to which a fourth server is added.
func startAutopilot(t *testing.T, minQuorum uint, nonVote int) (*consensustest.Cluster, int, *source, *consensus.Autopilot) {
	t.Helper()
	c := consensustest.New(t, consensustest.Options{Servers: 4, Idle: true, Configure: func(i int, cfg *consensus.Config) {
		cfg.BootstrapExpect = 3
		if i == 3 {
			cfg.BootstrapExpect = 0
		}
	}})
	peers := c.Peers()
	for i := range peers {
		peers[i].Expect = 3
	}
	c.Eventually(func() error {
		for i := range 3 {
			outcome, _, err := c.Node(i).MaybeBootstrap(context.Background(), peers[:3])
			if outcome == consensus.BootstrapFounded || err != nil {
				return err
			}
		}
		return errors.New("not founded")
	})
	leader := -1
	c.Eventually(func() error {
		for i := range 3 {
			if _, ok := c.Node(i).Lease(); ok {
				leader = i
				return c.Node(i).AddNonvoter(context.Background(), c.ID(3), c.Address(3))
			}
		}
		return errors.New("no leader")
	})
	s := newSource(c, minQuorum)
	s.nonVote = nonVote
	pilot := consensus.NewAutopilot(c.Node(leader), s)
	consensus.SetAutopilotIntervals(pilot, 50*time.Millisecond, 100*time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { pilot.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c, leader, s, pilot
}

func suffrage(c *consensustest.Cluster, node, server int) string {
	_, servers := c.Node(node).Configuration()
	for _, s := range servers {
		if s.ID == c.ID(server) {
			return s.Suffrage.String()
		}
	}
	return "none"
}

func TestAutopilotPromotesWhoHasCaughtUp(t *testing.T) {
	c, leader, _, pilot := startAutopilot(t, 3, -1)
	c.Eventually(func() error {
		if got := suffrage(c, leader, 3); got != "Voter" {
			return fmt.Errorf("the new server is a %s", got)
		}
		if state := pilot.State(); len(state.Voters) != 4 || !state.Healthy {
			return fmt.Errorf("state is %+v", state)
		}
		return nil
	})
}

func TestAutopilotPromotesNoReadReplica(t *testing.T) {
	c, leader, _, pilot := startAutopilot(t, 3, 3)
	c.Eventually(func() error {
		for _, server := range pilot.State().Servers {
			if server.ServerID == string(c.ID(3)) && server.Healthy && time.Since(server.StableSince) > 500*time.Millisecond {
				return nil
			}
		}
		return errors.New("the server is not stable yet")
	})
	if got := suffrage(c, leader, 3); got != "Nonvoter" {
		t.Errorf("the read replica is a %s", got)
	}
}

func TestAutopilotRemovesTheDeadDownToMinQuorum(t *testing.T) {
	c, leader, s, _ := startAutopilot(t, 3, -1)
	c.Eventually(func() error {
		if got := suffrage(c, leader, 3); got != "Voter" {
			return fmt.Errorf("the new server is a %s", got)
		}
		return nil
	})
	var dead []int
	for i := range 4 {
		if i != leader && len(dead) < 1 {
			dead = append(dead, i)
		}
	}
	c.Stop(dead[0])
	c.Eventually(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Contains(s.removed, c.ID(dead[0])) {
			return errors.New("the dead server was not removed")
		}
		return nil
	})
	next := (leader + 1) % 4
	for next == dead[0] || next == leader {
		next = (next + 1) % 4
	}
	c.Stop(next)
	time.Sleep(time.Second) // much longer than threshold and interval
	if got := suffrage(c, leader, next); got != "Voter" {
		t.Errorf("a dead server was removed below min_quorum: it is a %s", got)
	}
}

func TestPlanRemovals(t *testing.T) {
	config := api.AutopilotConfig{MinQuorum: 3, DeadServerThreshold: "1h", ServerStabilizationTime: "1s", LastContactThreshold: "1s"}
	hour := time.Hour
	tests := []struct {
		name   string
		voters int
		dead   map[string]time.Duration
		others map[string]time.Duration
		want   string
	}{
		{"nobody", 5, nil, nil, ""},
		{"not dead for long", 5, map[string]time.Duration{"a": hour / 2}, map[string]time.Duration{"n": hour / 2}, ""},
		{"one", 5, map[string]time.Duration{"a": 2 * hour}, nil, "a"},
		{"the longest dead first, less than half", 5, map[string]time.Duration{"a": 2 * hour, "b": 3 * hour, "c": 4 * hour}, nil, "c b"},
		{"not below min_quorum", 3, map[string]time.Duration{"a": 2 * hour}, nil, ""},
		{"down to min_quorum", 4, map[string]time.Duration{"a": 2 * hour, "b": 2 * hour}, nil, "a"},
		{"those without a vote always", 3, map[string]time.Duration{"a": 2 * hour}, map[string]time.Duration{"n": 2 * hour, "m": 3 * hour}, "m n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := consensus.PlanRemovals(config, test.voters, test.dead, test.others)
			if err != nil || strings.Join(got, " ") != test.want {
				t.Errorf("removed %v (%v), want %q", got, err, test.want)
			}
		})
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	leader := c.Leader()
	put(t, c.Node(leader), "k", "old")
	meta, reader, err := c.Node(leader).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	reader.Close()
	if err != nil {
		t.Fatal(err)
	}
	put(t, c.Node(leader), "k", "new")
	c.Eventually(func() error { // a follower's has what it has
		_, reader, err := c.Node((leader + 1) % 3).Snapshot(t.Context())
		if err == nil {
			err = reader.Close()
		}
		return err
	})
	damaged := bytes.Clone(content)
	damaged[len(damaged)/2] ^= 1
	leader = c.Leader()
	if err := c.Node(leader).Restore(t.Context(), meta, bytes.NewReader(damaged)); !api.IsCode(err, api.CodeBadRequest) {
		t.Errorf("restore of a damaged snapshot: %v", err)
	}
	if got := valueOf(c.FSM(leader), "k"); got != "new" {
		t.Fatalf("k = %q after a refused restore", got)
	}
	c.Eventually(func() error { // on a busy machine the leader may change, which leaves the outcome in doubt
		leader = c.Leader()
		return c.Node(leader).Restore(t.Context(), meta, bytes.NewReader(content))
	})
	c.Eventually(func() error {
		for i := range 3 {
			if got := valueOf(c.FSM(i), "k"); got != "old" {
				return fmt.Errorf("server %d has k = %q after the restore", i, got)
			}
		}
		return nil
	})
	put(t, c.Node(c.Follower(c.Leader())), "k", "newer")
}

func TestRecoverOneOfThree(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	leader := c.Leader()
	put(t, c.Node(leader), "k", "v")
	id, address := c.ID(leader), c.Address(leader)
	if _, err := consensus.Inspect(c.DataDir(leader), hclog.NewNullLogger()); !contains(err, "in use") {
		t.Errorf("inspect of a running server: %v", err)
	}
	last := c.Node(leader).Stats().LastIndex
	for i := range 3 {
		c.Kill(i)
	}
	info, err := consensus.Inspect(c.DataDir(leader), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if info.ServerID != id || info.LastIndex < last || len(info.Configuration) != 3 || info.ConfigurationIndex != 1 {
		t.Errorf("info = %+v, want server %s at %d or later", info, id, last)
	}
	if err := consensus.Recover(c.DataDir(leader), []consensus.OfflineServer{{ID: "other", Address: "x:1", Voter: true}}, hclog.NewNullLogger()); !contains(err, "not among") {
		t.Errorf("recover without this server: %v", err)
	}
	if err := consensus.Recover(c.DataDir(leader), []consensus.OfflineServer{{ID: id, Address: address, Voter: true}}, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	c.Heal()
	node := c.Start(leader)
	put(t, node, "k2", "v2")
	if got := valueOf(c.FSM(leader), "k"); got != "v" {
		t.Errorf("k = %q after the recovery", got)
	}
	if err := consensus.Recover(t.TempDir(), []consensus.OfflineServer{{ID: id, Address: address, Voter: true}}, hclog.NewNullLogger()); !contains(err, "nothing to recover") {
		t.Errorf("recover an empty directory: %v", err)
	}
}
