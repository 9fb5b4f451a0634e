package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// The disk has room for two of the log's files of 64 MiB, less a ballast that leaves room for one.
const (
	diskSize    = 200 << 20
	ballastSize = 100 << 20
)

// TestFullDisk lets the disk of the leader run full under writes. It says so, the others go on without it, and it comes
// back by itself when there is room.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, NOT PASSED: mounting a small disk needs root")
	}
	c := testcluster.Custom(t)
	nodes := c.AddAll(testcluster.Spec{Name: "a"}, testcluster.Spec{Name: "b"}, testcluster.Spec{Name: "c"})
	small := nodes[0]
	ballast := mountSmallDisk(t, small.DataDir)
	c.StartAll()
	makeLeader(t, c, small)
	mustPut(t, small, "before", "v")

	fillDisk(t, c, small)
	for i, n := range nodes {
		mustPut(t, n, fmt.Sprintf("during/%d", i), "v") // the full node hands them on
	}
	next := c.Leader(nodes[1:]...)
	wantKey(t, small, "before", "v")
	s := wantStatus(t, c, small, func(s api.Status) string {
		if s.WorkerState != api.WorkerError || s.IsLeader {
			return fmt.Sprintf("leads: %v, worker is %s (%s)", s.IsLeader, s.WorkerState, s.WorkerMessage)
		}
		return ""
	})
	wantText(t, "the worker's message", s.WorkerMessage, small.DataDir, "no space left on device")
	if a, err := ask(t.Context(), small, "GET", "/livez", ""); err != nil || a.code != 200 {
		t.Errorf("livez on the full node: %v %d", err, a.code)
	}
	if a, err := ask(t.Context(), small, "GET", "/readyz", ""); err != nil || a.code != 503 {
		t.Errorf("readyz on the full node: %v %d", err, a.code)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	mustPut(t, next, "after", "v")
	if !comesBack(t, small) {
		t.Error("the full node did not come back by itself in 30 s: starting its agent again")
		c.TerminateAgent(small)
		c.StartAgent(small)
	}
	c.WaitWhole()
	for _, n := range nodes {
		for _, key := range []string{"before", "during/0", "during/1", "during/2", "after"} {
			wantKey(t, n, key, "v")
		}
	}
}

// mountSmallDisk puts a disk of its own under dir, most of which a ballast file takes.
func mountSmallDisk(t *testing.T, dir string) (ballast string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskSize)); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		// The agent may still run if the test failed: the disk goes when it does.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	ballast = filepath.Join(dir, "ballast")
	if out, err := exec.Command("fallocate", "-l", fmt.Sprint(ballastSize), ballast).CombinedOutput(); err != nil {
		t.Fatalf("make ballast: %v: %s", err, out)
	}
	return ballast
}

// makeLeader moves leadership to a node.
func makeLeader(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	testcluster.Eventually(t, 60*time.Second, func() error {
		if s, err := c.Status(n); err != nil || s.IsLeader {
			return err
		}
		out, code := c.Run(n, "operator", "raft", "transfer-leader", n.Name)
		return fmt.Errorf("%s does not lead; the attempt ended with %d: %s", n.Name, code, strings.TrimSpace(out))
	})
}

// fillDisk writes large values until the node says that its disk is full. Whoever leads then: no write may be lost, and
// each gets an answer.
func fillDisk(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	value := strings.Repeat("x", 480<<10)
	for range 400 {
		a, err := ask(t.Context(), n, "PUT", "/v1/kv/large", value)
		if err != nil || a.code != 200 && a.code != 503 && a.code != 504 {
			t.Fatalf("put on a node whose disk runs full: %v %d %s", err, a.code, a.body)
		}
		if a.code != 200 {
			t.Logf("a write while the disk ran full: %d %s", a.code, a.body)
		}
		if strings.Contains(c.LogOf(n), "no space left on device") {
			return
		}
	}
	t.Fatal("400 large writes did not fill the disk")
}

func comesBack(t *testing.T, n *testcluster.Node) bool {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if a, err := ask(t.Context(), n, "GET", "/v1/kv/after?raw&stale", ""); err == nil && a.code == 200 {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}
