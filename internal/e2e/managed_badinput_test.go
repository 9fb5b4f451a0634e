package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedBadInput starts agents on what they can't work with. Each says what to do, and goes on once that is done.
func TestManagedBadInput(t *testing.T) {
	c := testcluster.Custom(t)
	add := func(t *testing.T, name string, pg testcluster.PostgresSpec) *testcluster.Node {
		t.Helper()
		c.In(t)
		return c.AddManaged(testcluster.Spec{Name: name, Cluster: name, Expect: 1}, pg)
	}
	data := func(t *testing.T, name string) (*byHand, *testcluster.Node) {
		t.Helper()
		h := makeByHand(t, c, name)
		return h, add(t, name, testcluster.PostgresSpec{DataDir: h.dir, Port: h.port})
	}
	t.Run("Mode", func(t *testing.T) {
		h, n := data(t, "mode")
		chmod(t, h.dir, 0o777)
		wantManagedTrouble(t, c, n, "mode 0777", "chmod 0700")
		chmod(t, h.dir, 0o700)
		wantRow(t, n, "SELECT 1", "1")
	})
	t.Run("Owner", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("SKIPPED, NOT PASSED: changing a file's owner needs root")
		}
		h, n := data(t, "owner")
		if err := os.Chown(h.dir, 0, 0); err != nil {
			t.Fatal(err)
		}
		wantManagedTrouble(t, c, n, "belongs to user root", "chown -R postgres")
		if out, err := exec.Command("chown", "-R", "postgres", h.dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		wantRow(t, n, "SELECT 1", "1")
	})
	t.Run("Version", func(t *testing.T) {
		h, n := data(t, "version")
		if err := os.WriteFile(filepath.Join(h.dir, "PG_VERSION"), []byte("11\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantManagedTrouble(t, c, n, "PostgreSQL 11", "pg_upgrade")
	})
	t.Run("PortInUse", func(t *testing.T) {
		n := add(t, "port", testcluster.PostgresSpec{})
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(n.Postgres.Port)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		wantManagedTrouble(t, c, n, fmt.Sprint(n.Postgres.Port), "in use")
		_ = l.Close()
		wantRow(t, n, "SELECT 1", "1")
	})
	t.Run("NoRewind", func(t *testing.T) {
		mine := binWithout(t, c, "pg_rewind")
		n := add(t, "norewind", testcluster.PostgresSpec{Keys: fmt.Sprintf("bin_dir = %q", mine)})
		out, code := c.RunAgent(n)
		if code == 0 {
			t.Error("the agent ended well")
		}
		wantText(t, "the agent", out, "pg_rewind", mine, "postgres.bin_dir")
	})
}

// binWithout makes a folder of PostgreSQL's programs that lacks one.
func binWithout(t *testing.T, c *testcluster.Cluster, missing string) string {
	t.Helper()
	bin, err := testcluster.PostgresBin()
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(filepath.Dir(c.DataPlace("bin")), "bin")
	if err := os.Mkdir(mine, 0o755); err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob(filepath.Join(bin, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		if filepath.Base(program) == missing {
			continue
		}
		if err := os.Symlink(program, filepath.Join(mine, filepath.Base(program))); err != nil {
			t.Fatal(err)
		}
	}
	return mine
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// wantManagedTrouble starts an agent and waits until its status says what is wrong, and that nothing was started.
func wantManagedTrouble(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, words ...string) {
	t.Helper()
	c.StartAgent(n)
	t.Cleanup(func() { c.TerminateAgent(n) })
	wantStatus(t, c, n, func(s api.Status) string {
		for _, word := range words {
			if !strings.Contains(s.WorkerMessage, word) {
				return fmt.Sprintf("%s: %s, want %q", s.WorkerState, s.WorkerMessage, word)
			}
		}
		return ""
	})
	out, code := c.Run(n, "status")
	if code != 0 {
		t.Errorf("pgraft status: exit code %d", code)
	}
	for _, word := range words {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), word) {
			t.Errorf("pgraft status does not say %q:\n%s", word, out)
		}
	}
}
