package testcluster

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say what cluster to start. The zero value is three nodes and a binary with the race detector.
type Options struct {
	Nodes  int
	NoRace bool // build without the race detector: for benchmarks
	// Managed gives the cluster a primary and standbys, which the agents run. Without it each node's PostgreSQL is
	// independent.
	Managed bool
	// Args are further arguments of `pgraft demo`.
	Args []string
}

// Node is one node as cluster.json describes it.
type Node struct {
	Name        string       `json:"name"`
	Config      string       `json:"config"`
	DataDir     string       `json:"data_dir"`
	RunDir      string       `json:"run_dir"`
	HTTP        string       `json:"http"`
	Raft        string       `json:"raft"`
	Gossip      string       `json:"gossip"`
	ConsolePort int          `json:"console_port"`
	StatusFile  string       `json:"status_file"`
	AgentPID    int          `json:"agent_pid"`
	Log         string       `json:"log"`
	Postgres    PostgresInfo `json:"postgres"`

	Host   *Host        `json:"-"` // nil: this machine
	Client *http.Client `json:"-"` // nil: one that suits the host
}

// DSN reaches the node's PostgreSQL.
func (n *Node) DSN() string { return n.Postgres.DSN() }

// Cluster is a running demo, or nodes that a test put together itself.
type Cluster struct {
	Dir    string
	Binary string
	Nodes  []*Node

	tb       testing.TB
	root     string        // holds all that the cluster writes
	demo     *exec.Cmd     // nil without a demo
	done     chan struct{} // closed when the demo's process ended
	out      *lockedBuffer
	nextPort int // of the next added node, 0 = none was added yet

	mu     sync.Mutex
	agents map[string]*exec.Cmd // agents this package started again, by node name
}

func newCluster(tb testing.TB, race bool) *Cluster {
	tb.Helper()
	c := &Cluster{
		Binary: Build(tb, race), tb: tb, out: &lockedBuffer{}, done: make(chan struct{}), agents: make(map[string]*exec.Cmd),
	}
	// Unix socket paths are short, and PostgreSQL's user has to reach the directory: t.TempDir fits neither.
	var err error
	if c.root, err = os.MkdirTemp("", "pgraft-test-"); err != nil { //nolint:usetesting // see above
		tb.Fatal(err)
	}
	if err := os.Chmod(c.root, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(c.root) })
	return c
}

// Start runs a cluster and waits until it is ready. It stops with the test.
func Start(tb testing.TB, opts Options) *Cluster {
	tb.Helper()
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	c := newCluster(tb, !opts.NoRace)
	c.Dir = filepath.Join(c.root, "c")
	args := append([]string{
		"demo", "-nodes=" + strconv.Itoa(opts.Nodes), "-dir=" + c.Dir, "-base-port=" + strconv.Itoa(FreePorts(tb, 10*opts.Nodes)),
	}, opts.Args...)
	if !opts.Managed {
		args = append(args, "-external")
	}
	c.demo = exec.Command(c.Binary, args...)
	c.demo.Env, c.demo.Stdout, c.demo.Stderr = environ(), c.out, c.out
	if err := c.demo.Start(); err != nil {
		tb.Fatalf("start demo: %v", err)
	}
	go func() { _ = c.demo.Wait(); close(c.done) }()
	tb.Cleanup(c.stop)
	c.waitReady()
	return c
}

func (c *Cluster) waitReady() {
	c.tb.Helper()
	path := filepath.Join(c.Dir, "cluster.json")
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if raw, err := os.ReadFile(path); err == nil {
			doc := struct{ Nodes []*Node }{}
			if err := json.Unmarshal(raw, &doc); err != nil {
				c.tb.Fatalf("parse cluster.json: %v", err)
			}
			c.Nodes = doc.Nodes
			return
		}
		select {
		case <-c.done:
			c.tb.Fatalf("demo ended before it was ready:\n%s", c.out)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			c.dumpLogs()
			c.tb.Fatalf("demo was not ready after 2 minutes:\n%s", c.out)
		}
	}
}

