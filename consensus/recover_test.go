package consensus_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
)

// TestLostServersReturn: the two servers without which a cluster was recovered come back with their logs. They elect a
// leader among themselves, since they are a majority of what they know of, but it can't write the recovered log.
func TestLostServersReturn(t *testing.T) {
	known := func(_ int, cfg *consensus.Config) { cfg.ClusterID = func() string { return "one" } } // as it is but in a cluster's first second
	c := consensustest.New(t, consensustest.Options{Configure: known})
	leader := c.Leader()
	put(t, c.Node(leader), "k", "v")
	survivor := (leader + 1) % 3
	c.Eventually(func() error {
		if got := valueOf(c.FSM(survivor), "k"); got != "v" {
			return fmt.Errorf("k = %q", got)
		}
		return nil
	})
	for i := range 3 {
		c.Kill(i)
	}
	keep := []consensus.OfflineServer{{ID: c.ID(survivor), Address: c.Address(survivor), Voter: true}}
	if err := consensus.Recover(c.DataDir(survivor), keep, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	c.Heal()
	lost := []int{(survivor + 1) % 3, (survivor + 2) % 3}
	for range 3 { // each election brings a higher term, which Raft obeys
		for _, i := range lost {
			c.Kill(i)
			c.Heal()
			c.Start(i)
		}
		c.Eventually(func() error {
			if !c.Node(lost[0]).IsLeader() && !c.Node(lost[1]).IsLeader() {
				return errors.New("the lost servers have no leader")
			}
			return nil
		})
	}
	alone := c.Start(survivor)
	for _, i := range lost {
		if !c.FSM(survivor).Store().Removed(string(c.ID(i))) {
			t.Errorf("server %d is not removed", i)
		}
	}
	put(t, alone, "after", "recovery")
	for n := range 20 {
		put(t, alone, "more", fmt.Sprint(n))
	}
	if id, _ := alone.Leader(); id != c.ID(survivor) {
		t.Errorf("the recovered server follows %s", id)
	}
	if got := valueOf(c.FSM(survivor), "after"); got != "recovery" {
		t.Errorf("after = %q", got)
	}
}
