package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
	"github.com/pgraft/pgraft/postgres"
)

// TestManagedLoad puts a cluster through what a machine does to servers without killing them: no time, no answer, no
// room. Each part ends with a whole cluster.
func TestManagedLoad(t *testing.T) {
	c, disk := loadCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInserts(ctx, t, c, 4)
	load.wantMore(t, 100)
	t.Run("FullDisk", func(t *testing.T) { fullPostgresDisk(t, c, load, disk) })
	for _, f := range []struct {
		name  string
		fault func(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node)
		stays bool // else it may go elsewhere
		moves bool // else it may come back first
	}{
		{"AllCoresBusy", busyCores, true, false},
		{"BackendKilled", killBackend, false, false},
		{"StandbyFrozen", freezeStandby, true, false},
		{"PostmasterFrozen", freezePostmaster, false, true},
		{"PostgreSQLFrozen", freezePrimary, false, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.In(t)
			before, begun := c.Primary(), time.Now()
			f.fault(t, c, before)
			load.wantMore(t, 100)
			t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
			waitManaged(t, c)
			logHistory(t, c, begun)
			after := c.Primary()
			if f.stays && after != before || f.moves && after == before {
				t.Errorf("primary was %s and is %s", before.Name, after.Name)
			}
		})
	}
	cancel()
	load.verify(t, c)
}

// loadCluster is three nodes, the first of which has a small disk for PostgreSQL.
func loadCluster(t *testing.T) (c *testcluster.Cluster, disk string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, NOT PASSED: mounting a small disk needs root")
	}
	c = testcluster.Custom(t)
	place := c.DataPlace("small")
	disk = filepath.Dir(place)
	mountPostgresDisk(t, disk)
	// What is kept for a rewind would fill it in a few failovers.
	params := "wal_keep_size = \"64MB\"\n    max_wal_size = \"64MB\"\n    min_wal_size = \"32MB\"\n    max_slot_wal_keep_size = \"96MB\""
	var nodes []*testcluster.Node
	for _, name := range []string{"a", "b", "c"} {
		spec := testcluster.Spec{Name: name, Expect: 3, Join: nodes}
		pg := testcluster.PostgresSpec{Params: params}
		if name == "a" {
			pg.DataDir = place
		}
		nodes = append(nodes, c.AddManaged(spec, pg))
	}
	c.StartAll()
	t.Cleanup(func() { c.KillNode(nodes[0]) }) // before its disk goes
	waitManaged(t, c)
	return c, disk
}

func mountPostgresDisk(t *testing.T, dir string) {
	t.Helper()
	owner, err := postgres.FindOwner("postgres")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=600m,mode=0755"); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	if err := owner.Own(dir); err != nil {
		t.Fatal(err)
	}
}

// fullPostgresDisk lets somebody else's file take all room of the primary's disk. Another node takes over; the full one
// says what is wrong, and comes back when there is room.
func fullPostgresDisk(t *testing.T, c *testcluster.Cluster, load *inserts, disk string) {
	c.In(t)
	small := c.Nodes[0]
	if c.Primary() != small {
		switchoverTo(t, c, small)
	}
	begun := time.Now()
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	// Commits go on until the WAL needs another file.
	testcluster.Eventually(t, 60*time.Second, func() error {
		for _, n := range c.Others(small) {
			if s, err := c.Status(n); err == nil && s.Role == api.RolePrimary {
				return nil
			}
		}
		_, err := runPsql(t, multiHost(c), "CREATE TABLE IF NOT EXISTS large AS SELECT repeat('x', 1000) FROM generate_series(1, 20000); DROP TABLE IF EXISTS large")
		return fmt.Errorf("no other primary yet (%w)", err)
	})
	load.wantMore(t, 100)
	t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
	said := wantStatus(t, c, small, func(s api.Status) string {
		if s.WorkerState == api.WorkerRunning || !strings.Contains(strings.ToLower(s.WorkerMessage), "no space left on device") {
			return fmt.Sprintf("the agent is %s: %s", s.WorkerState, s.WorkerMessage)
		}
		return ""
	})
	t.Logf("%s says: %s", small.Name, said.WorkerMessage)
	load.wantMore(t, 100)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waitManaged(t, c)
}

// logHistory shows what the cluster says it did.
func logHistory(t *testing.T, c *testcluster.Cluster, since time.Time) {
	t.Helper()
	events, err := eventsOf(t.Context(), c.Nodes[0])
	if err != nil {
		t.Error(err)
	}
	for _, e := range events {
		if e.Time.After(since) {
			t.Logf("%7.3f s %s %s", e.Time.Sub(since).Seconds(), e.Type, e.Message)
		}
	}
}

// fill takes all room there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

func switchoverTo(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	testcluster.Eventually(t, 60*time.Second, func() error {
		if c.Primary() == n {
			return nil
		}
		out, code := c.Run(n, "switchover", "-yes", n.Name)
		return fmt.Errorf("%s is not the primary; the attempt ended with %d: %s", n.Name, code, out)
	})
	waitManaged(t, c)
}

// busyCores takes all cores for 20 seconds.
func busyCores(t *testing.T, c *testcluster.Cluster, _ *testcluster.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var loops []*exec.Cmd
	for range 2 * runtime.NumCPU() {
		cmd := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		loops = append(loops, cmd)
	}
	for _, cmd := range loops {
		_ = cmd.Wait() // ctx ends it
	}
}

// killBackend kills one client's server process, which PostgreSQL answers with ending all.
func killBackend(t *testing.T, _ *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	text := psql(t, primary, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE 'INSERT INTO journal%' AND pid <> pg_backend_pid() LIMIT 1")
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	killPID(t, pid)
}

func freezeStandby(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	frozen := freezePostgres(t, c.Others(primary)[0])
	time.Sleep(5 * time.Second)
	thaw(frozen)
}

// freezePostmaster stops the one process that lets clients in: sessions that are there go on, and nobody else can come.
func freezePostmaster(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	pid := postmasterOf(t, primary)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantOtherPrimary(t, c, primary)
}

// freezePrimary stops all of PostgreSQL while its agent sees the processes.
func freezePrimary(t *testing.T, c *testcluster.Cluster, primary *testcluster.Node) {
	t.Helper()
	frozen := freezePostgres(t, primary)
	wantOtherPrimary(t, c, primary)
	thaw(frozen)
}

func thaw(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

func wantOtherPrimary(t *testing.T, c *testcluster.Cluster, old *testcluster.Node) {
	t.Helper()
	begun := time.Now()
	testcluster.Eventually(t, 40*time.Second, func() error {
		for _, n := range c.Others(old) {
			if s, err := c.Status(n); err == nil && s.Role == api.RolePrimary {
				return nil
			}
		}
		return fmt.Errorf("no primary but %s", old.Name)
	})
	t.Logf("another node was the primary after %s", time.Since(begun).Round(time.Millisecond))
}
