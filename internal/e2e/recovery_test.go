package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestLostQuorum loses a majority for good, goes on from a survivor, and has the lost nodes come back.
func TestLostQuorum(t *testing.T) {
	t.Run("BothStandbys", lostStandbys)
	t.Run("PrimaryAndStandby", lostPrimary)
	t.Run("ThreeOfFive", lostThreeOfFive)
}

// lostPrimary leaves a standby. That it may become the primary is for the operator to say, who is told what it may cost.
func lostPrimary(t *testing.T) {
	c := threeManaged(t)
	primary := c.Primary()
	survivor := c.Others(primary)[0]
	psql(t, primary, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
	wantRow(t, survivor, "SELECT count(*) FROM kept", "1")
	lost := c.Others(survivor)
	for _, n := range lost {
		c.KillNode(n)
	}
	recoverAlone(t, c, survivor)
	wantNoPrimary(t, c, 3*time.Second, survivor)
	out, err := order(t, c, survivor, "failover", "-allow-data-loss", "-yes")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	psql(t, survivor, "INSERT INTO kept VALUES (2)")
	comeBack(t, c, survivor, lost, "2")
}

// comeBack starts lost nodes with the state and the data that they had: they hear that they were removed, and join again
// as new servers, whose data is brought to the survivor's.
func comeBack(t *testing.T, c *testcluster.Cluster, survivor *testcluster.Node, lost []*testcluster.Node, rows string) {
	t.Helper()
	for _, n := range lost {
		c.StartAgent(n)
	}
	for _, n := range lost {
		wantRemoved(t, c, n)
	}
	wantRow(t, survivor, "SELECT count(*) FROM kept", rows)
	for _, n := range lost {
		c.StartAgent(n, "-join="+survivor.Gossip)
	}
	waitMembers(t, c, 1, "a", "b", "c")
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT count(*) FROM kept", rows)
	}
	if now := c.Primary(); now != survivor {
		t.Errorf("%s is the primary, want %s", now.Name, survivor.Name)
	}
}

// lostStandbys leaves the primary. What was acknowledged stays, and it takes writes again. The others must neither take
// the cluster back nor split it.
func lostStandbys(t *testing.T) {
	c := threeManaged(t)
	primary := c.Primary()
	lost := c.Others(primary)
	psql(t, primary, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
	for _, n := range lost {
		c.KillNode(n)
	}
	recoverAlone(t, c, primary)
	psql(t, primary, "INSERT INTO kept VALUES (2)")

	comeBack(t, c, primary, lost, "2")
}

// lostThreeOfFive is about Raft alone, on nodes without PostgreSQL.
func lostThreeOfFive(t *testing.T) {
	c := testcluster.Custom(t)
	specs := make([]testcluster.Spec, 5)
	for i := range specs {
		specs[i] = testcluster.Spec{Name: fmt.Sprintf("n%d", i+1)}
	}
	c.AddAll(specs...)
	c.StartAll()
	leader := c.Leader()
	others := c.Others(leader)
	survivor, second, lost := others[0], others[1], append(others[2:], leader)
	wantOrder(t, c, leader, "kv", "put", "app", "before")
	wantValue(t, c, survivor, "before")
	for _, n := range lost {
		c.KillAgent(n)
	}
	c.KillAgent(second)
	recoverAlone(t, c, survivor)
	wantOrder(t, c, survivor, "kv", "put", "app", "after")
	for _, n := range append(lost, second) {
		c.StartAgent(n)
	}
	for _, n := range append(lost, second) {
		wantRemoved(t, c, n)
	}
	for _, n := range append(lost, second) {
		c.StartAgent(n, "-join="+survivor.Gossip)
	}
	for _, n := range c.Nodes {
		wantValue(t, c, n, "after")
	}
}

// recoverAlone makes a node the whole cluster, as the help of the verb says.
func recoverAlone(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	c.KillAgent(n)
	out, err := pgraft(t, c, n, "operator", "raft", "info", "-config="+n.Config)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wantText(t, "raft info", out, "Last index")
	if n.Postgres.DataDir != "" {
		wantText(t, "raft info", out, "PostgreSQL", "WAL up to", "of epoch 1")
	}
	out, err = pgraft(t, c, n, "operator", "raft", "recover", "-config="+n.Config)
	if err == nil {
		t.Errorf("recovered without a confirmation: %s", out)
	}
	wantText(t, "raft recover", out, "is lost", "-yes")
	if out, err = pgraft(t, c, n, "operator", "raft", "recover", "-config="+n.Config, "-allow-data-loss"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.StartAgent(n)
}

// wantRemoved waits until an agent has ended because its server was removed.
func wantRemoved(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	if code := c.AgentExit(n, 60*time.Second); code != 1 {
		t.Errorf("the agent of %s ended with exit code %d, want 1", n.Name, code)
	}
	wantText(t, "last words of "+n.Name, lastLines(c.LogOf(n), 3), "removed from the cluster", "-join=")
}

func wantOrder(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, args ...string) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, func() error {
		out, err := pgraft(t, c, n, args...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func wantValue(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, want string) {
	t.Helper()
	testcluster.Eventually(t, 60*time.Second, func() error {
		out, err := pgraft(t, c, n, "kv", "get", "-stale", "app")
		if err == nil && out != want && out != want+"\n" {
			err = fmt.Errorf("%s has %q, want %q", n.Name, out, want)
		}
		return err
	})
}
