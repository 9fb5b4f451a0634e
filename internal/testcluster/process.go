package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
)

// EnvBinary names a binary with the race detector that is there already, so that not every test links its own.
const EnvBinary = "PGRAFT_TEST_BINARY"

// Build compiles the binary into the test's own directory, unless EnvBinary names one.
func Build(tb testing.TB, race bool) string {
	tb.Helper()
	if bin := os.Getenv(EnvBinary); race && bin != "" {
		return bin
	}
	bin := filepath.Join(tb.TempDir(), "pgraft")
	if err := BuildAt(bin, race); err != nil {
		tb.Fatal(err)
	}
	return bin
}

// BuildAt compiles the binary.
func BuildAt(path string, race bool) error {
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/pgraft/pgraft")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build pgraft: %w: %s", err, out)
	}
	return nil
}

// environ keeps the race detector from holding up the end of every process for a second.
func environ() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=0") }

// KillAgent ends a node's agent with SIGKILL and waits until it is gone.
func (c *Cluster) KillAgent(n *Node) { c.endAgent(n, syscall.SIGKILL) }

// TerminateAgent ends a node's agent with SIGTERM and waits until it is gone.
func (c *Cluster) TerminateAgent(n *Node) { c.endAgent(n, syscall.SIGTERM) }

func (c *Cluster) endAgent(n *Node, sig syscall.Signal) {
	c.tb.Helper()
	if err := syscall.Kill(n.AgentPID, sig); err != nil {
		c.tb.Fatalf("signal agent %s (pid %d): %v", n.Name, n.AgentPID, err)
	}
	c.Reap(n)
	c.Eventually(30*time.Second, func() error {
		if alive(n.AgentPID) {
			return fmt.Errorf("agent %s (pid %d) is still there", n.Name, n.AgentPID)
		}
		return nil
	})
}

// Reap waits for an agent that this package started, if it did, so that no zombie stays.
func (c *Cluster) Reap(n *Node) {
	c.mu.Lock()
	cmd := c.agents[n.Name]
	delete(c.agents, n.Name)
	c.mu.Unlock()
	if cmd != nil {
		_ = cmd.Wait()
	}
}

// Freeze stops a node's agent with SIGSTOP.
func (c *Cluster) Freeze(n *Node) {
	c.tb.Helper()
	if err := syscall.Kill(n.AgentPID, syscall.SIGSTOP); err != nil {
		c.tb.Fatalf("freeze agent %s: %v", n.Name, err)
	}
}

// Continue lets a frozen agent run on.
func (c *Cluster) Continue(n *Node) { _ = syscall.Kill(n.AgentPID, syscall.SIGCONT) }

// StartAgent starts a node's agent again as an operator would, with further arguments if given.
func (c *Cluster) StartAgent(n *Node, args ...string) {
	c.tb.Helper()
	log, err := os.OpenFile(n.Log, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		c.tb.Fatal(err)
	}
	defer log.Close()
	cmd := c.Command(context.Background(), n, append([]string{"agent", "-config=" + n.Config}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.tb.Fatalf("start agent %s: %v", n.Name, err)
	}
	n.AgentPID = cmd.Process.Pid
	c.mu.Lock()
	c.agents[n.Name] = cmd
	c.mu.Unlock()
}

// KillPostgres ends a node's postmaster with SIGKILL and waits until it and its children are gone.
func (c *Cluster) KillPostgres(n *Node) {
	c.tb.Helper()
	pid := c.postmaster(n)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		c.tb.Fatalf("stop postgres of %s: %v", n.Name, err)
	}
	killed := processesNaming(n.Postgres.DataDir) // a stopped postmaster starts no more
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.tb.Fatalf("kill postgres of %s: %v", n.Name, err)
	}
	c.Eventually(30*time.Second, func() error {
		left := slices.DeleteFunc(processesNaming(n.Postgres.DataDir), func(p string) bool { return !slices.Contains(killed, p) })
		if len(left) > 0 || alive(pid) {
			return fmt.Errorf("postgres of %s is still there: %v", n.Name, left)
		}
		return nil
	})
}

// StopPostgres stops a node's PostgreSQL with pg_ctl.
func (c *Cluster) StopPostgres(n *Node) {
	c.tb.Helper()
	c.pgctl(n, "stop", "-m", "immediate", "-w")
}

// StartPostgres starts a node's PostgreSQL again.
func (c *Cluster) StartPostgres(n *Node) {
	c.tb.Helper()
	c.Eventually(60*time.Second, func() error {
		return c.tryPgctl(n, "start", "-w", "-t", "30", "-l", filepath.Join(n.Postgres.DataDir, "restart.log"))
	})
}

