package controller_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/managed"
)

const patience = 30 * time.Second

// agreement stands in for Raft: the real rules under a mutex. It plays the leader's part, too, where a test lets it.
type agreement struct {
	mu      sync.Mutex
	state   primacy.State
	changed chan struct{}
	log     []string
}

func newAgreement() *agreement { return &agreement{changed: make(chan struct{})} }

func (a *agreement) apply(op primacy.Op) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, events, err := primacy.Apply(a.state, op)
	if err != nil {
		return err
	}
	for _, e := range events {
		a.log = append(a.log, fmt.Sprintf("%s %s: %s", time.Now().Format("05.000"), e.Type, e.Message))
	}
	a.state = next
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

func (a *agreement) read() (primacy.State, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state, a.changed
}

// raft is the agreement as one node sees it.
type raft struct {
	*agreement
	mu       sync.Mutex
	away     bool // cut off from the others
	hangs    bool // and has not noticed yet: proposals get no answer
	waiting  int  // proposals that hang
	frozen   primacy.State
	proof    chan struct{}
	notFresh bool
}

var errNoLeader = errors.New("no leader")

func (r *raft) Propose(ctx context.Context, op primacy.Op) error {
	r.mu.Lock()
	away, hangs := r.away, r.hangs
	if hangs {
		r.waiting++
	}
	r.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if away {
		return errNoLeader
	}
	return r.apply(op)
}

func (r *raft) State() (primacy.State, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return r.frozen, r.proof
	}
	return r.read()
}

func (r *raft) Fresh() bool { r.mu.Lock(); defer r.mu.Unlock(); return !r.notFresh }

func (r *raft) QuorumProof() (bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.away, r.proof
}

func (r *raft) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen, _ = r.read()
	r.away = away
	close(r.proof)
	r.proof = make(chan struct{})
}

// setHangs says whether proposals hang, and proposing whether one does.
func (r *raft) setHangs(hangs bool) { r.mu.Lock(); defer r.mu.Unlock(); r.hangs, r.waiting = hangs, 0 }

func (r *raft) proposing() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.waiting > 0 }

// node is one agent's part, with a real PostgreSQL.
type node struct {
	t       *testing.T
	id      string
	number  int
	dir     string
	port    int
	server  *managed.Server
	raft    *raft
	cluster *cluster
	ctl     *controller.Controller
	armed   string // where the next agent dies
	death   *death // of the agent that runs now
	mu      sync.Mutex
	events  []controller.Event
}

type cluster struct {
	t     *testing.T
	raft  *agreement
	nodes []*node

	mu       sync.Mutex
	settings map[string]string
}

func (c *cluster) wanted() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settings
}

func (c *cluster) Peer(id string) (controller.Peer, bool) {
	for _, n := range c.nodes {
		if n.id == id {
			return controller.Peer{ServerID: n.id, NodeID: n.number, Host: "127.0.0.1", Port: n.port}, true
		}
	}
	return controller.Peer{}, false
}

func (c *cluster) Peers() []controller.Peer {
	var all []controller.Peer
	for _, n := range c.nodes {
		p, _ := c.Peer(n.id)
		all = append(all, p)
	}
	return all
}

// newCluster makes nodes without data. All is gone when the test has ended.
func newCluster(t *testing.T, ids ...string) *cluster {
	t.Helper()
	if _, err := postgres.FindBinDir(""); err != nil {
		t.Skipf("SKIPPED, needs a real PostgreSQL: %v", err)
	}
	c := &cluster{t: t, raft: newAgreement()}
	dir, err := os.MkdirTemp("", "pgraft-ctl-") //nolint:usetesting // PostgreSQL's user may not enter a test's directory
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.explain()
		}
		for _, n := range c.nodes {
			n.end()
			n.hidesSecrets()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove servers: %v", err)
		}
	})
	for i, id := range ids {
		c.nodes = append(c.nodes, c.newNode(i+1, id, filepath.Join(dir, id)))
	}
	return c
}