func (c *Cluster) stop() {
	for _, n := range c.Nodes {
		c.Continue(n)
	}
	c.checkLogs()
	if c.tb.Failed() {
		c.dumpLogs()
	}
	if c.demo != nil {
		c.stopDemo()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range c.agents {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for _, n := range c.Nodes {
		c.endManaged(n)
	}
	if left := processesNaming(c.root); len(left) > 0 {
		c.tb.Errorf("the test left processes behind: %v", left)
	}
}

func (c *Cluster) stopDemo() {
	_ = c.demo.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(60 * time.Second):
		_ = c.demo.Process.Kill()
		c.tb.Errorf("demo did not stop in 60 s:\n%s", c.out)
	}
	if _, err := os.Stat(c.Dir); err == nil {
		c.tb.Errorf("demo left %s behind", c.Dir)
	}
	if left := processesNaming(c.Dir); len(left) > 0 {
		c.tb.Errorf("demo left processes behind: %v", left)
	}
}

// In makes what fails in the cluster's own methods fail the part of a test that begins, until that ends.
func (c *Cluster) In(t *testing.T) {
	t.Helper()
	whole := c.tb
	c.tb = t
	t.Cleanup(func() { c.tb = whole })
}

// Output is what the demo has printed so far.
func (c *Cluster) Output() string { return c.out.String() }

// Stop ends the demo as Ctrl-C does and waits for it. It may be called before the test ends.
func (c *Cluster) Stop() {
	c.tb.Helper()
	_ = c.demo.Process.Signal(os.Interrupt)
	select {
	case <-c.done:
	case <-time.After(60 * time.Second):
		c.tb.Fatalf("demo did not stop in 60 s:\n%s", c.out)
	}
}

// logs returns what each agent has logged, by the path of its log.
func (c *Cluster) logs() map[string][]byte {
	paths, _ := filepath.Glob(filepath.Join(c.root, "*", "*", "agent.log"))
	logs := make(map[string][]byte, len(paths))
	for _, path := range paths {
		if raw, err := os.ReadFile(path); err == nil {
			logs[path] = raw
		}
	}
	return logs
}

// checkLogs fails the test for what no agent may ever log, whatever it was put through.
func (c *Cluster) checkLogs() {
	for path, log := range c.logs() {
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
			if i := bytes.Index(log, []byte(bad)); i >= 0 {
				c.tb.Errorf("%s:\n%s", path, log[i:min(len(log), i+4000)])
			}
		}
	}
}

// logTail is how many bytes of each agent's log a failed test shows. go test prints what a subtest says after what its
// parent logs, and CI keeps a few kilobytes: with more, the failure itself would be cut away.
const logTail = 2500

func (c *Cluster) dumpLogs() {
	if c.demo != nil {
		c.tb.Logf("demo's output:\n%s", c.out)
	}
	for path, log := range c.logs() {
		c.tb.Logf("%s:\n%s", path, tail(log, logTail))
	}
	for _, n := range c.Nodes {
		if log, err := os.ReadFile(n.Postgres.DataDir + ".log"); err == nil && n.Postgres.DataDir != "" {
			c.tb.Logf("PostgreSQL of %s:\n%s", n.Name, tail(log, logTail/2))
		}
	}
}

func tail(raw []byte, n int) []byte {
	if len(raw) > n {
		return raw[len(raw)-n:]
	}
	return raw
}

// FreePorts returns the first of n ports in a row that were free a moment ago.
func FreePorts(tb testing.TB, n int) int {
	tb.Helper()
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		base := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		// Below the kernel's range of ports that it hands out to outgoing connections, so that none of those takes one.
		base = 10000 + base%20000
		if portsFree(base, n) {
			return base
		}
	}
	tb.Fatalf("no %d free ports in a row", n)
	return 0
}

func portsFree(base, n int) bool {
	for port := base; port < base+n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
