package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestPartition pulls cables between three hosts. Each has an agent; their PostgreSQL is reached by a Unix socket, so
// that what a client on the machine sees of a cut-off node is what its own agent can prove.
func TestPartition(t *testing.T) {
	network := testcluster.NewNetwork(t, 3)
	c := testcluster.Custom(t)
	server := c.NewServer("pg")
	for i, host := range network.Hosts {
		name := fmt.Sprintf("n%d", i+1)
		var join []*testcluster.Node
		for _, other := range network.Hosts {
			join = append(join, &testcluster.Node{Gossip: other.IP}) // the default port
		}
		c.Add(testcluster.Spec{Name: name, Host: host, Expect: 3, Join: join, Data: server.Database(name)})
	}
	c.StartAll()
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT pgraft_get_worker_state()", "RUNNING")
	}
	t.Run("LeaderCutOff", func(t *testing.T) { leaderCutOff(t, c) })
	t.Run("FollowerForgotten", func(t *testing.T) { followerForgotten(t, c) })
	t.Run("NewAddresses", func(t *testing.T) { newAddresses(t, c) })
}

// claim is one moment at which a node said that it leads: it was so somewhere between the two times.
type claim struct {
	node         string
	asked, heard time.Time
}

// watchClaims asks every node as often as it answers whether it leads, until ctx ends.
func watchClaims(ctx context.Context, t *testing.T, c *testcluster.Cluster) (claims func() []claim) {
	t.Helper()
	var mu sync.Mutex
	var all []claim
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		conn, err := pgx.Connect(ctx, n.DSN())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			for ctx.Err() == nil {
				asked := time.Now()
				var leads bool
				if err := conn.QueryRow(ctx, "SELECT pgraft_is_leader()").Scan(&leads); err != nil {
					if ctx.Err() == nil {
						t.Errorf("ask %s: %v", n.Name, err)
					}
					return
				}
				if leads {
					mu.Lock()
					all = append(all, claim{n.Name, asked, time.Now()})
					mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return func() []claim { wg.Wait(); return all }
}

// wantOneAtATime fails if one node still claimed to lead after another one had begun to. A claim that was asked for
// after the first claim of another node was heard is such an overlap, unless the leadership went back in between.
func wantOneAtATime(t *testing.T, claims []claim, back time.Time) {
	t.Helper()
	slices.SortFunc(claims, func(a, b claim) int { return a.asked.Compare(b.asked) })
	first := make(map[string]time.Time) // when a node's first claim was heard, at the latest
	for _, cl := range claims {
		if at, ok := first[cl.node]; !ok || cl.heard.Before(at) {
			first[cl.node] = cl.heard
		}
	}
	order := make([]string, 0, len(first))
	for _, cl := range claims {
		if !slices.Contains(order, cl.node) {
			order = append(order, cl.node)
		}
	}
	t.Logf("%d claims, by %v in this order", len(claims), order)
	for _, cl := range claims {
		if cl.asked.After(back) {
			break
		}
		for _, later := range order[slices.Index(order, cl.node)+1:] {
			if cl.asked.After(first[later]) {
				t.Errorf("%s claimed to lead at %s, when %s had done so since %s", cl.node, cl.asked, later, first[later])
				return
			}
		}
	}
}

func leaderCutOff(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	leader := c.Leader()
	others := c.Others(leader)
	mustPut(t, leader, "before", "v")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	claims := watchClaims(ctx, t, c)
	wantRow(t, leader, "SELECT pgraft_is_leader()", "t")

	cut := time.Now()
	leader.Host.Cut()
	wantWithin(t, leader, "SELECT pgraft_is_leader(), pgraft_get_leader(), pgraft_get_worker_state() <> 'STOPPED'", "f|0|t")
	next := c.Leader(others...)
	t.Logf("the other side had a new leader %s after the cut", time.Since(cut).Round(time.Millisecond))
	wantRow(t, next, "SELECT pgraft_is_leader(), num_nodes, has_quorum FROM pgraft_get_cluster_status()", "t|3|t")
	for i, n := range others {
		mustPut(t, n, fmt.Sprintf("majority/%d", i), "v")
		wantRow(t, n, fmt.Sprintf("SELECT count(*) FROM pgraft.kv WHERE key = 'majority/%d'", i), "1")
	}
	// The whole other side sees who is gone.
	wantStatus(t, c, next, func(s api.Status) string {
		if r := row(s, leader.Name); r == nil || r.Status != api.NodeFailed {
			return fmt.Sprintf("%s: %+v", leader.Name, r)
		}
		return ""
	})
	minority(t, c, leader)
	stop := time.Now()
	cancel()
	wantOneAtATime(t, claims(), stop)

	leader.Host.Mend()
	c.WaitWhole()
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT string_agg(key, ' ' ORDER BY key) FROM pgraft.kv WHERE key ~ '^(before|majority|minority)'", "before majority/0 majority/1")
		wantRow(t, n, "SELECT pgraft_get_worker_state(), count(*) FILTER (WHERE status = 'alive' AND voter) FROM pgraft_get_nodes()", "RUNNING|3")
	}
}

// minority checks that the node alone refuses what it can't do, clearly and in time.
func minority(t *testing.T, c *testcluster.Cluster, alone *testcluster.Node) {
	t.Helper()
	// Each takes until its deadline: whoever asks may hope for the leader's return as long.
	var wg sync.WaitGroup
	wg.Go(func() {
		a, err := ask(t.Context(), alone, "PUT", "/v1/kv/minority/http", "v")
		if err != nil || a.code != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("write by HTTP: %v %d %s", err, a.code, a.body)
		}
		wantText(t, "the answer", a.body, "no leader", "hint")
	})
	wg.Go(func() {
		start := time.Now()
		out, err := tryPsql(t, alone, "SELECT pgraft_kv_put('minority/sql', 'v')")
		if err == nil || time.Since(start) > 30*time.Second {
			t.Errorf("write by SQL took %s: %q", time.Since(start), out)
		}
		wantText(t, "psql's error", out, "no leader", "HINT")
	})
	wg.Go(func() {
		if a, err := ask(t.Context(), alone, "GET", "/v1/kv/before?consistent", ""); err != nil || a.code != 503 {
			t.Errorf("consistent read: %v %d %s", err, a.code, a.body)
		}
	})
	wg.Wait()
	wantKey(t, alone, "before", "v") // stale reads go on
	if got := psql(t, alone, "SELECT value FROM pgraft.kv WHERE key = 'before'"); got != "v" {
		t.Errorf("the rows: %q", got)
	}
	out, code := c.Run(alone, "status")
	if code != 0 || !strings.Contains(strings.ToLower(out), "quorum") {
		t.Errorf("pgraft status without a quorum: exit %d\n%s", code, out)
	}
}