func (c *cluster) newNode(number int, id, dir string) *node {
	c.t.Helper()
	n := &node{t: c.t, id: id, number: number, dir: dir, port: freePort(c.t), cluster: c, raft: &raft{agreement: c.raft, proof: make(chan struct{})}}
	for _, d := range []string{dir, n.agentDir()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	n.newServer()
	return n
}

func (n *node) agentDir() string { return filepath.Join(n.dir, "agent") }
func (n *node) dataDir() string  { return filepath.Join(n.dir, "data") }

func (n *node) newServer() {
	n.t.Helper()
	uid := os.Geteuid()
	if uid == 0 {
		if err := chown(n.dir, "postgres"); err != nil {
			n.t.Fatal(err)
		}
	}
	server, err := managed.New(managed.Config{
		DataDir: n.dataDir(), StateDir: n.agentDir(), ListenHost: "127.0.0.1", Port: n.port, SocketDir: filepath.Join(n.dir, "s"),
		LogFile: filepath.Join(n.dir, "log"), NoSync: true, HBA: []string{"host all all 127.0.0.1/32 scram-sha-256"},
		NodeParams: map[string]string{"shared_buffers": "16MB", "max_connections": "30", "autovacuum": "off", "full_page_writes": "on"},
		Logger:     n.logger("postgres"),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.server = server
}

func (n *node) logger(name string) hclog.Logger {
	path := os.Getenv("PGRAFT_TEST_LOG")
	if path == "" {
		return hclog.NewNullLogger()
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	return hclog.New(&hclog.LoggerOptions{Name: n.id + "." + name, Level: hclog.Debug, Output: f, TimeFormat: "05.000"})
}

// open starts the node's controller.
func (n *node) open() {
	n.t.Helper()
	n.death = &death{point: n.armed}
	ctl, err := controller.Open(controller.Config{
		ServerID: n.id, NodeID: n.number, DataDir: n.agentDir(), Postgres: mortal{controller.Hands{Server: n.server}, n.death}, Raft: mortalRaft{n.raft, n.death}, Registry: n.cluster,
		Settings:    n.cluster.wanted,
		CanFailover: func() bool { return true },
		OnEvent: func(e controller.Event) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.events = append(n.events, e)
		},
		Logger: n.logger("controller"),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.ctl = ctl
}

// close ends the controller and leaves PostgreSQL, as an agent's end does.
func (n *node) close() {
	if n.ctl != nil {
		n.ctl.Close()
		n.ctl = nil
	}
}

// end ends all.
func (n *node) end() {
	n.close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.server.Kill(ctx); err != nil {
		n.t.Errorf("end server %s: %v", n.id, err)
	}
	n.server.Close()
}

func (n *node) hasEvent(kind string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.events, func(e controller.Event) bool { return e.Type == kind })
}

func (c *cluster) explain() {
	state, _ := c.raft.read()
	c.t.Logf("state: epoch %d %s, primary %s, sync %+v, next %+v, acked %s", state.Epoch, state.Phase, state.Primary, state.Sync, state.Next, state.Acked)
	c.t.Logf("lineage: %+v, reports: %+v", state.Lineage, state.Reports)
	for _, line := range c.raft.log {
		c.t.Log(line)
	}
	for _, n := range c.nodes {
		if n.ctl != nil {
			c.t.Logf("%s: %+v", n.id, n.ctl.Status())
		}
		n.mu.Lock()
		for _, e := range n.events {
			c.t.Logf("%s event %s: %s %v", n.id, e.Type, e.Message, e.Data)
		}
		n.mu.Unlock()
		if log, err := os.ReadFile(filepath.Join(n.dir, "log")); err == nil {
			c.t.Logf("%s log: %s", n.id, log[max(0, len(log)-1500):])
		}
	}
}

func (c *cluster) node(id string) *node {
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.id == id })
	return c.nodes[i]
}

func (c *cluster) primary() *node {
	state, _ := c.raft.read()
	return c.node(state.Primary)
}

// wait waits for a condition.
func (c *cluster) wait(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (c *cluster) propose(op primacy.Op) {
	c.t.Helper()
	if err := c.raft.apply(op); err != nil {
		c.t.Fatalf("%+v: %v", op, err)
	}
}

// lead plays the leader: it chooses when enough have reported.
func (c *cluster) lead() {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	c.t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		since := time.Now()
		for {
			state, changed := c.raft.read()
			late := make(<-chan time.Time)
			able, err := primacy.Eligible(state)
			_, there := primacy.ReportOf(able, state.Target)
			switch {
			case err != nil:
			case there:
				_ = c.raft.apply(primacy.PromoteOp{Epoch: state.Epoch, ServerID: state.Target}) // refused when it is late
			case state.Target != "" && time.Since(since) < 3*time.Second:
				late = time.After(100 * time.Millisecond) // the target may be on its way
			default:
				_ = c.raft.apply(primacy.PromoteOp{Epoch: state.Epoch, ServerID: able[0].ServerID})
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-late:
			}
			if now, _ := c.raft.read(); now.Epoch != state.Epoch {
				since = time.Now()
			}
		}
	})
}

// found makes the first primary.
func (c *cluster) found(id string) {
	c.t.Helper()
	n := c.node(id)
	c.wait("memory of "+id, func() bool { return n.ctl.View().Memory != "" })
	c.propose(primacy.FoundOp{Epoch: 1, ServerID: id, Memory: n.ctl.View().Memory, How: primacy.FoundInit, Secret: "geheim"})
	c.ready(id)
}

func (c *cluster) ready(id string) {
	c.t.Helper()
	c.wait(id+" to be ready", func() bool {
		s, _ := c.raft.read()
		return s.Phase == primacy.PhaseReady && s.Primary == id
	})
}

// member makes a streaming standby one that counts, with so many acknowledgements.
func (c *cluster) member(id string, acks int) {
	c.t.Helper()
	n := c.node(id)
	c.wait(id+" to stream", func() bool { return n.ctl.View().Streaming })
	c.wait(id+" to become a member", func() bool {
		state, _ := c.raft.read()
		m := primacy.Member{ServerID: id, Memory: n.ctl.View().Memory}
		if slices.Contains(state.Sync.Members, m) {
			return true
		}
		next := primacy.Sync{Acks: acks, Members: slices.DeleteFunc(slices.Clone(state.Sync.Members), func(o primacy.Member) bool { return o.ServerID == id })}
		next.Members = append(next.Members, m)
		if state.Next == nil {
			_ = c.raft.apply(primacy.NextOp{Epoch: state.Epoch, Version: state.Sync.Version, Next: next}) // tried again
		}
		return false
	})
}

// three is a cluster of a, the primary, b and c, with one acknowledgement.
func three(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, "a", "b", "c")
	for _, n := range c.nodes {
		n.open()
	}
	c.found("a")
	c.member("b", 1)
	c.member("c", 1)
	c.lead()
	c.primary().exec("CREATE TABLE t (n int PRIMARY KEY)")
	return c
}

// connect logs in as the agent does.
func (n *node) connect() (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", filepath.Join(n.dir, "s"), n.port))
}

// try runs a statement, with so much patience.
func (n *node) try(patience time.Duration, sql string, args ...any) error {
	conn, err := n.connect()
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

func (n *node) exec(sql string, args ...any) {
	n.t.Helper()
	if err := n.try(patience, sql, args...); err != nil {
		n.t.Fatalf("%s: %s: %v", n.id, sql, err)
	}
}

// rows returns what is in t.
func (n *node) rows() []int {
	conn, err := n.connect()
	if err != nil {
		return nil
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), "SELECT n FROM t ORDER BY n")
	if err != nil {
		return nil
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil
	}
	return all
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// took shows where a failover's time went.
func (c *cluster) took() {
	for _, n := range c.nodes {
		n.mu.Lock()
		for _, e := range n.events {
			if e.Type == "report" || e.Type == "ready" {
				keys := slices.Sorted(maps.Keys(e.Data))
				line := ""
				for _, k := range keys {
					line += " " + k + "=" + e.Data[k]
				}
				c.t.Logf("%s %s:%s", n.id, e.Type, line)
			}
		}
		n.mu.Unlock()
	}
}
