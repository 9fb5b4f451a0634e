package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestJoin takes a fourth node through its life in a running cluster.
func TestJoin(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{})
	quickAutopilot(t, c)
	for i := range 50 {
		mustPut(t, c.Nodes[i%3], fmt.Sprintf("old/%d", i), fmt.Sprint(i))
	}
	// A client's table beside pgraft's own, to see that joining touches nothing else.
	server := c.NewServer("fourth")
	server.Exec("CREATE TABLE mine AS SELECT 42 AS answer")
	j := joiner{c: c, members: c.Nodes[:3:3]}
	j.fourth = c.Add(testcluster.Spec{Name: "pg4", Cluster: "demo", Data: server.Main()})

	t.Run("Join", j.join)
	t.Run("Leave", j.leave)
	t.Run("JoinAgain", j.joinAgain)
	t.Run("ForceLeave", j.forceLeave)
	t.Run("RemovedComesBack", j.removedComesBack)
	t.Run("SQL", j.bySQL)
}

// quickAutopilot makes the cluster promote new voters soon.
func quickAutopilot(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	out, err := pgraft(t, c, c.Nodes[1], "operator", "autopilot", "set-config", "-server-stabilization-time=1s")
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "autopilot's configuration", out, "1s")
}

type joiner struct {
	c       *testcluster.Cluster
	members []*testcluster.Node
	fourth  *testcluster.Node
	id      int // node_id of the fourth
}

