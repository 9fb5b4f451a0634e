package consensustest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
)

// Options say what cluster to run.
type Options struct {
	Servers int // default 3
	// Idle leaves the servers without a cluster.
	Idle bool
	// Configure changes a server's configuration before each of its starts.
	Configure func(server int, cfg *consensus.Config)
	// Verbose sends the logs to the test's.
	Verbose bool
}

// Cluster is a set of servers in this process, with their data in the test's temporary directory.
type Cluster struct {
	*Network
	tb      testing.TB
	options Options
	dir     string

	mu      sync.Mutex // guards all below
	nodes   []*consensus.Node
	fsms    []*fsm.FSM
	ids     []raft.ServerID
	address []string
}

const patience = 20 * time.Second

// New starts a cluster and waits for its leader. It is closed at the test's end.
func New(tb testing.TB, options Options) *Cluster {
	tb.Helper()
	if options.Servers == 0 {
		options.Servers = 3
	}
	c := &Cluster{
		Network: newNetwork(), tb: tb, options: options, dir: tb.TempDir(),
		nodes: make([]*consensus.Node, options.Servers), fsms: make([]*fsm.FSM, options.Servers),
		ids: make([]raft.ServerID, options.Servers), address: make([]string, options.Servers),
	}
	tb.Cleanup(c.Close)
	for i := range options.Servers {
		c.Start(i)
	}
	if !options.Idle {
		c.Bootstrap()
		c.Leader()
	}
	return c
}

// DataDir returns a server's data directory.
func (c *Cluster) DataDir(server int) string {
	return filepath.Join(c.dir, fmt.Sprintf("server%d", server))
}

// Start starts a server that does not run, at the address it had before if it had one.
func (c *Cluster) Start(server int) *consensus.Node {
	c.tb.Helper()
	bind := c.Address(server)
	if bind == "" {
		bind = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", bind)
	if err != nil {
		c.tb.Fatalf("listen: %v", err)
	}
	c.register(server, listener.Addr().String())
	machine := fsm.New(c.logger(server).Named("fsm"))
	cfg := consensus.Config{
		DataDir: c.DataDir(server), NodeName: fmt.Sprintf("n%d", server), ClusterName: "test", BootstrapExpect: c.options.Servers,
		Listener: listener, FSM: machine, Logger: c.logger(server), SegmentSize: 1 << 20,
		Dial: c.dialer(server), AddressOf: c.addressOf,
	}
	if c.options.Configure != nil {
		c.options.Configure(server, &cfg)
	}
	node, err := consensus.Open(cfg)
	if err != nil {
		c.tb.Fatalf("open server %d: %v", server, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[server], c.fsms[server] = node, machine
	c.ids[server], c.address[server] = node.ServerID(), node.AdvertiseAddr()
	return node
}

func (c *Cluster) logger(server int) hclog.Logger {
	if !c.options.Verbose {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: fmt.Sprintf("n%d", server), Level: hclog.Debug, Output: logWriter{c.tb}, TimeFormat: "05.000",
	})
}

type logWriter struct{ tb testing.TB }

// Write logs a line.
func (w logWriter) Write(line []byte) (int, error) {
	w.tb.Log(string(line[:max(len(line)-1, 0)]))
	return len(line), nil
}

func (c *Cluster) addressOf(id raft.ServerID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, known := range c.ids {
		if known == id {
			return c.address[i], true
		}
	}
	return "", false
}

// Peers returns all servers as gossip would report them.
func (c *Cluster) Peers() []consensus.Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	peers := make([]consensus.Peer, 0, len(c.ids))
	for i, id := range c.ids {
		if c.nodes[i] != nil {
			peers = append(peers, consensus.Peer{
				ServerID: id, Name: fmt.Sprintf("n%d", i), Addr: c.address[i], Expect: c.options.Servers,
			})
		}
	}
	return peers
}

// Bootstrap makes a cluster of all servers.
func (c *Cluster) Bootstrap() {
	c.tb.Helper()
	peers := c.Peers()
	c.Eventually(func() error {
		var reasons []error
		for i := range c.options.Servers {
			outcome, reason, err := c.Node(i).MaybeBootstrap(context.Background(), peers)
			if outcome == consensus.BootstrapFounded || outcome == consensus.BootstrapMember {
				return nil
			}
			reasons = append(reasons, fmt.Errorf("server %d: %s: %s: %w", i, outcome, reason, err))
		}
		return errors.Join(reasons...)
	})
}

// Node returns a server, nil if it does not run.
func (c *Cluster) Node(server int) *consensus.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[server]
}

