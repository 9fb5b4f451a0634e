package e2e_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedSQL asks a hot standby all that SQL can be asked, and gives orders there.
func TestManagedSQL(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{Managed: true})
	waitManaged(t, c)
	t.Run("Monitoring", func(t *testing.T) { standbyMonitors(t, c) })
	t.Run("Commands", func(t *testing.T) { standbyCommands(t, c) })
	t.Run("Refusals", func(t *testing.T) { standbyRefusals(t, c) })
	t.Run("WaitForIndex", func(t *testing.T) { waitForIndex(t, c) })
	t.Run("Switchover", func(t *testing.T) { switchoverBySQL(t, c) })
	t.Run("Checks", func(t *testing.T) { checksOfAgents(t, c) })
	t.Run("InDoubt", func(t *testing.T) { inDoubt(t, c) })
}

func nodeID(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) int {
	t.Helper()
	return statusOf(t, c, n).NodeID
}

func standbyMonitors(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	makeLeader(t, c, c.Primary())
	primary := c.Primary()
	id := nodeID(t, c, primary)
	for _, n := range c.Others(primary) {
		for query, want := range map[string]string{
			"SELECT pg_is_in_recovery()": "t",
			"SELECT pgraft_is_leader(), pgraft_get_leader(), pgraft_get_term() > 0": fmt.Sprintf("f|%d|t", id),
			"SELECT pgraft_get_worker_state(), pgraft_get_version() <> ''":          "RUNNING|t",
			"SELECT pgraft_health_check() ->> 'role'":                               "standby",
			"SELECT string_agg(check_name || ' ' || status, ',') FILTER (WHERE status <> 'OK' AND check_name NOT IN ('fsync', 'elections') AND check_name NOT LIKE 'disk%') FROM pgraft_check()": "",
			"SELECT string_agg(check_name, ' ') FROM pgraft.health": "agent leader quorum members postgres primary in_doubt clock_skew disk_data_dir disk_postgres " +
				"elections fsync pending_restart replication sync_members versions",
			"SELECT name, role, primary_id, epoch, has_quorum, state, num_nodes FROM pgraft_get_cluster_status()":                        fmt.Sprintf("%s|standby|%d|1|t|follower|3", n.Name, id),
			"SELECT in_doubt_lsn IS NULL, as_of > now() - interval '10s' FROM pgraft_get_cluster_status()":                               "t|t",
			"SELECT name, role, status FROM pgraft_get_nodes() WHERE role = 'primary'":                                                   primary.Name + "|primary|alive",
			"SELECT count(*) FROM pgraft_get_nodes() WHERE role = 'standby' AND lag_bytes < 1048576 AND lag_ms < 5000":                   "2",
			"SELECT log_size > 0 AND commit_index > 0 AND last_applied > 0 FROM pgraft_log_get_stats()":                                  "t",
			"SELECT count(*) FILTER (WHERE is_active) FROM pgraft_log_get_replication_status()":                                          "2",
			"SELECT pgraft_get_applied_index() > 0, pgraft_get_last_index()":                                                             "t|0",
			"SELECT count(*) FROM pgraft.members WHERE status = 'alive'":                                                                 "3",
			"SELECT count(*) FROM pgraft.node":                                                                                           "3",
			"SELECT count(*) FROM pgraft.setting WHERE name = 'no such setting'":                                                         "0",
			"SELECT count(DISTINCT type) FROM pgraft_events() WHERE type = 'ready'":                                                      "1",
			"SELECT (SELECT max(index) FROM pgraft_events()) = (SELECT max(index) FROM pgraft.event), count(*) FROM pgraft_events(9999)": "t|0",
			"SELECT count(*) FROM pgraft_kv_list_keys('sql/')":                                                                           "0",
			"SELECT keys >= 0 AND applied_index > 0 FROM pgraft_kv_get_stats()":                                                          "t",
		} {
			wantRow(t, n, query, want)
		}
	}
}

