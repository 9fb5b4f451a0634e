package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManaged puts one cluster of a primary and two standbys through the faults that one machine can give it. Each part
// ends with a whole cluster, on which the next one stands; a load runs through all of them.
func TestManaged(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{Managed: true})
	waitManaged(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInserts(ctx, t, c, 4)
	readers := startReaders(ctx, t, c)
	load.wantMore(t, 100)
	for _, f := range []struct {
		name  string
		fault func(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node)
		moves bool // another node is the primary afterwards
	}{
		{"AgentOfPrimaryKilled", killAgent, false},
		{"AgentOfPrimaryFrozen", freezeAgent, false},
		{"LeadershipMoved", moveLeadership, false},
		{"StandbyKilled", killStandby, false},
		{"PostmasterOfPrimaryKilled", killPostmaster, true},
		{"PrimaryKilled", killBoth, true},
		{"Switchover", switchover, true},
		{"PostmasterFrozenWithAgent", freezeBoth, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.In(t)
			before := c.Primary()
			begun := time.Now()
			f.fault(t, c, before)
			load.wantMore(t, 100)
			t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
			waitManaged(t, c)
			if after := c.Primary(); (after != before) != f.moves {
				t.Errorf("primary was %s and is %s", before.Name, after.Name)
			}
		})
	}
	cancel()
	readers.Wait()
	load.verify(t, c)
	wantRoleLogged(t, c)
}

// wantRoleLogged fails for a node whose PostgreSQL's own log does not tell what it is now.
func wantRoleLogged(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		testcluster.Eventually(t, 10*time.Second, func() error {
			s, err := c.Status(n)
			if err != nil {
				return err
			}
			raw, err := os.ReadFile(n.Postgres.DataDir + ".log")
			if want := fmt.Sprintf("LOG:  pgraft: this server is %s in epoch %d ", s.Role, s.Epoch); err == nil && !bytes.Contains(raw, []byte(want)) {
				err = fmt.Errorf("PostgreSQL's log of %s lacks %q", n.Name, want)
			}
			return err
		})
	}
}

// waitManaged waits until the cluster has a primary, and standbys that stream from it and count.
func waitManaged(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		wantStatus(t, c, n, func(s api.Status) string {
			streaming := 0
			for _, other := range s.Nodes {
				if other.Role == "standby" && other.Status == api.NodeAlive {
					streaming++
				}
			}
			switch {
			case s.PrimaryID == 0:
				return "no primary"
			case streaming < len(s.Nodes)-1:
				return fmt.Sprintf("%d standbys: %+v", streaming, s.Nodes)
			case s.WorkerState != api.WorkerRunning:
				return fmt.Sprintf("the agent is %s: %s", s.WorkerState, s.WorkerMessage)
			case len(s.Sync.Members) < len(s.Nodes):
				return fmt.Sprintf("not all count: %+v", s.Sync)
			}
			return ""
		})
	}
}

func killAgent(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	c.KillAgent(primary)
	time.Sleep(3 * time.Second) // long enough for a failover, if there were one
	c.StartAgent(primary)
}

func freezeAgent(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	c.Freeze(primary)
	time.Sleep(5 * time.Second)
	c.Continue(primary)
}

func moveLeadership(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	target := c.Others(primary)[0]
	c.Leader(primary) // leadership follows the primary, and may not have yet
	if _, err := pgraft(t, c, primary, "operator", "raft", "transfer-leader", target.Name); err != nil {
		t.Error(err)
	}
}

func killStandby(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	c.KillPostgres(c.Others(primary)[0])
}

func killPostmaster(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	killPID(t, postmasterOf(t, primary))
}

func killBoth(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	killPID(t, postmasterOf(t, primary))
	c.KillAgent(primary)
	time.Sleep(3 * time.Second)
	c.StartAgent(primary)
}

func switchover(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	target := c.Others(primary)[0]
	if out, err := pgraft(t, c, primary, "switchover", "-yes", target.Name); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func freezeBoth(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	c.Freeze(primary)
	frozen := freezePostgres(t, primary)
	testcluster.Eventually(t, 30*time.Second, func() error {
		for _, n := range c.Others(primary) {
			if s, err := c.Status(n); err == nil && s.Role == "primary" {
				return nil
			}
		}
		return fmt.Errorf("no new primary")
	})
	for _, pid := range frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	c.Continue(primary)
}

// freezePostgres stops all processes of a node's PostgreSQL with SIGSTOP and returns them.
func freezePostgres(t *testing.T, n *testcluster.Node) []int {
	t.Helper()
	var pids []int
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		cwd, _ := os.Readlink(filepath.Join(proc, "cwd"))
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil || cwd != n.Postgres.DataDir {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err == nil {
			pids = append(pids, pid)
		}
	}
	t.Cleanup(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	return pids
}

func postmasterOf(t *testing.T, n *testcluster.Node) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Postgres.DataDir, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func killPID(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