// row finds a node's row in a status.
func row(s api.Status, name string) *api.NodeStatus {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// wantVoter waits until all know the node as a live voter.
func wantVoter(t *testing.T, c *testcluster.Cluster, name string, by []*testcluster.Node) {
	t.Helper()
	for _, n := range by {
		wantStatus(t, c, n, func(s api.Status) string {
			switch r := row(s, name); {
			case r == nil:
				return name + " is not there"
			case !r.Voter:
				return name + " does not vote yet"
			case r.Status != api.NodeAlive:
				return name + " is " + r.Status
			}
			return ""
		})
	}
}

// wantGone waits until none of the nodes knows the server any more: registry, Raft and gossip.
func wantGone(t *testing.T, c *testcluster.Cluster, name string, by []*testcluster.Node) {
	t.Helper()
	for _, n := range by {
		wantStatus(t, c, n, func(s api.Status) string {
			if row(s, name) != nil {
				return name + " is still registered"
			}
			if len(s.Peers) != len(by)-1 {
				return fmt.Sprintf("raft has %d peers, want %d", len(s.Peers), len(by)-1)
			}
			return ""
		})
		if n.Postgres.Host != "" {
			wantRow(t, n, "SELECT count(*) FROM pgraft.node WHERE name = '"+name+"'", "0")
		}
		testcluster.Eventually(t, 30*time.Second, func() error { return goneFromLists(c, n, name) })
	}
}

func goneFromLists(c *testcluster.Cluster, n *testcluster.Node, name string) error {
	out, code := c.Run(n, "members", "-format=json")
	var members []api.Member
	if err := json.Unmarshal([]byte(out), &members); code != 0 || err != nil {
		return fmt.Errorf("members on %s: %d %w %s", n.Name, code, err, out)
	}
	for _, m := range members {
		if m.Name == name && m.Status != api.NodeLeft {
			return fmt.Errorf("%s is %s to the gossip of %s", name, m.Status, n.Name)
		}
	}
	out, code = c.Run(n, "operator", "raft", "list-peers", "-format=json")
	var peers api.RaftConfiguration
	if err := json.Unmarshal([]byte(out), &peers); code != 0 || err != nil {
		return fmt.Errorf("list-peers on %s: %d %w %s", n.Name, code, err, out)
	}
	for _, s := range peers.Servers {
		if s.Name == name || s.Name == "" {
			return fmt.Errorf("list-peers on %s still has %s: %s", n.Name, name, out)
		}
	}
	return nil
}

func (j *joiner) join(t *testing.T) {
	j.c.In(t)
	j.c.StartAgent(j.fourth, "-join="+j.members[0].Gossip)
	wantStatus(t, j.c, j.fourth, func(s api.Status) string {
		if s.NodeID == 0 || s.ClusterID == "" {
			return "not registered yet"
		}
		return ""
	})
	wantVoter(t, j.c, "pg4", j.c.Nodes)
	j.id = statusOf(t, j.c, j.fourth).NodeID
	if j.id != 4 {
		t.Errorf("node_id %d, want 4", j.id)
	}
	wantRow(t, j.fourth, "SELECT count(*) FROM pgraft.kv WHERE key LIKE 'old/%'", "50")
	wantRow(t, j.fourth, "SELECT pgraft_get_worker_state(), num_nodes FROM pgraft_get_cluster_status()", "RUNNING|4")
	wantRow(t, j.fourth, "SELECT answer FROM mine", "42")
	psql(t, j.fourth, "SELECT pgraft_kv_put('from/pg4', 'v')")
	wantRow(t, j.members[2], "SELECT value FROM pgraft.kv WHERE key = 'from/pg4'", "v")
	wantRow(t, j.members[1], "SELECT count(*) > 0 FROM pgraft.event WHERE node = 'pg4' AND type = 'join'", "t")
	if out, err := pgraft(t, j.c, j.members[0], "wait", "-for=node:pg4"); err != nil {
		t.Errorf("wait for pg4: %s", out)
	}
}

// leave retires the node; three voters are left, so that one of them may fail again.
func (j *joiner) leave(t *testing.T) {
	j.c.In(t)
	out, code := j.c.Run(j.fourth, "leave")
	if code != 0 {
		t.Fatalf("leave: exit code %d: %s", code, out)
	}
	wantText(t, "leave", out, "left")
	if code := j.c.AgentExit(j.fourth, 20*time.Second); code != 0 {
		t.Errorf("the agent that left ended with exit code %d, want 0:\n%s", code, lastLines(j.c.LogOf(j.fourth), 5))
	}
	wantGone(t, j.c, "pg4", j.members)
	wantRow(t, j.fourth, "SELECT pgraft_get_worker_state(), pgraft_is_leader()", "STOPPED|f")
	wantRow(t, j.fourth, "SELECT count(*) FROM pgraft.kv WHERE key LIKE 'old/%'", "50")

	// A retired server does not sneak in again.
	out, code = j.c.RunAgent(j.fourth)
	if code != 1 {
		t.Errorf("agent of a retired node: exit code %d, want 1", code)
	}
	wantText(t, "agent of a retired node", lastLines(out, 3), "no longer a member", "-join=")

	victim := j.c.Others(j.c.Leader(j.members...))[0]
	j.c.Freeze(victim)
	mustPut(t, j.c.Leader(without(j.members, victim)...), "two-of-three", "v")
	j.c.Continue(victim)
}

func without(nodes []*testcluster.Node, not *testcluster.Node) []*testcluster.Node {
	var rest []*testcluster.Node
	for _, n := range nodes {
		if n != not {
			rest = append(rest, n)
		}
	}
	return rest
}

func (j *joiner) joinAgain(t *testing.T) {
	j.c.In(t)
	old := statusOf(t, j.c, j.members[0])
	j.c.StartAgent(j.fourth, "-join="+j.members[1].Gossip)
	wantVoter(t, j.c, "pg4", j.c.Nodes)
	s := statusOf(t, j.c, j.fourth)
	if s.NodeID != j.id || s.ClusterID != old.ClusterID {
		t.Errorf("after joining again: node_id %d of cluster %s, want %d of %s", s.NodeID, s.ClusterID, j.id, old.ClusterID)
	}
	wantRow(t, j.fourth, "SELECT count(*) FROM pgraft.kv WHERE key LIKE 'old/%' OR key = 'two-of-three'", "51")
	wantRow(t, j.fourth, "SELECT pgraft_get_worker_state()", "RUNNING")
	// From now on it needs no -join: it stays a member when it is stopped.
	j.c.TerminateAgent(j.fourth)
	j.c.StartAgent(j.fourth)
	wantVoter(t, j.c, "pg4", j.c.Nodes)
}

func (j *joiner) forceLeave(t *testing.T) {
	j.c.In(t)
	j.c.KillAgent(j.fourth)
	wantStatus(t, j.c, j.members[0], func(s api.Status) string {
		if r := row(s, "pg4"); r == nil || r.Status != api.NodeFailed {
			return fmt.Sprintf("pg4: %+v, want it failed and still registered", r)
		}
		return ""
	})
	follower := without(j.members, j.c.Leader(j.members...))[0]
	out, code := j.c.Run(follower, "force-leave", "pg4")
	if code != 0 {
		t.Fatalf("force-leave: exit code %d: %s", code, out)
	}
	wantText(t, "force-leave", out, "pg4")
	wantGone(t, j.c, "pg4", j.members)
	out, code = j.c.Run(follower, "force-leave", "pg4")
	if code != 1 {
		t.Errorf("force-leave of nobody: exit code %d, want 1", code)
	}
	wantText(t, "force-leave of nobody", out, "pg4", "pgraft members")
}

// removedComesBack starts the agent of a node that was removed while it was down: it hears of it and ends.
func (j *joiner) removedComesBack(t *testing.T) {
	j.c.In(t)
	term := statusOf(t, j.c, j.members[0]).Term
	j.c.StartAgent(j.fourth)
	if code := j.c.AgentExit(j.fourth, 30*time.Second); code != 1 {
		t.Errorf("the agent of a removed node ended with exit code %d, want 1", code)
	}
	wantText(t, "its last words", lastLines(j.c.LogOf(j.fourth), 3), "removed from the cluster", "-join=")
	if now := statusOf(t, j.c, j.members[0]).Term; now != term {
		t.Errorf("a removed node moved the term from %d to %d", term, now)
	}
	wantGone(t, j.c, "pg4", j.members)
}

// bySQL does it all again from psql on the leader.
func (j *joiner) bySQL(t *testing.T) {
	j.c.In(t)
	j.c.StartAgent(j.fourth, "-join="+j.members[2].Gossip)
	wantVoter(t, j.c, "pg4", j.c.Nodes)

	leader := j.c.Leader(j.members...)
	target := without(j.members, leader)[0]
	id := statusOf(t, j.c, target).NodeID
	if got := psql(t, leader, fmt.Sprintf("SELECT pgraft_transfer_leadership(%d)", id)); got != "t" {
		t.Errorf("transfer_leadership: got %q, want t", got)
	}
	wantRow(t, target, "SELECT pgraft_is_leader(), pgraft_get_leader()", fmt.Sprintf("t|%d", id))
	wantRow(t, leader, "SELECT pgraft_is_leader(), pgraft_get_leader()", fmt.Sprintf("f|%d", id))

	if out, err := tryPsql(t, target, "SELECT pgraft_remove_node(77)"); err == nil || !strings.Contains(out, "77") {
		t.Errorf("remove_node of nobody: %q", out)
	}
	psql(t, target, fmt.Sprintf("SELECT pgraft_remove_node(%d)", j.id))
	wantGone(t, j.c, "pg4", j.members)
	if code := j.c.AgentExit(j.fourth, 30*time.Second); code != 1 {
		t.Errorf("the agent of a removed node ended with exit code %d, want 1", code)
	}

	// A new node that knows nobody, which the leader is told to fetch.
	fifth := j.c.Add(testcluster.Spec{Name: "pg5", Cluster: "demo", Config: "retry_join = []\n"})
	j.c.StartAgent(fifth)
	testcluster.Eventually(t, 30*time.Second, func() error { _, err := j.c.Status(fifth); return err })
	psql(t, target, fmt.Sprintf("SELECT pgraft_add_node(9, '127.0.0.1', %d)", testcluster.Port(fifth.Raft)))
	wantVoter(t, j.c, "pg5", without(j.c.Nodes, j.fourth))
	wantRow(t, target, "SELECT node_id, name FROM pgraft_get_nodes() WHERE name = 'pg5'", "9|pg5")
	if out, err := tryPsql(t, target, "SELECT pgraft_add_node(9, '127.0.0.1', 1)"); err == nil || !strings.Contains(out, "127.0.0.1:1") || !strings.Contains(out, "HINT") {
		t.Errorf("add_node of an address where nobody is: %q", out)
	}
	if out, code := j.c.Run(fifth, "leave"); code != 0 {
		t.Errorf("leave: exit code %d: %s", code, out)
	}
	if code := j.c.AgentExit(fifth, 20*time.Second); code != 0 {
		t.Errorf("the agent that left ended with exit code %d, want 0:\n%s", code, lastLines(j.c.LogOf(fifth), 5))
	}
	wantGone(t, j.c, "pg5", j.members)
}

// TestWitnessAndReplica has two nodes with PostgreSQL, a witness as the third voter, and a replica that never votes.
func TestWitnessAndReplica(t *testing.T) {
	c := testcluster.Custom(t)
	server := c.NewServer("pg")
	const quick = "autopilot {\n  server_stabilization_time = \"1s\"\n}\n"
	nodes := c.AddAll(
		testcluster.Spec{Name: "a", Data: server.Database("a"), Config: quick},
		testcluster.Spec{Name: "b", Data: server.Database("b"), Config: quick},
		testcluster.Spec{Name: "w", Config: quick},
	)
	c.StartAll()
	a, b, w := nodes[0], nodes[1], nodes[2]
	mustPut(t, w, "by-witness", "v")
	for _, n := range nodes[:2] {
		wantRow(t, n, "SELECT value FROM pgraft.kv WHERE key = 'by-witness'", "v")
		wantRow(t, n, "SELECT name, role, voter FROM pgraft_get_nodes() WHERE role = 'witness'", "w|witness|t")
	}
	s := statusOf(t, c, w)
	if s.Role != "witness" || !s.Voter || s.Postgres.Enabled || s.WorkerState != api.WorkerRunning {
		t.Errorf("the witness says: role %q, voter %v, postgres %v, worker %s", s.Role, s.Voter, s.Postgres.Enabled, s.WorkerState)
	}

	replica := c.Add(testcluster.Spec{Name: "r", Join: nodes, Data: server.Database("r"), Config: "non_voting = true\n" + quick})
	c.StartAgent(replica)
	c.WaitWhole()
	joined := time.Now()

	// With one PostgreSQL's agent gone, the other and the witness go on.
	c.KillAgent(a)
	c.Leader(b, w)
	mustPut(t, b, "without-a", "v")
	wantRow(t, b, "SELECT value FROM pgraft.kv WHERE key = 'without-a'", "v")
	wantRow(t, replica, "SELECT value FROM pgraft.kv WHERE key = 'without-a'", "v")
	c.StartAgent(a)
	c.WaitWhole()
	wantRow(t, a, "SELECT value FROM pgraft.kv WHERE key = 'without-a'", "v")

	// Long enough for autopilot to have promoted it several times over.
	time.Sleep(max(0, 6*time.Second-time.Since(joined)))
	for _, n := range c.Nodes {
		if r := row(statusOf(t, c, n), "r"); r == nil || r.Voter || !r.NonVoting {
			t.Errorf("%s sees the replica as %+v, want a member without a vote", n.Name, r)
		}
	}
	out, code := c.Run(replica, "operator", "raft", "list-peers")
	if code != 0 {
		t.Errorf("list-peers on the replica: %d %s", code, out)
	}
	// A node that is told to leave when it ends does so, and only that one.
	c.SetConfig(replica, "leave_on_terminate = true\n")
	out, code = c.Run(replica, "reload")
	if code != 0 || !strings.Contains(out, "leave_on_terminate") {
		t.Errorf("reload: exit code %d: %s", code, out)
	}
	c.TerminateAgent(replica)
	c.Nodes = nodes
	wantGone(t, c, "r", nodes)
	c.StartAgent(replica, "-join="+w.Gossip)
	c.Nodes = append(c.Nodes, replica)
	c.WaitWhole()

	// No vote, no say: with two of three voters gone there is no leader, replica or not.
	c.Freeze(a)
	c.Freeze(b)
	wantStatus(t, c, w, func(s api.Status) string {
		if s.HasQuorum || s.IsLeader {
			return "has a quorum of one voter and one replica"
		}
		return ""
	})
	// The witness may have led until a moment ago, so the first write may be in doubt; then it is certain.
	testcluster.Eventually(t, 15*time.Second, func() error {
		a, err := ask(t.Context(), replica, "PUT", "/v1/kv/no-quorum", "v")
		if err == nil && a.code == 200 {
			t.Fatalf("a write without a quorum was acknowledged: %s", a.body)
		}
		if err == nil && a.code != 503 {
			err = fmt.Errorf("write without a quorum: %d %s, want 503", a.code, a.body)
		}
		return err
	})
	c.Continue(a)
	c.Continue(b)
	c.WaitWhole()
}
