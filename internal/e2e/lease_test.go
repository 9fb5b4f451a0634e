package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// staleWithin is far above the lan profile's lease of 200 ms: the test machine may be busy. That the lease is shorter
// than the time to a new leader is the argument's business (consensus), not a stopwatch's.
const staleWithin = 5 * time.Second

// TestLease checks that no node claims what it can't prove, whatever becomes of its agent.
func TestLease(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{})
	t.Run("Frozen", func(t *testing.T) { frozen(t, c) })
	t.Run("Killed", func(t *testing.T) { killed(t, c) })
	t.Run("Alone", func(t *testing.T) { alone(t, c) })
}

func wantWithin(t *testing.T, n *testcluster.Node, sql, want string) {
	t.Helper()
	testcluster.Eventually(t, staleWithin, func() error {
		if got := psql(t, n, sql); got != want {
			return fmt.Errorf("%s on %s: got %q, want %q", sql, n.Name, got, want)
		}
		return nil
	})
}

func frozen(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	leader := c.Leader()
	wantRow(t, leader, "SELECT pgraft_is_leader()", "t")
	c.Freeze(leader)
	wantWithin(t, leader, "SELECT pgraft_is_leader(), pgraft_get_leader(), pgraft_get_worker_state()", "f|0|STOPPED")
	wantWithin(t, leader, "SELECT has_quorum, leader_id FROM pgraft_get_cluster_status()", "f|0")
	wantWithin(t, leader, "SELECT count(*) FROM pgraft_get_nodes() WHERE is_leader", "0")
	if out, err := tryPsql(t, leader, "SELECT pgraft_kv_put('x', 'y')"); err == nil {
		t.Errorf("a frozen agent acknowledged a write: %s", out)
	}

	next := c.Leader(c.Others(leader)...)
	wantRow(t, next, "SELECT pgraft_is_leader()", "t")
	c.Continue(leader)
	wantRow(t, leader, "SELECT pgraft_is_leader(), pgraft_get_leader() > 0, pgraft_get_worker_state()", "f|t|RUNNING")
}

func killed(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	leader := c.Leader()
	wantRow(t, leader, "SELECT pgraft_is_leader()", "t")
	c.KillAgent(leader)
	wantWithin(t, leader, "SELECT pgraft_is_leader(), pgraft_get_leader(), pgraft_get_worker_state()", "f|0|STOPPED")
	c.Leader(c.Others(leader)...)
	c.StartAgent(leader)
	wantRow(t, leader, "SELECT pgraft_get_leader() > 0, pgraft_get_worker_state()", "t|RUNNING")
}

// alone leaves one agent without the others: it must not claim leadership, and must say that there is no quorum.
func alone(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	leader := c.Leader()
	for _, n := range c.Others(leader) {
		c.Freeze(n)
	}
	wantWithin(t, leader, "SELECT pgraft_is_leader(), pgraft_get_leader()", "f|0")
	wantWithin(t, leader, "SELECT has_quorum, leader_id FROM pgraft_get_cluster_status()", "f|0")
	code, body, header := call(t, "PUT", leader.URL("/v1/kv/alone"), "v")
	if code != 503 && code != 504 {
		t.Errorf("write without a quorum: %d %s", code, body)
	}
	if code == 503 && header.Get("Retry-After") == "" {
		t.Errorf("write without a quorum: no Retry-After: %v", header)
	}
	if code, body, _ = call(t, "GET", leader.URL("/v1/kv/alone?consistent"), ""); code != 503 {
		t.Errorf("consistent read without a quorum: %d %s", code, body)
	}
	if code, body, _ = call(t, "GET", leader.URL("/v1/kv/alone?stale"), ""); code != 404 {
		t.Errorf("stale read without a quorum: %d %s, want 404", code, body)
	}
	if code, body, _ = call(t, "GET", leader.URL("/livez"), ""); code != 200 {
		t.Errorf("livez without a quorum: %d %s", code, body)
	}
	if code, body, _ = call(t, "GET", leader.URL("/readyz"), ""); code != 503 {
		t.Errorf("readyz without a quorum: %d %s", code, body)
	}
	for _, n := range c.Others(leader) {
		c.Continue(n)
	}
	c.Leader()
}
