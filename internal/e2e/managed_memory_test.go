package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedMemory is about servers that forget what they acknowledged. A primary and one standby hold a commit that
// the third server lacks; the standby's copy of the data is lost, then the primary. Nobody may become primary then
// who lacks the commit, though two of three servers are there, and an operator who insists is told so.
func TestManagedMemory(t *testing.T) {
	c := threeManaged(t)
	psql(t, c.Primary(), "CREATE TABLE kept (n int PRIMARY KEY)")
	m := &memory{Cluster: c, copies: filepath.Join(filepath.Dir(c.DataPlace("copies")), "old")}
	for _, f := range []struct {
		name   string
		before func(standby *testcluster.Node) // the commit
		forget func(t *testing.T, standby *testcluster.Node)
	}{
		{"Removed", func(*testcluster.Node) {}, m.remove},
		{"OldCopyInItsPlace", m.copyLive, m.restoreBeside},
		{"OldCopyOverIt", m.backUp, m.restoreOver},
	} {
		whole(t, c, f.name, func(t *testing.T) { m.forgotten(t, f.before, f.forget) })
	}
	whole(t, c, "ReinitWithoutTheThird", m.reinitRefused)
	whole(t, c, "PrimaryLostDuringReinit", m.reinit)
	whole(t, c, "AllowDataLoss", m.allowDataLoss)
}

// threeManaged starts a primary and two standbys, all of which count.
func threeManaged(t *testing.T) *testcluster.Cluster {
	t.Helper()
	c := testcluster.Custom(t)
	for _, name := range []string{"a", "b", "c"} {
		c.AddManaged(testcluster.Spec{Name: name, Expect: 3, Join: append([]*testcluster.Node(nil), c.Nodes...)}, testcluster.PostgresSpec{})
	}
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	waitMembers(t, c, 1, "a", "b", "c")
	return c
}

// whole runs a part of a test on a cluster that the parts before have left whole.
func whole(t *testing.T, c *testcluster.Cluster, name string, part func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, func(t *testing.T) { c.In(t); part(t) }) {
		t.FailNow()
	}
}

// order has pgraft order something, again as long as a leader is being elected.
func order(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, args ...string) (out string, err error) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, func() error {
		out, err = pgraft(t, c, n, args...)
		if err != nil && (strings.Contains(out, "no leader") || strings.Contains(out, "not connected") || strings.Contains(out, "not the leader")) {
			return err
		}
		return nil
	})
	return out, err
}

// memory is the cluster of TestManagedMemory.
type memory struct {
	*testcluster.Cluster
	copies string
	n      int // rows committed
}

// commit has a row acknowledged.
func (m *memory) commit(t *testing.T, primary *testcluster.Node) {
	t.Helper()
	m.n++
	testcluster.Eventually(t, 10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, primary.DSN())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		_, err = conn.Exec(ctx, "INSERT INTO kept VALUES ($1) ON CONFLICT DO NOTHING", m.n)
		return err
	})
}

// wantAll waits until each node has each row and counts. One that has just come back may still be counted for what it
// was before, until it has said that its data is made anew: so the members are looked at again when the rows are there.
func (m *memory) wantAll(t *testing.T) {
	t.Helper()
	waitMembers(t, m.Cluster, 1, "a", "b", "c")
	for _, n := range m.Nodes {
		wantRow(t, n, "SELECT count(*) FROM kept", fmt.Sprint(m.n))
	}
	waitMembers(t, m.Cluster, 1, "a", "b", "c")
}

// split kills the third server and has a commit that only the two others hold.
func (m *memory) split(t *testing.T, before func(standby *testcluster.Node)) (primary, standby, third *testcluster.Node) {
	t.Helper()
	primary = m.Primary()
	standby, third = m.Others(primary)[0], m.Others(primary)[1]
	m.commit(t, primary)
	before(standby)
	m.KillNode(third)
	m.commit(t, primary)
	return primary, standby, third
}

// forgotten is the whole scene: with the primary gone the standby, which has forgotten, and the third, which never knew,
// are two of three, and must wait.
func (m *memory) forgotten(t *testing.T, before func(*testcluster.Node), forget func(*testing.T, *testcluster.Node)) {
	t.Helper()
	primary, standby, third := m.split(t, before)
	m.KillNode(standby)
	m.KillNode(primary)
	forget(t, standby)
	m.StartAgent(standby)
	m.StartAgent(third)
	wantStatus(t, m.Cluster, third, func(s api.Status) string {
		if !s.HasQuorum || len(s.Sync.Lost) == 0 {
			return fmt.Sprintf("quorum %v, sync %+v", s.HasQuorum, s.Sync)
		}
		return ""
	})
	out, err := order(t, m.Cluster, third, "failover", "-yes")
	if err == nil {
		t.Errorf("a failover that loses a commit went well: %s", out)
	}
	wantText(t, "pgraft failover", out, standby.Name, "its data is lost", primary.Name, "-allow-data-loss")
	wantNoPrimary(t, m.Cluster, 3*time.Second, standby, third)
	m.StartAgent(primary)
	if now := m.Primary(); now != primary {
		t.Errorf("%s is primary, want %s, which alone has all commits", now.Name, primary.Name)
	}
	m.wantAll(t)
}

