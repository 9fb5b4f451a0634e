package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedWitness is about two PostgreSQL servers with a witness, and a read replica that never votes: a dead standby
// holds up commits for seconds at most, and no commit is lost for that.
func TestManagedWitness(t *testing.T) {
	c := testcluster.Custom(t)
	w := addWitnessed(t, c, "")
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	waitMembers(t, c, 1, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInserts(ctx, t, c, 2)
	readers := startReaders(ctx, t, c)
	load.wantMore(t, 50)
	for _, f := range []struct {
		name  string
		fault func(t *testing.T, w *witnessed, load *inserts)
	}{
		{"StandbyKilled", standbyNodeKilled},
		{"StandbyFrozen", standbyNodeFrozen},
		{"PrimaryKilled", primaryNodeKilled},
		{"StaleStandby", staleStandby},
		{"WitnessKilled", witnessKilled},
		{"ReplicaHasNoPart", replicaHasNoPart},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.In(t)
			begun := time.Now()
			f.fault(t, w, load)
			load.wantMore(t, 50)
			waitMembers(t, c, 1, "a", "b")
			t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
		})
	}
	cancel()
	readers.Wait()
	load.verify(t, c)
}

// witnessed is a cluster of two PostgreSQL servers, a witness and a replica.
type witnessed struct {
	*testcluster.Cluster
	witness, replica *testcluster.Node
}

// addWitnessed adds the nodes with further HCL in their block postgres.
func addWitnessed(t *testing.T, c *testcluster.Cluster, keys string) *witnessed {
	t.Helper()
	w := &witnessed{Cluster: c}
	pg := testcluster.PostgresSpec{Keys: keys}
	a := c.AddManaged(testcluster.Spec{Name: "a", Expect: 3}, pg)
	b := c.AddManaged(testcluster.Spec{Name: "b", Expect: 3, Join: []*testcluster.Node{a}}, pg)
	w.witness = c.Add(testcluster.Spec{Name: "w", Expect: 3, Join: []*testcluster.Node{a, b}})
	w.replica = c.AddManaged(testcluster.Spec{Name: "r", Join: c.Nodes, Config: "non_voting = true\n"}, pg)
	return w
}

// sides returns who is the primary and who is its standby.
func (w *witnessed) sides() (primary, standby *testcluster.Node) {
	primary = w.Primary(w.Nodes[:2]...)
	return primary, w.Nodes[slices.IndexFunc(w.Nodes[:2], func(n *testcluster.Node) bool { return n != primary })]
}

// waitMembers waits until every node that answers agrees that these count, with so many to acknowledge beside the primary.
func waitMembers(t *testing.T, c *testcluster.Cluster, acks int, names ...string) {
	t.Helper()
	for _, n := range c.Nodes {
		waitMembersOn(t, c, n, acks, names...)
	}
}

func waitMembersOn(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, acks int, names ...string) {
	t.Helper()
	wantStatus(t, c, n, func(s api.Status) string {
		now := slices.Sorted(slices.Values(s.Sync.Members))
		if s.PrimaryID == 0 || s.Sync.Next != nil || len(s.Sync.Lost) > 0 || s.Sync.Acks != acks || !slices.Equal(now, names) {
			return fmt.Sprintf("primary %q, sync %+v, want %d of %v; %s %s; nodes %+v", s.PrimaryName, s.Sync, acks, names, s.WorkerState, s.WorkerMessage, s.Nodes)
		}
		return ""
	})
}

// wantGap fails if commits stood still for longer than limit since then.
func wantGap(t *testing.T, load *inserts, since time.Time, limit time.Duration) {
	t.Helper()
	load.wantMore(t, 20)
	if gap := load.gap(since); gap > limit {
		t.Errorf("commits stood still for %s, want at most %s", gap, limit)
	}
}

func standbyNodeKilled(t *testing.T, w *witnessed, load *inserts) {
	t.Helper()
	primary, standby := w.sides()
	begun := time.Now()
	w.KillNode(standby)
	wantGap(t, load, begun, 5*time.Second)
	waitMembersOn(t, w.Cluster, primary, 0, primary.Name)
	wantTold(t, primary, "sync", standby.Name)
	out, code := w.Run(primary, "status")
	if code != 0 {
		t.Errorf("pgraft status: exit code %d", code)
	}
	wantText(t, "pgraft status with nobody to acknowledge", out, "DEGRADED", "on the primary alone", "Start the standbys again")
	w.StartAgent(standby)
	// Counted again means waited for again.
	waitMembersOn(t, w.Cluster, primary, 1, "a", "b")
	wantRow(t, primary, "SELECT setting LIKE '%ANY 1 (%' FROM pg_settings WHERE name = 'synchronous_standby_names'", "t")
}

