package e2e_test

import (
	"testing"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedZones: with a standby in the primary's zone and one outside, each commit waits for the latter, and for that
// until nobody is outside; where the primary is alone in its zone, any other will do.
func TestManagedZones(t *testing.T) {
	c := testcluster.Custom(t)
	for name, zone := range map[string]string{"a": "east", "b": "east", "c": "west"} {
		c.AddManaged(testcluster.Spec{
			Name: name, Expect: 3, Join: append([]*testcluster.Node(nil), c.Nodes...), Config: "zone = \"" + zone + "\"\n",
		}, testcluster.PostgresSpec{})
	}
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	waitManaged(t, c) // as every node sees it: the leader refuses a target that it last heard of as cloning
	if out, err := order(t, c, c.Nodes[0], "switchover", "-yes", "a"); err != nil && c.Primary().Name != "a" {
		t.Fatalf("switchover to a: %v: %s", err, out)
	}
	waitMembers(t, c, 2, "a", "b", "c")
	primary := c.Primary()
	psql(t, primary, "CREATE TABLE kept (n int)")

	var west *testcluster.Node
	for _, n := range c.Nodes {
		if n.Name == "c" {
			west = n
		}
	}
	c.KillNode(west)
	psql(t, primary, "INSERT INTO kept VALUES (1)") // it waits until the members are adapted, and no longer
	waitMembersOn(t, c, primary, 1, "a", "b")
	c.StartAgent(west)
	waitMembers(t, c, 2, "a", "b", "c")
	waitManaged(t, c)

	if out, err := order(t, c, primary, "switchover", "-yes", "c"); err != nil {
		t.Fatalf("switchover to c: %v: %s", err, out)
	}
	waitMembers(t, c, 1, "a", "b", "c")
}
