package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Spec describes a node that a test puts together itself. What it leaves open has the configuration's defaults.
type Spec struct {
	Name    string
	Cluster string    // cluster_name; default "test"
	Host    *Host     // nil: this machine, with ports of its own
	Expect  int       // bootstrap_expect
	Join    []*Node   // retry_join
	Data    *Database // nil: the node is a witness, or its agent runs its PostgreSQL
	Managed bool      // the agent runs its PostgreSQL; needs a Host, from whose network clients come without a password
	Config  string    // further HCL; it wins over what is written for it
}

// Ports of a node on a host of its own, as the configuration has them by default.
const (
	defaultHTTP = 7400 + iota
	defaultRaft
	defaultGossip
	defaultConsole
)

// maxCustom is how many nodes on this machine a cluster may get by Add.
const maxCustom = 20

// Custom returns a cluster without nodes: the test adds and starts them. It stops with the test.
func Custom(tb testing.TB) *Cluster {
	tb.Helper()
	c := newCluster(tb, true)
	c.Dir = filepath.Join(c.root, "c")
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.stop)
	return c
}

// Add makes a node's directories and configuration, and starts nothing. The node stands in Nodes from then on.
func (c *Cluster) Add(spec Spec) *Node {
	c.tb.Helper()
	if spec.Cluster == "" {
		spec.Cluster = "test"
	}
	dir := filepath.Join(c.root, "added", spec.Name)
	n := &Node{
		Name: spec.Name, Config: filepath.Join(dir, "agent.hcl"), DataDir: filepath.Join(dir, "data"), RunDir: filepath.Join(dir, "run"),
		StatusFile: filepath.Join(dir, "run", "status.json"), Log: filepath.Join(dir, "agent.log"), Host: spec.Host,
	}
	if err := os.MkdirAll(n.RunDir, 0o755); err != nil {
		c.tb.Fatal(err)
	}
	c.place(n)
	if spec.Data != nil {
		n.Postgres = spec.Data.info
	}
	if spec.Managed {
		c.manage(n)
	}
	if err := os.WriteFile(n.Config, []byte(c.render(n, spec)), 0o644); err != nil {
		c.tb.Fatal(err)
	}
	c.Nodes = append(c.Nodes, n)
	return n
}

// SetConfig puts further keys at the head of a node's configuration.
func (c *Cluster) SetConfig(n *Node, keys string) {
	c.tb.Helper()
	raw, err := os.ReadFile(n.Config)
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := os.WriteFile(n.Config, append([]byte(keys), raw...), 0o644); err != nil {
		c.tb.Fatal(err)
	}
}

// place gives a node its addresses.
func (c *Cluster) place(n *Node) {
	c.tb.Helper()
	ip, base := "127.0.0.1", defaultHTTP
	if n.Host != nil {
		ip = n.Host.IP
	} else {
		if c.nextPort == 0 {
			c.nextPort = FreePorts(c.tb, 4*maxCustom)
		}
		base = c.nextPort
		c.nextPort += 4
	}
	at := func(offset int) string { return net.JoinHostPort(ip, strconv.Itoa(base+offset)) }
	n.HTTP, n.Raft, n.Gossip, n.ConsolePort = at(0), at(defaultRaft-defaultHTTP), at(defaultGossip-defaultHTTP), base+defaultConsole-defaultHTTP
}

// Move gives a stopped node's host another address and writes it into the configurations of all nodes.
func (c *Cluster) Move(n *Node, ip string) {
	c.tb.Helper()
	old := n.Host.IP
	n.Host.Move(ip)
	c.place(n)
	if n.Postgres.Host == old {
		n.Postgres.Host = ip
	}
	for _, other := range c.Nodes {
		raw, err := os.ReadFile(other.Config)
		if err != nil {
			c.tb.Fatal(err)
		}
		// The address stands alone, or with a port behind it.
		moved := strings.NewReplacer(`"`+old+`"`, `"`+ip+`"`, `"`+old+`:`, `"`+ip+`:`).Replace(string(raw))
		if err := os.WriteFile(other.Config, []byte(moved), 0o644); err != nil {
			c.tb.Fatal(err)
		}
	}
}

// Port is the number behind the last colon of an address.
func Port(address string) int {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	return port
}