func standbyNodeFrozen(t *testing.T, w *witnessed, load *inserts) {
	t.Helper()
	primary, standby := w.sides()
	begun := time.Now()
	w.Freeze(standby)
	thaw := freezePostgres(t, standby)
	wantGap(t, load, begun, 8*time.Second)
	waitMembersOn(t, w.Cluster, primary, 0, primary.Name)
	for _, pid := range thaw {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	w.Continue(standby)
}

func primaryNodeKilled(t *testing.T, w *witnessed, load *inserts) {
	t.Helper()
	primary, standby := w.sides()
	begun := time.Now()
	w.KillNode(primary)
	wantGap(t, load, begun, 8*time.Second)
	if next := w.Primary(standby, w.replica); next != standby {
		t.Errorf("%s became primary", next.Name)
	}
	w.StartAgent(primary)
}

// staleStandby: the standby is away while the primary alone acknowledges commits. When the primary is lost too, and only
// the standby is back, nobody may become primary, until the primary returns.
func staleStandby(t *testing.T, w *witnessed, load *inserts) {
	t.Helper()
	primary, standby := w.sides()
	w.KillNode(standby)
	waitMembersOn(t, w.Cluster, primary, 0, primary.Name)
	load.wantMore(t, 20)
	w.KillNode(primary)
	w.StartAgent(standby)
	wantStatus(t, w.Cluster, standby, func(s api.Status) string {
		if !s.HasQuorum || s.Postgres.LSN == "" {
			return fmt.Sprintf("quorum %v, PostgreSQL %+v", s.HasQuorum, s.Postgres)
		}
		return ""
	})
	out, err := order(t, w.Cluster, standby, "failover", "-yes", "-timeout=20s")
	if err == nil {
		t.Errorf("a failover to a standby that lacks commits went well: %s", out)
	}
	wantText(t, "pgraft failover", out, primary.Name, "-allow-data-loss")
	wantNoPrimary(t, w.Cluster, 3*time.Second, standby, w.replica)
	w.StartAgent(primary)
	if now := w.Primary(w.Nodes[:2]...); now != primary {
		t.Errorf("%s is primary, want %s, which alone had all commits", now.Name, primary.Name)
	}
}

func witnessKilled(t *testing.T, w *witnessed, load *inserts) {
	t.Helper()
	primary, _ := w.sides()
	epoch := statusOf(t, w.Cluster, primary).Epoch
	begun := time.Now()
	w.KillAgent(w.witness)
	wantGap(t, load, begun, 3*time.Second)
	w.StartAgent(w.witness)
	load.wantMore(t, 20)
	if now := statusOf(t, w.Cluster, primary).Epoch; now != epoch {
		t.Errorf("epoch %d became %d for a witness", epoch, now)
	}
}

// replicaHasNoPart: a read replica streams, and is neither waited for nor made primary.
func replicaHasNoPart(t *testing.T, w *witnessed, load *inserts) {
	t.Helper()
	primary, standby := w.sides()
	wantStatus(t, w.Cluster, primary, func(s api.Status) string {
		if r := row(s, "r"); r == nil || r.Role != "standby" || r.Replication != "streaming" || r.Sync || r.Voter {
			return fmt.Sprintf("the replica: %+v", r)
		}
		return ""
	})
	for target, word := range map[string]string{"r": "replica", "w": "witness", primary.Name: "already"} {
		out, err := order(t, w.Cluster, standby, "switchover", "-yes", target)
		if err == nil || !strings.Contains(out, word) {
			t.Errorf("switchover to %s: %v, want an error that says %q: %s", target, err, word, out)
		}
	}
	begun := time.Now()
	w.KillNode(w.replica)
	wantGap(t, load, begun, 2*time.Second)
	waitMembersOn(t, w.Cluster, primary, 1, "a", "b")
	w.StartAgent(w.replica)
}

// TestManagedAsync is about commits that are acknowledged before another node has them: that is said, and a failover works.
func TestManagedAsync(t *testing.T) {
	c := testcluster.Custom(t)
	w := addWitnessed(t, c, `synchronous = "async"`)
	for _, n := range c.Nodes[:3] {
		c.StartAgent(n)
	}
	for _, n := range c.Nodes[:3] {
		waitMembersOn(t, c, n, 0, "a", "b")
	}
	primary, standby := w.sides()
	if s := statusOf(t, c, standby); s.Sync.Mode != api.SyncAsync || s.Sync.Warning == "" {
		t.Errorf("the rule: %+v, want a warning", s.Sync)
	}
	out, code := c.Run(standby, "status")
	if code != 0 {
		t.Errorf("pgraft status: exit code %d", code)
	}
	wantText(t, "pgraft status", out, "ASYNC", "lose")
	wantRow(t, primary, "SHOW synchronous_standby_names", "")
	psql(t, primary, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
	wantRow(t, standby, "SELECT count(*) FROM t", "1")

	c.KillNode(primary)
	if next := c.Primary(standby); next != standby {
		t.Errorf("%s became primary", next.Name)
	}
	psql(t, standby, "INSERT INTO t VALUES (2)")
	c.StartAgent(primary)
	wantRow(t, primary, "SELECT pg_is_in_recovery(), count(*) FROM t", "t|2")
}

// wantNoPrimary fails if one of the nodes says within that time that it is the primary, or takes a write.
func wantNoPrimary(t *testing.T, c *testcluster.Cluster, during time.Duration, nodes ...*testcluster.Node) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, n := range nodes {
			if s, err := c.Status(n); err == nil && s.Role == api.RolePrimary {
				t.Fatalf("%s is the primary of epoch %d", n.Name, s.Epoch)
			}
			if out, err := tryPsql(t, n, "SELECT pg_is_in_recovery()"); err == nil && out == "f" {
				t.Fatalf("%s is out of recovery", n.Name)
			}
		}
	}
}

// wantTold waits until the history has a line of that type with these words.
func wantTold(t *testing.T, n *testcluster.Node, kind string, words ...string) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, func() error {
		events, err := eventsOf(t.Context(), n)
		if err != nil {
			return err
		}
		for _, e := range events {
			text := e.Message + " " + fmt.Sprint(e.Data)
			if e.Type == kind && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
				return nil
			}
		}
		return fmt.Errorf("no event %s with %q on %s:\n%s", kind, words, n.Name, eventLines(events))
	})
}

func eventLines(events []api.Event) string {
	var b strings.Builder
	for _, e := range events[max(0, len(events)-60):] {
		fmt.Fprintf(&b, "%s %s %s: %s %v\n", e.Time.Format("05.000"), e.Type, e.Node, e.Message, e.Data)
	}
	return b.String()
}
