package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long an agent may take to hand over and stop before it is killed, and to vanish after that.
const (
	agentStop  = 15 * time.Second
	agentKill  = 5 * time.Second
	agentCheck = 20 * time.Millisecond
)

// startAgent starts a node's agent in a session of its own: a Ctrl-C is for us, who stop things in order.
func (c *cluster) startAgent(n *node) error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open agent's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(c.cfg.Program, "agent", "-config="+n.configFile())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start agent of %s: %w", n.name, err)
	}
	n.agentPID = cmd.Process.Pid
	c.agents.Add(1)
	go c.watchAgent(n, cmd)
	return nil
}

// watchAgent reaps the agent and says so when it ends on its own; a test may have killed it.
func (c *cluster) watchAgent(n *node, cmd *exec.Cmd) {
	defer c.agents.Done()
	err := cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return
	}
	how := "exit code 0"
	if err != nil {
		how = err.Error()
	}
	fmt.Fprintf(c.cfg.Err, "The agent of %s (pid %d) ended: %s. Its log: %s\n  Start it again: %s agent -config=%s\n",
		n.name, cmd.Process.Pid, how, n.logFile(), callable(c.cfg.Program), n.configFile())
}

// stopAgent stops the agent that holds the node's data directory, whoever started it.
func (n *node) stopAgent() error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, agentStop}, {syscall.SIGKILL, agentKill}} {
		pid := n.runningAgent()
		if pid == 0 {
			return nil
		}
		// A frozen agent reacts to nothing but these two.
		_ = syscall.Kill(pid, step.signal)
		_ = syscall.Kill(pid, syscall.SIGCONT)
		if n.agentGone(pid, step.wait) {
			return nil
		}
	}
	return fmt.Errorf("stop agent of %s: process %d does not end", n.name, n.runningAgent())
}

// agentGone waits until pid is no longer the holder. An agent that is yet to take the lock is one of ours: its pid is
// known.
func (n *node) agentGone(pid int, within time.Duration) bool {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(agentCheck)
	defer tick.Stop()
	for n.runningAgent() == pid {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// runningAgent returns the pid of the node's agent: the holder of its data directory's lock, or the one we started if
// that has not come so far. 0 means none.
func (n *node) runningAgent() int {
	if pid := lockHolder(filepath.Join(n.dataDir(), "agent.lock")); pid != 0 {
		return pid
	}
	if n.agentPID != 0 && isAgent(n.agentPID, n.configFile()) {
		return n.agentPID
	}
	return 0
}

// lockHolder returns the pid in a lock file that some process has locked, 0 if none has.
func lockHolder(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	// The lock goes with the descriptor, so that this look at it leaves no trace.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0
	}
	text := make([]byte, 32)
	size, _ := f.Read(text) // nothing read: no number
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:size])))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// isAgent reports whether pid still is the process that we started: its number may be another's by now. Where
// processes can't be looked at, the answer is no, and the lock alone counts.
func isAgent(pid int, configFile string) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(cmdline), configFile)
}
