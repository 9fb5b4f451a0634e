package command_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/postgres"
)

// TestAgentDev runs a whole node in the foreground and sees it leave nothing behind.
func TestAgentDev(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, needs a real PostgreSQL")
	}
	if _, err := postgres.FindBinDir(""); err != nil {
		t.Skipf("SKIPPED, needs a real PostgreSQL: %v", err)
	}
	base := freePorts(t, 5)
	cmd := process(t, nil, "agent", "-dev", fmt.Sprintf("-http-port=%d", base), fmt.Sprintf("-raft-port=%d", base+1),
		fmt.Sprintf("-gossip-port=%d", base+2), fmt.Sprintf("-console-port=%d", base+3))
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	addr := fmt.Sprintf("-http-addr=127.0.0.1:%d", base)
	if r := run(t, "", "wait", addr, "-for=ready", "-timeout=60s"); r.code != 0 {
		t.Fatalf("%s\n%s", r.stderr, out.String())
	}
	if r := run(t, "", "kv", "put", addr, "a", "b"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	awaitDev(t, addr)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), "pgraft-dev-"+strconv.Itoa(cmd.Process.Pid)+"*"))
	if len(left) > 0 || !strings.Contains(out.String(), "psql") {
		t.Errorf("left %v\n%s", left, out.String())
	}
	if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+4)); err != nil {
		t.Errorf("PostgreSQL is still there: %v", err)
	} else {
		_ = l.Close()
	}
}

// freePorts returns the first of n ports in a row that were free a moment ago.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for base := 30000 + os.Getpid()%2000; base < 32700; base += n {
		free := true
		for port := base; port < base+n && free; port++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if free = err == nil; free {
				_ = l.Close()
			}
		}
		if free {
			return base
		}
	}
	t.Fatalf("no %d free ports in a row", n)
	return 0
}

// awaitDev waits until the agent leads and has prepared its PostgreSQL, which it may do after it is ready.
func awaitDev(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r := run(t, "", "status", addr, "-format=json")
		var s api.Status
		if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
			t.Fatalf("%v: %+v", err, r)
		}
		if s.IsLeader && s.Postgres.Up && s.Postgres.ExtensionVersion != "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("status: %s", r.stdout)
		}
	}
}