func standbyCommands(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	primary := c.Primary()
	standby := c.Others(primary)[0]
	for _, step := range []struct{ query, want string }{
		{"SELECT pgraft_kv_put('sql/a', 'one')", "t"},
		{"SELECT pgraft_kv_get('sql/a'), pgraft_kv_exists('sql/a'), pgraft_kv_exists('sql/b')", "one|t|f"},
		{"SELECT pgraft_kv_cas('sql/a', 1, 'two')", "t"},
		{"SELECT pgraft_kv_cas('sql/a', 1, 'three')", "f"},
		{"SELECT pgraft_kv_get('sql/a')", "two"},
		{"SELECT string_agg(k, ' ') FROM pgraft_kv_list_keys('sql/') AS k", "sql/a"},
		{"SELECT pgraft_kv_delete('sql/a'), pgraft_kv_delete('sql/a')", "t|f"},
		{"SELECT pgraft_replicate_entry('nothing') > 0", "t"},
		{"SELECT pgraft_snapshot() > 0", "t"},
		{"SELECT pgraft_set_debug(true)", "t"},
		{"SELECT pgraft_set_debug(false)", "f"},
	} {
		if got := psql(t, standby, step.query); got != step.want {
			t.Errorf("%s on a standby: got %q, want %q", step.query, got, step.want)
		}
	}
	// The rows come to all: the applier writes them on the primary, and PostgreSQL replicates them.
	psql(t, standby, "SELECT pgraft_kv_put('sql/c', 'rows')")
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT value FROM pgraft.kv WHERE key = 'sql/c'", "rows")
	}
	if out, err := pgraft(t, c, standby, "settings", "set", "postgres.work_mem", "5MB"); err != nil {
		t.Error(err, out)
	}
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT current_setting('work_mem'), value FROM pgraft.setting WHERE name = 'postgres.work_mem'", "5MB|5MB")
	}
}

func standbyRefusals(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	primary := c.Primary()
	makeLeader(t, c, primary)
	standby := c.Others(primary)[0]
	for query, words := range map[string][]string{
		"SELECT pgraft_add_node(9, '127.0.0.1', 1)":                        {"cannot add node: this node is not the leader", "HINT", primary.Name},
		"SELECT pgraft_remove_node(3)":                                     {"not the leader", "HINT", primary.Name},
		"SELECT pgraft_transfer_leadership(1)":                             {"not the leader", "HINT", primary.Name},
		"SELECT pgraft_switchover(99)":                                     {"P0002", "99"},
		"SELECT pgraft_switchover(NULL)":                                   {"22004", "must not be null"},
		"SELECT pgraft_kv_put('', 'v')":                                    {"ERROR", "key"},
		"INSERT INTO pgraft.kv VALUES ('a')":                               {"25006"},
		fmt.Sprintf("SELECT pgraft_switchover(%d)", nodeID(t, c, primary)): {"ERROR", "primary"},
	} {
		out, err := tryPsql(t, standby, query)
		if err == nil {
			t.Errorf("%s on a standby: %q, want an error", query, out)
		}
		wantText(t, query, out, words...)
	}
	if after := c.Primary(); after != primary {
		t.Errorf("a refusal moved the primary from %s to %s", primary.Name, after.Name)
	}
}

// waitForIndex reads on a standby what was written a moment before through another node.
func waitForIndex(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	primary := c.Primary()
	again := 0
	for i, standby := range c.Others(primary) {
		writer := []*testcluster.Node{primary, standby}[i]
		for round := range 15 {
			value := fmt.Sprint(i, round)
			index := putTwice(t, writer, value)
			out, err := tryPsql(t, standby, "SELECT pgraft_wait_for_index("+index+", '10s')")
			if err != nil && strings.Contains(out, "40001") {
				again++ // as after every such error on a standby
				out, err = tryPsql(t, standby, "SELECT pgraft_wait_for_index("+index+", '10s')")
			}
			if err != nil || out != "t" {
				t.Fatalf("wait for index %s on %s: %q", index, standby.Name, out)
			}
			if got := psql(t, standby, "SELECT value FROM pgraft.kv WHERE key = 'waited'"); got != value {
				t.Fatalf("%s shows %q after the wait, want %q", standby.Name, got, value)
			}
		}
		if got := psql(t, standby, "SELECT pgraft_wait_for_index(1000000000, '100ms')"); got != "f" {
			t.Errorf("an index that never comes: %q", got)
		}
	}
	t.Logf("%d of 30 waits had to be repeated", again)
	if again > 10 {
		t.Errorf("%d of 30 waits on a standby waited for themselves", again)
	}
}

// putTwice changes a key twice and returns the log index of the latter change.
func putTwice(t *testing.T, n *testcluster.Node, value string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), n.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, v := range []string{"", value} {
		if _, err := conn.Exec(t.Context(), "SELECT pgraft_kv_put('waited', $1)", v); err != nil {
			t.Fatal(err)
		}
	}
	var index int64
	if err := conn.QueryRow(t.Context(), "SELECT pgraft_get_last_index()").Scan(&index); err != nil {
		t.Fatal(err)
	}
	return strconv.FormatInt(index, 10)
}