func (m *memory) remove(t *testing.T, n *testcluster.Node) {
	t.Helper()
	if err := os.RemoveAll(n.Postgres.DataDir); err != nil {
		t.Fatal(err)
	}
}

// backUp copies a standby's data directory as it is, with nothing running in it.
func (m *memory) backUp(n *testcluster.Node) {
	m.KillNode(n)
	_ = os.RemoveAll(m.copies)
	m.copy(n.Postgres.DataDir, m.copies)
	m.StartAgent(n)
	m.Eventually(30*time.Second, func() error {
		s, err := m.Status(n)
		if err == nil && (s.Role != "standby" || len(s.Sync.Members) < 3) {
			err = fmt.Errorf("%s is %s", n.Name, s.Role)
		}
		return err
	})
}

// copyLive copies it while PostgreSQL works there, as snapshots do.
func (m *memory) copyLive(n *testcluster.Node) {
	m.Eventually(10*time.Second, func() error {
		_ = os.RemoveAll(m.copies)
		return exec.Command("cp", "-a", n.Postgres.DataDir, m.copies).Run()
	})
}

func (m *memory) copy(from, to string) {
	m.Eventually(0, func() error {
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w: %s", from, err, out)
		}
		return nil
	})
}

// restoreBeside puts another directory in the place of the data directory.
func (m *memory) restoreBeside(t *testing.T, n *testcluster.Node) {
	t.Helper()
	m.remove(t, n)
	m.copy(m.copies, n.Postgres.DataDir)
}

// restoreOver puts files back as rsync would: the directory, and what has not changed, stay.
func (m *memory) restoreOver(t *testing.T, n *testcluster.Node) {
	t.Helper()
	entries, err := os.ReadDir(n.Postgres.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "PG_VERSION" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(n.Postgres.DataDir, e.Name())); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(m.copies, e.Name())); err == nil {
			m.copy(filepath.Join(m.copies, e.Name()), n.Postgres.DataDir)
		}
	}
}

// reinitRefused: a standby on which an acknowledged commit hangs is not thrown away.
func (m *memory) reinitRefused(t *testing.T) {
	t.Helper()
	primary, standby, third := m.split(t, func(*testcluster.Node) {})
	waitMembersOn(t, m.Cluster, standby, 1, "a", "b", "c")
	out, err := order(t, m.Cluster, primary, "reinit", "-yes", standby.Name)
	if err == nil {
		t.Errorf("the only other copy of a commit was thrown away: %s", out)
	}
	wantText(t, "pgraft reinit", out, standby.Name, third.Name)
	waitMembersOn(t, m.Cluster, primary, 1, "a", "b", "c")
	m.StartAgent(third)
	m.wantAll(t)
}

// reinit: while a standby's data is made anew the primary is lost. The third has all, and takes over, unless the new
// copy was whole already and counted: on a quick machine that is a matter of a second.
func (m *memory) reinit(t *testing.T) {
	t.Helper()
	primary := m.Primary()
	standby, third := m.Others(primary)[0], m.Others(primary)[1]
	m.commit(t, primary)
	if out, err := order(t, m.Cluster, primary, "reinit", "-yes", standby.Name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.commit(t, primary)
	m.KillNode(primary)
	now := m.Primary(standby, third)
	t.Logf("%s is primary; the data of %s was being made anew", now.Name, standby.Name)
	wantRow(t, now, "SELECT count(*) FROM kept", fmt.Sprint(m.n))
	m.StartAgent(primary)
	m.wantAll(t)
}

// allowDataLoss: an operator goes on without the primary, and is told what that may cost.
func (m *memory) allowDataLoss(t *testing.T) {
	t.Helper()
	primary, standby, third := m.split(t, func(*testcluster.Node) {})
	m.KillNode(standby)
	m.KillNode(primary)
	m.remove(t, standby)
	m.StartAgent(standby)
	m.StartAgent(third)
	wantStatus(t, m.Cluster, third, func(s api.Status) string {
		if !s.HasQuorum {
			return "no quorum"
		}
		return ""
	})
	if out, err := order(t, m.Cluster, third, "failover", "-allow-data-loss"); err == nil {
		t.Errorf("data was given up without -yes: %s", out)
	}
	out, err := order(t, m.Cluster, third, "failover", "-allow-data-loss", "-yes")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("pgraft failover -allow-data-loss: %s", out)
	wantText(t, "pgraft failover -allow-data-loss", out, third.Name, "may be lost", primary.Name, standby.Name)
	wantTold(t, third, "promote", "commits may be lost", third.Name)
	m.n-- // it was on the other two only
	wantRow(t, third, "SELECT count(*) FROM kept", fmt.Sprint(m.n))
	m.StartAgent(primary)
	m.wantAll(t)
}
