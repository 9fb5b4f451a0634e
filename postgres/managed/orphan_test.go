package managed_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgraft/pgraft/postgres/managed"
)

// TestHelperClone is not a test: it is the agent that TestCloneDiesWithTheAgent kills.
func TestHelperClone(t *testing.T) {
	source := os.Getenv("PGRAFT_TEST_CLONE")
	if source == "" {
		t.Skip("not a test")
	}
	dir := os.Getenv("PGRAFT_TEST_DIR")
	server, err := managed.New(managed.Config{
		DataDir: filepath.Join(dir, "data"), StateDir: filepath.Join(dir, "state"), SocketDir: filepath.Join(dir, "s"), Port: 5432,
	})
	must(t, err)
	t.Fatal(server.Clone(testContext(t), managed.CloneSource{Conninfo: source}, nil))
}

func TestCloneDiesWithTheAgent(t *testing.T) {
	primary, _ := newPrimary(t)
	conninfo := allowReplication(t, primary, "")
	server, cfg := newServer(t)
	// Held up by freezing the primary's side of it.
	agent := exec.Command(os.Args[0], "-test.run", "^TestHelperClone$")
	agent.Env = append(os.Environ(), "PGRAFT_TEST_CLONE="+conninfo, "PGRAFT_TEST_DIR="+filepath.Dir(cfg.DataDir))
	must(t, agent.Start())
	t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
	var senders []string
	eventually(t, "it clones", func() error {
		senders = strings.Fields(query(t, primary, "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity WHERE backend_type = 'walsender'"))
		if len(senders) == 0 {
			return errors.New("nobody does")
		}
		return nil
	})
	freezeAll(t, senders)
	clones := func() string {
		out, _ := exec.Command("pgrep", "-f", filepath.Join(cfg.DataDir, "pgraft.new")).Output() // fails for none
		return strings.TrimSpace(string(out))
	}
	if clones() == "" {
		t.Skip("SKIPPED: the clone was done before it could be held up")
	}
	must(t, agent.Process.Kill())
	eventually(t, "pg_basebackup is gone", func() error {
		if pids := clones(); pids != "" {
			return fmt.Errorf("processes %s", pids)
		}
		return nil
	})
	if data := inspect(t, server); !data.Partial {
		t.Errorf("after it: %+v", data)
	}
}

func freezeAll(t *testing.T, pids []string) {
	t.Helper()
	for _, text := range pids {
		var pid int
		_, err := fmt.Sscan(text, &pid)
		must(t, err)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}
