package e2e_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestDemo walks through what the README promises, on one cluster.
func TestDemo(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{})
	if len(c.Nodes) != 3 {
		t.Fatalf("cluster.json has %d nodes, want 3", len(c.Nodes))
	}
	t.Run("PrintedLines", func(t *testing.T) { printedLines(t, c) })
	t.Run("HealthQuery", func(t *testing.T) { healthQuery(t, c) })
	t.Run("StatusFunctions", func(t *testing.T) { statusFunctions(t, c) })
	t.Run("PutFromAnyNode", func(t *testing.T) { putFromAnyNode(t, c) })
	t.Run("Console", func(t *testing.T) { console(t, c) })
	t.Run("HTTP", func(t *testing.T) { httpKV(t, c) })
	t.Run("BlockingQuery", func(t *testing.T) { blockingQuery(t, c) })
	t.Run("NotLeader", func(t *testing.T) { notLeader(t, c) })
	t.Run("Grants", func(t *testing.T) { grants(t, c) })
	t.Run("Verbs", func(t *testing.T) { verbs(t, c) })
}

func printedLines(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	for _, n := range c.Nodes {
		if !strings.Contains(c.Output(), strconv.Itoa(n.Postgres.Port)) {
			t.Errorf("the demo prints no line for the PostgreSQL of %s (port %d):\n%s", n.Name, n.Postgres.Port, c.Output())
		}
	}
}

func healthQuery(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	const q = "SELECT pgraft_is_leader(), pgraft_get_term() > 0, pgraft_get_leader(), pgraft_get_worker_state()"
	leader := c.Leader()
	id := strconv.Itoa(statusOf(t, c, leader).NodeID)
	for _, n := range c.Nodes {
		isLeader := "f"
		if n == leader {
			isLeader = "t"
		}
		wantRow(t, n, q, isLeader+"|t|"+id+"|RUNNING")
	}
}

func statusFunctions(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT count(*), count(*) FILTER (WHERE is_leader), count(*) FILTER (WHERE voter AND status = 'alive') FROM pgraft_get_nodes()", "3|1|3")
		wantRow(t, n, "SELECT num_nodes, name, has_quorum, state IN ('leader', 'follower') FROM pgraft_get_cluster_status()", "3|"+n.Name+"|t|t")
		wantRow(t, n, "SELECT log_size > 0, commit_index > 0, last_applied > 0, disk_bytes > 0 FROM pgraft_log_get_stats()", "t|t|t|t")
		wantRow(t, n, "SELECT count(*) FILTER (WHERE is_active) FROM pgraft_log_get_replication_status()", "2")
	}
}

func putFromAnyNode(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	for i, n := range c.Nodes {
		psql(t, n, fmt.Sprintf(`SELECT pgraft_kv_put('app/config', '{"timeout":%d}')`, 30+i))
		for _, m := range c.Nodes {
			wantRow(t, m, "SELECT value FROM pgraft.kv WHERE key = 'app/config'", fmt.Sprintf(`{"timeout":%d}`, 30+i))
		}
		if got, want := psql(t, n, "SELECT pgraft_kv_get('app/config')"), fmt.Sprintf(`{"timeout":%d}`, 30+i); got != want {
			t.Errorf("pgraft_kv_get on %s: got %q, want %q", n.Name, got, want)
		}
	}
	version := psql(t, c.Nodes[0], "SELECT version FROM pgraft.kv WHERE key = 'app/config'")
	if got := psql(t, c.Nodes[1], "SELECT pgraft_kv_cas('app/config', "+version+", 'swapped')"); got != "t" {
		t.Errorf("cas with the right version: got %q, want t", got)
	}
	if got, err := tryPsql(t, c.Nodes[1], "SELECT pgraft_kv_cas('app/config', "+version+", 'again')"); err == nil && got != "f" {
		t.Errorf("cas with an old version: got %q, want f", got)
	}
}

func console(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	for _, n := range c.Nodes {
		conninfo := fmt.Sprintf("host=%s port=%d", n.RunDir, n.ConsolePort)
		out, err := runPsql(t, conninfo, "SHOW NODES")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Nodes {
			if !strings.Contains(out, m.Name) {
				t.Errorf("SHOW NODES on %s lacks %s:\n%s", n.Name, m.Name, out)
			}
		}
	}
}