// forgetTime is how long memberlist gossips to a dead node in the lan profile; then it drops it from its list.
const forgetTime = 30 * time.Second

// followerForgotten keeps a follower away until the gossip library has forgotten it. pgraft remembers it.
func followerForgotten(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	leader := c.Leader()
	follower := c.Others(leader)[0]
	term := statusOf(t, c, leader).Term
	follower.Host.Cut()
	cut := time.Now()
	for i := 0; time.Since(cut) < forgetTime+5*time.Second; i++ {
		mustPut(t, leader, fmt.Sprintf("away/%d", i%10), "v")
		time.Sleep(500 * time.Millisecond)
	}
	s := statusOf(t, c, leader)
	if r := row(s, follower.Name); r == nil || r.Status != api.NodeFailed || !r.Voter {
		t.Errorf("a follower cut off for %s: %+v, want a failed voter", time.Since(cut), r)
	}
	follower.Host.Mend()
	c.WaitWhole()
	wantRow(t, follower, "SELECT count(*) FROM pgraft.kv WHERE key LIKE 'away/%'", "10")
	if now := statusOf(t, c, leader).Term; now != term {
		t.Logf("the follower's return moved the term from %d to %d", term, now)
	}
}

// newAddresses stops all agents, gives every host another address, and starts them again with the lists of addresses
// that an operator would have put into their configurations.
func newAddresses(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	id := statusOf(t, c, c.Nodes[0]).ClusterID
	ids := make(map[string]string)
	for _, n := range c.Nodes {
		ids[n.Name] = statusOf(t, c, n).ServerID
	}
	for _, n := range c.Nodes {
		c.KillAgent(n)
	}
	for i, n := range c.Nodes {
		c.Move(n, fmt.Sprintf("10.231.7.%d", 101+i))
	}
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	c.WaitWhole()
	for i, n := range c.Nodes {
		s := statusOf(t, c, n)
		if s.ClusterID != id || s.ServerID != ids[n.Name] {
			t.Errorf("%s is server %s of cluster %s, was %s of %s", n.Name, s.ServerID, s.ClusterID, ids[n.Name], id)
		}
		mustPut(t, n, fmt.Sprintf("moved/%d", i), "v")
	}
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT count(*) FROM pgraft.kv WHERE key LIKE 'moved/%'", "3")
		wantRow(t, n, "SELECT string_agg(address, ' ' ORDER BY name) FROM pgraft_get_nodes()", "10.231.7.101 10.231.7.102 10.231.7.103")
		out, code := c.Run(n, "operator", "raft", "list-peers")
		if code != 0 || strings.Contains(out, "10.231.7.1:") {
			t.Errorf("list-peers on %s: exit %d, with old addresses?\n%s", n.Name, code, out)
		}
	}
}