func (c *Cluster) pgctl(n *Node, args ...string) {
	c.tb.Helper()
	if err := c.tryPgctl(n, args...); err != nil {
		c.tb.Fatal(err)
	}
}

func (c *Cluster) tryPgctl(n *Node, args ...string) error {
	info, err := os.Stat(n.Postgres.DataDir)
	if err != nil {
		return err
	}
	bin, err := PostgresBin()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bin, "pg_ctl"), append([]string{"-D", n.Postgres.DataDir}, args...)...)
	cmd.Dir = n.Postgres.DataDir
	if st := info.Sys().(*syscall.Stat_t); os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pg_ctl %s for %s: %w: %s", args[0], n.Name, err, out.String())
	}
	return nil
}

// PostgresBin finds the directory of PostgreSQL's server programs, the newest if there are several.
func PostgresBin() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if len(dirs) > 0 {
		return filepath.Dir(dirs[len(dirs)-1]), nil
	}
	path, err := exec.LookPath("pg_ctl")
	if err != nil {
		return "", fmt.Errorf("find pg_ctl: %w", err)
	}
	return filepath.Dir(path), nil
}

func (c *Cluster) postmaster(n *Node) int {
	c.tb.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Postgres.DataDir, "postmaster.pid"))
	if err != nil {
		c.tb.Fatalf("read postmaster.pid of %s: %v", n.Name, err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		c.tb.Fatalf("parse postmaster.pid of %s: %v", n.Name, err)
	}
	return pid
}

// Status asks one agent over HTTP for what it knows.
func (c *Cluster) Status(n *Node) (api.Status, error) {
	var status api.Status
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL("/v1/status"), nil)
	if err != nil {
		return status, err
	}
	resp, err := n.HTTPClient().Do(req)
	if err != nil {
		return status, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return status, fmt.Errorf("status of %s: %s", n.Name, resp.Status)
	}
	return status, json.NewDecoder(resp.Body).Decode(&status)
}

// HTTPClient is a client that reaches the node's HTTP API.
func (n *Node) HTTPClient() *http.Client {
	switch {
	case n.Client != nil:
		return n.Client
	case n.Host != nil:
		return n.Host.HTTPClient()
	}
	return http.DefaultClient
}

// URL is an address of the node's HTTP API.
func (n *Node) URL(path string) string {
	if strings.Contains(n.HTTP, "://") {
		return n.HTTP + path
	}
	return "http://" + n.HTTP + path
}

// Leader waits until one of the nodes proves that it leads and returns it.
func (c *Cluster) Leader(among ...*Node) *Node {
	c.tb.Helper()
	if len(among) == 0 {
		among = c.Nodes
	}
	var leader *Node
	c.Eventually(60*time.Second, func() error {
		for _, n := range among {
			if s, err := c.Status(n); err == nil && s.IsLeader {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("no leader among %d nodes", len(among))
	})
	return leader
}

// Primary waits until one of the nodes proves that its PostgreSQL is the primary and returns it.
func (c *Cluster) Primary(among ...*Node) *Node {
	c.tb.Helper()
	if len(among) == 0 {
		among = c.Nodes
	}
	var primary *Node
	c.Eventually(60*time.Second, func() error {
		for _, n := range among {
			if s, err := c.Status(n); err == nil && s.Role == "primary" {
				primary = n
				return nil
			}
		}
		return fmt.Errorf("no primary among %d nodes", len(among))
	})
	return primary
}

// Others are all nodes but one.
func (c *Cluster) Others(not *Node) []*Node {
	var others []*Node
	for _, n := range c.Nodes {
		if n != not {
			others = append(others, n)
		}
	}
	return others
}

// Eventually tries until check returns nil; at the deadline the test fails with its last error.
func (c *Cluster) Eventually(within time.Duration, check func() error) {
	c.tb.Helper()
	Eventually(c.tb, within, check)
}

// Eventually tries until check returns nil; at the deadline the test fails with its last error.
func Eventually(tb testing.TB, within time.Duration, check func() error) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not in %s: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z'
}

// processesNaming lists live processes whose command line or working directory names dir.
func processesNaming(dir string) []string {
	var found []string
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		pid, _ := strconv.Atoi(filepath.Base(proc))
		if pid == os.Getpid() || !alive(pid) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(proc, "cwd"))
		if strings.Contains(string(cmdline), dir) || strings.HasPrefix(cwd, dir) {
			found = append(found, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(cmdline), "\x00", " ")))
		}
	}
	return found
}