func httpKV(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	code, body, _ := call(t, "PUT", c.Nodes[1].URL("/v1/kv/a"), "hello")
	if code != 200 {
		t.Fatalf("put: %d %s", code, body)
	}
	for _, n := range c.Nodes {
		code, body, header := call(t, "GET", n.URL("/v1/kv/a?raw"), "")
		if code != 200 || body != "hello" {
			t.Errorf("get on %s: %d %q", n.Name, code, body)
		}
		if header.Get("X-Pgraft-Index") == "" || header.Get("X-Pgraft-Known-Leader") != "true" || header.Get("X-Pgraft-Last-Contact") == "" {
			t.Errorf("get on %s: headers missing: %v", n.Name, header)
		}
		if code, body, _ = call(t, "GET", n.URL("/v1/kv/a?consistent&raw"), ""); code != 200 || body != "hello" {
			t.Errorf("consistent get on %s: %d %q", n.Name, code, body)
		}
	}
	if code, body, _ = call(t, "PUT", c.Nodes[0].URL("/v1/kv/big"), strings.Repeat("x", 512<<10+1)); code != 413 {
		t.Errorf("value over the limit: %d %s", code, body)
	}
	if code, body, _ = call(t, "PUT", c.Nodes[0].URL("/v1/kv/big"), strings.Repeat("x", 512<<10)); code != 200 {
		t.Errorf("value at the limit: %d %s", code, body)
	}
	if code, body, _ = call(t, "PUT", c.Nodes[0].URL("/v1/txn"), "{nonsense"); code != 400 {
		t.Errorf("bad JSON: %d %s", code, body)
	}
	if code, body, _ = call(t, "PUT", c.Nodes[0].URL("/v1/session/renew/00000000-0000-0000-0000-000000000000"), ""); code != 404 {
		t.Errorf("unknown session: %d %s", code, body)
	}
	if code, body, _ = call(t, "GET", c.Nodes[0].URL("/v1/openapi.json"), ""); code != 200 || !strings.Contains(body, "/v1/kv/") {
		t.Errorf("openapi: %d", code)
	}
}

func blockingQuery(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	call(t, "PUT", c.Nodes[0].URL("/v1/kv/watched"), "one")
	_, _, header := call(t, "GET", c.Nodes[2].URL("/v1/kv/watched?raw"), "")
	index := header.Get("X-Pgraft-Index")
	type answer struct {
		body string
		took time.Duration
	}
	got := make(chan answer, 1)
	go func() {
		start := time.Now()
		_, body, _ := call(t, "GET", c.Nodes[2].URL("/v1/kv/watched?raw&wait=30s&index="+index), "")
		got <- answer{body, time.Since(start)}
	}()
	select {
	case a := <-got:
		t.Fatalf("blocking query returned %q before there was a change", a.body)
	case <-time.After(300 * time.Millisecond):
	}
	call(t, "PUT", c.Nodes[1].URL("/v1/kv/watched"), "two")
	if a := <-got; a.body != "two" || a.took > 20*time.Second {
		t.Errorf("blocking query: got %q after %s, want two at once", a.body, a.took)
	}
}

func notLeader(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	leader := c.Leader()
	follower := c.Others(leader)[0]
	out, err := tryPsql(t, follower, "SELECT pgraft_add_node(9, '127.0.0.1', 1)")
	if err == nil || !strings.Contains(out, "cannot add node: this node is not the leader") || !strings.Contains(out, "HINT") || !strings.Contains(out, leader.Name) {
		t.Errorf("add_node on a follower: got %q, want the error and a hint naming %s", out, leader.Name)
	}
}

func grants(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	n := c.Nodes[0]
	psql(t, n, "CREATE ROLE nobody_special; CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE changer; GRANT pgraft_admin TO changer")
	if out, err := tryPsql(t, n, "SET ROLE nobody_special; SELECT pgraft_is_leader()"); err == nil || !strings.Contains(out, "42501") {
		t.Errorf("PUBLIC may monitor: %q", out)
	}
	if out, err := tryPsql(t, n, "SET ROLE watcher; SELECT pgraft_is_leader(), pgraft_get_term()"); err != nil {
		t.Errorf("pg_monitor may not monitor: %q", out)
	}
	if out, err := tryPsql(t, n, "SET ROLE watcher; SELECT pgraft_kv_put('k', 'v')"); err == nil || !strings.Contains(out, "42501") {
		t.Errorf("pg_monitor may change: %q", out)
	}
	if out, err := tryPsql(t, n, "SET ROLE changer; SELECT pgraft_kv_put('k', 'v')"); err != nil {
		t.Errorf("pgraft_admin may not change: %q", out)
	}
}

func verbs(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	n := c.Nodes[1]
	for _, args := range [][]string{
		{"status"}, {"members"}, {"info"}, {"events"}, {"version"}, {"operator", "raft", "list-peers"},
		{"operator", "autopilot", "state"}, {"operator", "autopilot", "get-config"}, {"settings", "list"},
		{"kv", "put", "cli/key", "from the command line"}, {"kv", "get", "cli/key"}, {"kv", "list"}, {"wait", "-for=leader"},
		{"status", "-format=json"}, {"members", "-format=json"}, {"info", "-format=json"},
	} {
		if out, err := pgraft(t, c, n, args...); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	if out, _ := pgraft(t, c, n, "kv", "get", "cli/key"); strings.TrimSpace(out) != "from the command line" {
		t.Errorf("kv get: got %q", out)
	}
	out, err := exec.Command(c.Binary, "no-such-verb").CombinedOutput()
	if code := exitCode(err); code != 2 {
		t.Errorf("unknown verb: exit %d, want 2: %s", code, out)
	}
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it unwrapped
		return exit.ExitCode()
	}
	return 0
}