func (c *Cluster) render(n *Node, spec Spec) string {
	var b strings.Builder
	ip, _, _ := net.SplitHostPort(n.Raft)
	set := func(format string, args ...any) {
		key, _, _ := strings.Cut(format, " ")
		if !strings.Contains("\n"+spec.Config, "\n"+key+" ") {
			fmt.Fprintf(&b, format+"\n", args...)
		}
	}
	set("node_name = %q", n.Name)
	set("cluster_name = %q", spec.Cluster)
	set("data_dir = %q", n.DataDir)
	set("run_dir = %q", n.RunDir)
	set("bind_addr = %q", ip)
	set("advertise_addr = %q", ip)
	set("bootstrap_expect = %d", spec.Expect)
	var join []string
	for _, other := range spec.Join {
		join = append(join, strconv.Quote(other.Gossip))
	}
	set("retry_join = [%s]", strings.Join(join, ", "))
	set("retry_interval = \"1s\"")
	set("ports {\n  http = %d\n  raft = %d\n  gossip = %d\n  console = %d\n}", Port(n.HTTP), Port(n.Raft), Port(n.Gossip), n.ConsolePort)
	set("http {\n  addr = %q\n}", ip)
	switch {
	case spec.Managed:
		set(managedBlock, n.Postgres.DataDir, n.postgres(), n.postgres())
	case spec.Data == nil:
		set("witness = true")
	default:
		set("postgres {\n  mode = \"external\"\n  dsn = %q\n  database = %q\n}", n.DSN(), n.Postgres.Database)
	}
	b.WriteString(spec.Config)
	return b.String()
}

// AddAll adds several witnesses that found a cluster together, or nodes if there are databases for them.
func (c *Cluster) AddAll(specs ...Spec) []*Node {
	c.tb.Helper()
	var nodes []*Node
	for _, spec := range specs {
		spec.Expect = len(specs)
		spec.Join = nodes
		nodes = append(nodes, c.Add(spec))
	}
	return nodes
}

// StartAll starts the agents of all nodes and waits until each knows the cluster and all of its voters.
func (c *Cluster) StartAll() {
	c.tb.Helper()
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	c.WaitWhole()
}

// WaitWhole waits until all nodes see each other alive, and a leader.
func (c *Cluster) WaitWhole() {
	c.tb.Helper()
	c.Eventually(60*time.Second, func() error {
		for _, n := range c.Nodes {
			s, err := c.Status(n)
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
			alive := 0
			for _, row := range s.Nodes {
				if row.Status == "alive" && (row.Voter || row.NonVoting) {
					alive++
				}
			}
			if alive != len(c.Nodes) || s.LeaderID == 0 {
				return fmt.Errorf("%s sees %d of %d nodes and leader %d", n.Name, alive, len(c.Nodes), s.LeaderID)
			}
		}
		return nil
	})
}

// RunAgent runs an agent that is expected to end by itself, and returns what it wrote and its exit code.
func (c *Cluster) RunAgent(n *Node, args ...string) (string, int) {
	c.tb.Helper()
	return c.Run(n, append([]string{"agent", "-config=" + n.Config}, args...)...)
}

// Run runs a verb on the node's host, against its agent, and returns what it wrote and its exit code. A verb that does
// not end in 30 seconds fails the test.
func (c *Cluster) Run(n *Node, args ...string) (string, int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := c.Command(ctx, n, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // shows what it is at
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		c.tb.Fatalf("pgraft %s on %s did not end in 30 s:\n%s", strings.Join(args, " "), n.Name, out.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.tb.Fatalf("run pgraft %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// Command prepares a verb to run on the node's host, against its agent.
func (c *Cluster) Command(ctx context.Context, n *Node, args ...string) *exec.Cmd {
	name := c.Binary
	if n.Host != nil {
		name, args = "ip", append([]string{"netns", "exec", n.Host.Namespace, c.Binary}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(environ(), "PGRAFT_HTTP_ADDR="+n.URL(""))
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// AgentExit waits until an agent that this package started ended by itself, and returns its exit code.
func (c *Cluster) AgentExit(n *Node, within time.Duration) int {
	c.tb.Helper()
	c.mu.Lock()
	cmd := c.agents[n.Name]
	delete(c.agents, n.Name)
	c.mu.Unlock()
	if cmd == nil {
		c.tb.Fatalf("the agent of %s was not started by this test", n.Name)
	}
	timer := time.AfterFunc(within, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // its code is the answer
	return cmd.ProcessState.ExitCode()
}

// LogOf returns what a node's agents have logged.
func (c *Cluster) LogOf(n *Node) string {
	c.tb.Helper()
	raw, err := os.ReadFile(n.Log)
	if err != nil {
		c.tb.Fatal(err)
	}
	return string(raw)
}
