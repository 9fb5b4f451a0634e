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

	"github.com/pgraft/pgraft/internal/testcluster"
)

// diskSize has room for the log's first file and not for the second.
const diskSize = 110 << 20

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

	failed := fillDisk(t, small)
	t.Logf("the write that met the full disk: %d %s", failed.code, failed.body)
	next := c.Leader(nodes[1:]...)
	for i, n := range nodes[1:] {
		mustPut(t, n, fmt.Sprintf("during/%d", i), "v")
	}
	wantText(t, "the log of the full node", c.LogOf(small), "no space left on device")
	if a, err := ask(t.Context(), small, "GET", "/livez", ""); err != nil || a.code != 200 {
		t.Errorf("livez on the full node: %v %d", err, a.code)
	}
	wantKey(t, small, "before", "v")
	if s := statusOf(t, c, small); s.IsLeader {
		t.Error("the full node claims to lead")
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	mustPut(t, next, "after", "v")
	if !comesBack(t, small) {
		// An operator may have to start the agent again; the log's library gives up on some errors for good.
		t.Log("the full node did not come back by itself in 20 s: starting its agent again")
		c.TerminateAgent(small)
		c.StartAgent(small)
	}
	c.WaitWhole()
	for _, n := range nodes {
		for _, key := range []string{"before", "during/0", "during/1", "after"} {
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
	if out, err := exec.Command("fallocate", "-l", fmt.Sprint(20<<20), ballast).CombinedOutput(); err != nil {
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

// fillDisk writes large values until one is refused, and returns the refusal.
func fillDisk(t *testing.T, n *testcluster.Node) answer {
	t.Helper()
	value := strings.Repeat("x", 480<<10)
	for range 400 {
		a, err := ask(t.Context(), n, "PUT", "/v1/kv/large", value)
		if err != nil {
			t.Fatalf("put on a node whose disk runs full: %v", err)
		}
		if a.code != 200 {
			if (a.code != 503 && a.code != 504) || !strings.Contains(a.body, "\"error\"") {
				t.Errorf("the write that met the full disk got no clear answer: %d %s", a.code, a.body)
			}
			return a
		}
	}
	t.Fatal("400 large writes did not fill the disk")
	return answer{}
}

func comesBack(t *testing.T, n *testcluster.Node) bool {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if a, err := ask(t.Context(), n, "GET", "/v1/kv/after?raw&stale", ""); err == nil && a.code == 200 {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}