// switchoverBySQL moves the primary away and back: asked for on a standby, which answers, and on the primary, whose
// sessions end.
func switchoverBySQL(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	before := c.Primary()
	target, third := c.Others(before)[0], c.Others(before)[1]
	epoch := statusOf(t, c, before).Epoch
	if got := psql(t, third, fmt.Sprintf("SELECT pgraft_switchover(%d)", nodeID(t, c, target))); got != "t" {
		t.Errorf("switchover on a standby: %q", got)
	}
	wantRow(t, target, "SELECT pg_is_in_recovery()", "f")
	waitManaged(t, c)
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT primary_id, epoch FROM pgraft_get_cluster_status()", fmt.Sprintf("%d|%d", nodeID(t, c, target), epoch+1))
		wantRow(t, n, fmt.Sprintf("SELECT string_agg(DISTINCT type, ' ' ORDER BY type) FROM pgraft_events() WHERE data ->> 'epoch' = '%d' AND type IN ('fence', 'promote', 'ready')", epoch+1), "fence promote ready")
	}
	out, err := tryPsql(t, target, fmt.Sprintf("SELECT pgraft_switchover(%d)", nodeID(t, c, before)))
	if err != nil && !strings.Contains(out, "57P01") && !strings.Contains(out, "closed") {
		t.Errorf("switchover on the primary: %q, want the end of the session", out)
	}
	waitManaged(t, c)
	if after := c.Primary(); after != before {
		t.Errorf("%s is the primary, want %s", after.Name, before.Name)
	}
}

// checksOfAgents makes leaders and a slot without a reader, and waits until the agents have found that.
func checksOfAgents(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	for range 2 {
		for _, n := range c.Nodes {
			makeLeader(t, c, n)
		}
	}
	primary := c.Primary()
	wantRow(t, primary, "SELECT status IN ('WARNING', 'CRITICAL'), message LIKE '% elections in the last hour%' FROM pgraft_check() WHERE check_name = 'elections'", "t|t")
	wantRow(t, primary, "SELECT status, message LIKE '2 replication slots%' FROM pgraft_check() WHERE check_name = 'slots'", "OK|t")
	psql(t, primary, "SELECT pg_create_physical_replication_slot('without_reader', true)")
	wantRow(t, primary, "SELECT message LIKE '3 replication slots%' FROM pgraft_check() WHERE check_name = 'slots'", "t")
	psql(t, primary, "SELECT pg_drop_replication_slot('without_reader')")
	if out, code := c.Run(primary, "status"); code != 0 || !strings.Contains(out, "elections in the last hour") {
		t.Errorf("pgraft status: exit code %d\n%s", code, out)
	}
}

// inDoubt takes everybody away from the primary: what it has written since then may never be acknowledged, and it says so.
func inDoubt(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	primary := c.Primary()
	psql(t, primary, "CREATE TABLE doubted (n int)")
	wantRow(t, primary, "SELECT in_doubt_lsn IS NULL FROM pgraft_get_cluster_status()", "t")
	var frozen []int
	for _, n := range c.Others(primary) {
		c.Freeze(n)
		frozen = append(frozen, freezePostgres(t, n)...)
	}
	failed := make(chan string, 1)
	go func() {
		out, _ := tryPsql(t, primary, "INSERT INTO doubted VALUES (1)")
		failed <- out
	}()
	wantRow(t, primary, "SELECT in_doubt_lsn > '0/0', has_quorum FROM pgraft_get_cluster_status()", "t|f")
	wantRow(t, primary, "SELECT status FROM pgraft_check() WHERE check_name = 'in_doubt'", "CRITICAL")
	out, code := c.Run(primary, "status")
	if code != 0 {
		t.Errorf("pgraft status: exit code %d", code)
	}
	wantText(t, "pgraft status", out, "IN DOUBT")
	select {
	case out := <-failed:
		t.Logf("the insert ended with %q", out)
		if !strings.Contains(out, "57P01") && !strings.Contains(out, "WARNING") && !strings.Contains(out, "25006") {
			t.Errorf("the insert that nobody can acknowledge ended with %q", out)
		}
	case <-time.After(15 * time.Second):
		t.Error("a commit hangs without a quorum")
	}
	wantDoubtedRefused(t, primary)
	for _, n := range c.Others(primary) {
		c.Continue(n)
	}
	for _, pid := range frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	waitManaged(t, c)
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT in_doubt_lsn IS NULL FROM pgraft_get_cluster_status()", "t")
	}
	if _, err := runPsql(t, multiHost(c), "INSERT INTO doubted VALUES (2)"); err != nil {
		t.Error(err)
	}
}

func wantDoubtedRefused(t *testing.T, n *testcluster.Node) {
	t.Helper()
	testcluster.Eventually(t, 10*time.Second, func() error {
		out, err := tryPsql(t, n, "INSERT INTO doubted VALUES (3)")
		if err == nil || !strings.Contains(out, "25006") {
			return fmt.Errorf("a write on a primary without a quorum: %q, want it refused as read-only", out)
		}
		return nil
	})
}
