package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestUnfitPostgres gives agents a PostgreSQL that they can't work with. The agent runs and serves the key/value store
// all the same, and says what to do; once that is done, the rows come.
func TestUnfitPostgres(t *testing.T) {
	c := testcluster.Custom(t)
	server := c.NewServer("pg")
	t.Run("DownAtStart", func(t *testing.T) { downAtStart(t, c) })
	t.Run("NoRights", func(t *testing.T) { noRights(t, c, server) })
	t.Run("NoSuchRole", func(t *testing.T) { noSuchRole(t, c, server) })
	t.Run("RowsOfAnotherCluster", func(t *testing.T) { otherRows(t, c, server) })
}

// single starts a cluster of one node on a database.
func single(t *testing.T, c *testcluster.Cluster, name string, data *testcluster.Database) *testcluster.Node {
	t.Helper()
	n := c.Add(testcluster.Spec{Name: name, Cluster: name, Expect: 1, Data: data})
	c.StartAgent(n)
	t.Cleanup(func() { c.TerminateAgent(n) })
	mustPut(t, n, "key", "value of "+name)
	return n
}

// wantTrouble waits until a node says ERROR, and why. That a leader loses nothing by its PostgreSQL's trouble is checked, too.
func wantTrouble(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, words ...string) {
	t.Helper()
	s := wantStatus(t, c, n, func(s api.Status) string {
		if s.WorkerState != api.WorkerError || s.Postgres.Error == "" {
			return fmt.Sprintf("worker is %s (%s), PostgreSQL's error %q", s.WorkerState, s.WorkerMessage, s.Postgres.Error)
		}
		for _, word := range words {
			if !strings.Contains(s.WorkerMessage, word) {
				return fmt.Sprintf("the message does not say %q: %s", word, s.WorkerMessage)
			}
		}
		return ""
	})
	if !s.IsLeader || s.Postgres.ErrorSince.IsZero() {
		t.Errorf("leader %v, error since %s", s.IsLeader, s.Postgres.ErrorSince)
	}
	mustPut(t, n, "in-trouble", "v")
	out, code := c.Run(n, "status")
	if code != 0 {
		t.Errorf("pgraft status: exit code %d", code)
	}
	wantText(t, "pgraft status", out, words[0])
	if a, err := ask(t.Context(), n, "GET", "/readyz", ""); err != nil || a.code != 503 || !strings.Contains(a.body, words[0]) {
		t.Errorf("readyz: %v %d %s", err, a.code, a.body)
	}
}

func wantRunning(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	wantStatus(t, c, n, func(s api.Status) string {
		if s.WorkerState != api.WorkerRunning || s.Postgres.ExtensionVersion == "" {
			return fmt.Sprintf("worker is %s: %s", s.WorkerState, s.WorkerMessage)
		}
		return ""
	})
}

func downAtStart(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	server := c.PrepareServer("late")
	data := server.Main()
	n := single(t, c, "down", data)
	wantTrouble(t, c, n, "PostgreSQL")
	server.Begin()
	wantRunning(t, c, n)
	wantRow(t, n, "SELECT key, value FROM pgraft.kv ORDER BY key", "in-trouble|v\nkey|value of down")
}

func noRights(t *testing.T, c *testcluster.Cluster, server *testcluster.Server) {
	c.In(t)
	data := server.Database("rights")
	server.Exec("REVOKE CREATE ON DATABASE rights FROM PUBLIC; CREATE ROLE plain LOGIN")
	n := single(t, c, "rights", data.As("plain"))
	wantTrouble(t, c, n, "plain", "pgraft setup")

	out, code := c.Run(n, "setup", "-dsn="+data.DSN(), "-agent-role=plain", "-run-dir="+n.RunDir, fmt.Sprintf("-console-port=%d", n.ConsolePort))
	if code != 0 {
		t.Fatalf("setup: exit code %d: %s", code, out)
	}
	wantText(t, "what setup would change", out, "plain", "dblink", "-yes")
	if got, err := runPsql(t, data.DSN(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgraft'"); err != nil || got != "0" {
		t.Errorf("setup without -yes changed something: %s %v", got, err)
	}
	out, code = c.Run(n, "setup", "-dsn="+data.DSN(), "-agent-role=plain", "-run-dir="+n.RunDir, fmt.Sprintf("-console-port=%d", n.ConsolePort), "-yes")
	if code != 0 {
		t.Fatalf("setup -yes: exit code %d: %s", code, out)
	}
	wantRunning(t, c, n)
	if got, err := runPsql(t, data.DSN(), "SELECT value FROM pgraft.kv WHERE key = 'key'"); err != nil || got != "value of rights" {
		t.Errorf("rows after setup: %q %v", got, err)
	}
	// The functions belong to the superuser who set them up, and serve the agent's node.
	if got, err := runPsql(t, data.DSN(), "SELECT pgraft_is_leader(), pgraft_kv_put('by-sql', 'v')"); err != nil || got != "t|t" {
		t.Errorf("functions after setup: %q %v", got, err)
	}
}

func noSuchRole(t *testing.T, c *testcluster.Cluster, server *testcluster.Server) {
	c.In(t)
	n := single(t, c, "role", server.Database("role").As("nobody_there"))
	wantTrouble(t, c, n, "nobody_there")
}

// otherRows gives the database of one cluster to another one.
func otherRows(t *testing.T, c *testcluster.Cluster, server *testcluster.Server) {
	c.In(t)
	data := server.Database("owned")
	owner := single(t, c, "owner", data)
	wantRunning(t, c, owner)
	wantRow(t, owner, "SELECT value FROM pgraft.kv WHERE key = 'key'", "value of owner")
	id := statusOf(t, c, owner).ClusterID
	c.TerminateAgent(owner)
	const everything = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM (SELECT k::text AS t FROM pgraft.kv k UNION ALL SELECT n::text FROM pgraft.node n" +
		" UNION ALL SELECT e::text FROM pgraft.event e UNION ALL SELECT m::text FROM pgraft.meta m UNION ALL SELECT l::text FROM pgraft.local l) x"
	before := psql(t, owner, everything)

	thief := single(t, c, "thief", data)
	wantTrouble(t, c, thief, id, statusOf(t, c, thief).ClusterID, "another cluster")
	if after := psql(t, owner, everything); after != before {
		t.Errorf("rows of the first cluster were changed")
	}
	c.TerminateAgent(thief)
	c.StartAgent(owner)
	wantRunning(t, c, owner)
	wantRow(t, owner, "SELECT value FROM pgraft.kv WHERE key = 'key'", "value of owner")
	c.StartAgent(thief) // for the cleanup
}
