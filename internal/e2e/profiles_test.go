package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// soak is how long a profile has to be stable. PGRAFT_SOAK=5m proves more than a test that is run with each change.
func soak(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("PGRAFT_SOAK")
	if text == "" {
		return 8 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestProfiles puts agents as far apart as each profile is made for, with one packet in a thousand lost: under load no
// leader is elected for nothing, and one that is lost is replaced within what the page on tuning says. The profile for
// near agents can't do that far away.
func TestProfiles(t *testing.T) {
	for _, tt := range []struct {
		profile   string
		roundTrip time.Duration
		within    time.Duration // for a new leader that takes a write
	}{
		{"lan", 8 * time.Millisecond, 5 * time.Second}, {"wan", 45 * time.Millisecond, 10 * time.Second}, {"local", 150 * time.Millisecond, 20 * time.Second},
	} {
		t.Run(tt.profile, func(t *testing.T) {
			c, network := farCluster(t, tt.profile)
			network.Set(tt.roundTrip/2, 0.001)
			c.StartAll()
			stable(t, c, soak(t))
			replaced(t, c, tt.within)
		})
	}
	t.Run("TooNear", func(t *testing.T) {
		c, network := farCluster(t, "lan")
		c.StartAll()
		term := statusOf(t, c, c.Leader()).Term
		network.Set(200*time.Millisecond, 0)
		c.Eventually(60*time.Second, func() error {
			for _, n := range c.Nodes {
				if s, err := c.Status(n); err == nil && s.Term >= term+3 {
					return nil
				}
			}
			return fmt.Errorf("lan holds its leader with a round trip of 400 ms")
		})
	})
}

func farCluster(t *testing.T, profile string) (*testcluster.Cluster, *testcluster.Distance) {
	t.Helper()
	network := testcluster.NewFarNetwork(t, 3)
	c := testcluster.Custom(t)
	var specs []testcluster.Spec
	for i, host := range network.Hosts {
		specs = append(specs, testcluster.Spec{Name: fmt.Sprintf("n%d", i+1), Host: host, Config: "gossip {\n  profile = \"" + profile + "\"\n}\n"})
	}
	c.AddAll(specs...)
	return c, network
}

// stable writes for a while and wants the leader to stay.
func stable(t *testing.T, c *testcluster.Cluster, long time.Duration) {
	t.Helper()
	leader := c.Leader()
	before := statusOf(t, c, leader)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var writes, failed atomic.Int64
	done := make(chan struct{})
	for i, n := range c.Nodes {
		go func() {
			defer func() { done <- struct{}{} }()
			for k := 0; ctx.Err() == nil; k++ {
				if err := put(ctx, n, fmt.Sprintf("load/%d/%d", i, k%100), strings.Repeat("x", 1000)); err == nil {
					writes.Add(1)
				} else if ctx.Err() == nil {
					failed.Add(1)
				}
			}
		}()
	}
	for range c.Nodes {
		<-done
	}
	after := statusOf(t, c, leader)
	t.Logf("%d writes in %s, %d failed; term %d, then %d", writes.Load(), long, failed.Load(), before.Term, after.Term)
	if writes.Load() < 20 {
		t.Errorf("only %d writes", writes.Load())
	}
	// A machine that is busy with other tests may stop an agent for longer than the timers of lan: one election is no proof.
	if after.Term > before.Term+1 {
		t.Errorf("term %d became %d in %s", before.Term, after.Term, long)
	}
}

// replaced kills the leader and tells how long it takes until another one takes a write.
func replaced(t *testing.T, c *testcluster.Cluster, within time.Duration) {
	t.Helper()
	leader := c.Leader()
	others := c.Others(leader)
	begun := time.Now()
	c.KillAgent(leader)
	testcluster.Eventually(t, within+30*time.Second, func() error {
		var s api.Status
		var err error
		for _, n := range others {
			if s, err = c.Status(n); err == nil && s.IsLeader && s.Name != leader.Name {
				return put(t.Context(), n, "after", "the leader was lost")
			}
		}
		return fmt.Errorf("no new leader: %w", err)
	})
	took := time.Since(begun)
	t.Logf("a write was taken %s after the leader was killed", took.Round(time.Millisecond))
	if took > within {
		t.Errorf("it took %s, want less than %s", took, within)
	}
}
