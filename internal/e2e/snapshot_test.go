package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestSnapshot saves a cluster's state, changes it, and brings it back; PostgreSQL follows.
func TestSnapshot(t *testing.T) {
	c := testcluster.Custom(t)
	server := c.NewServer("pg")
	nodes := c.AddAll(
		testcluster.Spec{Name: "a", Data: server.Database("a")}, testcluster.Spec{Name: "b", Data: server.Database("b")},
		testcluster.Spec{Name: "c"},
	)
	c.StartAll()
	for i := range 20 {
		mustPut(t, nodes[i%3], fmt.Sprintf("kept/%d", i), fmt.Sprintf("first %d", i))
	}
	verb := func(want int, args ...string) string {
		t.Helper()
		out, code := c.Run(nodes[1], args...)
		if code != want {
			t.Fatalf("pgraft %s: exit code %d, want %d: %s", strings.Join(args, " "), code, want, out)
		}
		return out
	}
	verb(0, "settings", "set", "note", "before")
	file := filepath.Join(c.Dir, "state.snap")
	wantText(t, "snapshot save", verb(0, "snapshot", "save", file), file)
	id := statusOf(t, c, nodes[0]).ClusterID
	wantText(t, "snapshot inspect", verb(0, "snapshot", "inspect", file), id, "test", "index", "ROWS", "kv ", "node ")

	for i := range 10 {
		mustPut(t, nodes[0], fmt.Sprintf("kept/%d", i), "second")
		mustPut(t, nodes[0], fmt.Sprintf("later/%d", i), "second")
	}
	if a, err := ask(t.Context(), nodes[2], "DELETE", "/v1/kv/kept/19", ""); err != nil || a.code != 200 {
		t.Fatalf("delete: %v %d", err, a.code)
	}
	verb(0, "settings", "set", "note", "after")
	for _, n := range nodes[:2] {
		wantRow(t, n, stateRow, "9|10|10|after")
	}

	t.Run("Damaged", func(t *testing.T) { damaged(t, c, file) })
	for _, n := range nodes[:2] {
		wantRow(t, n, stateRow, "9|10|10|after")
	}
	out := verb(0, "snapshot", "restore", file)
	wantText(t, "snapshot restore", out, "Restored")
	for _, n := range nodes[:2] {
		wantRow(t, n, stateRow, "20|0|0|before")
		wantRow(t, n, "SELECT pgraft_get_worker_state(), pgraft_kv_get('kept/19')", "RUNNING|first 19")
		wantRow(t, n, "SELECT count(*) FROM pgraft_get_nodes() WHERE voter AND status = 'alive'", "3")
	}
	if now := statusOf(t, c, nodes[0]).ClusterID; now != id {
		t.Errorf("the cluster's id after the restore: %s, want %s", now, id)
	}
	// Life goes on: writes, and restarts from what is on disk then.
	for i, n := range nodes {
		mustPut(t, n, fmt.Sprintf("later/%d", i), "third")
		c.KillAgent(n)
		c.StartAgent(n)
		c.WaitWhole()
	}
	for _, n := range nodes[:2] {
		wantRow(t, n, stateRow, "20|0|3|before")
	}
}

// stateRow counts what is as in the snapshot, what was changed after it and what was added.
const stateRow = `SELECT count(*) FILTER (WHERE key LIKE 'kept/%' AND value LIKE 'first%'), count(*) FILTER (WHERE key LIKE 'kept/%' AND value = 'second'),
 count(*) FILTER (WHERE key LIKE 'later/%'), (SELECT value FROM pgraft.setting WHERE name = 'note') FROM pgraft.kv`

// damaged archives are refused by the command line, and by the agent if someone sends them past it.
func damaged(t *testing.T, c *testcluster.Cluster, file string) {
	c.In(t)
	whole := readFile(t, file)
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 0x40
	for name, content := range map[string][]byte{"cut": whole[:len(whole)-100], "flipped": flipped, "empty": {}, "text": []byte("no snapshot at all")} {
		path := filepath.Join(c.Dir, name+".snap")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"inspect", "restore"} {
			out, code := c.Run(c.Nodes[0], "snapshot", what, path)
			if code != 1 {
				t.Errorf("snapshot %s of a %s file: exit code %d, want 1", what, name, code)
			}
			wantText(t, "snapshot "+what+" of a "+name+" file", out, path, "damaged")
		}
		for _, n := range []*testcluster.Node{c.Leader(), c.Others(c.Leader())[0]} {
			a, err := ask(t.Context(), n, "PUT", "/v1/snapshot", string(content))
			if err != nil || a.code != 400 || !strings.Contains(a.body, "error") {
				t.Errorf("a %s file sent to %s: %v %d %s, want 400", name, n.Name, err, a.code, a.body)
			}
		}
	}
}