// FSM returns a server's state machine.
func (c *Cluster) FSM(server int) *fsm.FSM {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fsms[server]
}

// Address returns a server's address, "" before its first start.
func (c *Cluster) Address(server int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address[server]
}

// ID returns a server's id, "" before its first start.
func (c *Cluster) ID(server int) raft.ServerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[server]
}

// Index returns which server an id belongs to, -1 if none.
func (c *Cluster) Index(id raft.ServerID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, known := range c.ids {
		if known == id {
			return i
		}
	}
	return -1
}

// Leader waits until one server leads with a lease and all that are not cut off follow it, and returns its number.
func (c *Cluster) Leader() int {
	c.tb.Helper()
	leader := -1
	c.Eventually(func() error {
		var err error
		leader, err = c.leader()
		return err
	})
	return leader
}

func (c *Cluster) leader() (int, error) {
	leader := -1
	for i := range c.options.Servers {
		if node := c.Node(i); node != nil && !c.isCut(i) {
			if _, ok := node.Lease(); ok {
				leader = i
			}
		}
	}
	if leader < 0 {
		return -1, fmt.Errorf("no leader: %s", c.states())
	}
	for i := range c.options.Servers {
		if node := c.Node(i); node != nil && !c.isCut(i) {
			if id, _ := node.Leader(); c.Index(id) != leader {
				return -1, fmt.Errorf("server %d does not follow %d: %s", i, leader, c.states())
			}
		}
	}
	return leader, nil
}

func (n *Network) isCut(server int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[server]
}

func (c *Cluster) states() string {
	text := ""
	for i := range c.options.Servers {
		if node := c.Node(i); node != nil {
			s := node.Stats()
			text += fmt.Sprintf("[%d %s term=%d last=%d commit=%d leader=%d] ", i, s.State, s.Term, s.LastIndex, s.CommitIndex, c.Index(s.Leader))
		}
	}
	return text
}

// Follower returns a server that runs and is not the given one.
func (c *Cluster) Follower(leader int) int {
	for i := range c.options.Servers {
		if i != leader && c.Node(i) != nil {
			return i
		}
	}
	c.tb.Fatal("no follower")
	return -1
}

// Stop closes a server in good order.
func (c *Cluster) Stop(server int) {
	c.tb.Helper()
	c.mu.Lock()
	node := c.nodes[server]
	c.nodes[server] = nil
	c.mu.Unlock()
	if node == nil {
		return
	}
	if err := node.Close(); err != nil {
		c.tb.Errorf("close server %d: %v", server, err)
	}
}

// Kill cuts a server off and then closes it, so that nothing it does at its end reaches the others.
func (c *Cluster) Kill(server int) {
	c.tb.Helper()
	c.Isolate(server)
	c.Stop(server)
}

// Close stops all servers.
func (c *Cluster) Close() {
	var wg sync.WaitGroup
	for i := range c.options.Servers {
		wg.Go(func() { c.Stop(i) })
	}
	wg.Wait()
}

// Eventually repeats a check until it passes, and fails the test with its last error if it takes too long.
func (c *Cluster) Eventually(check func() error) {
	c.tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.tb.Fatalf("not within %s: %v", patience, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
