package failover_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/agent/failover"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// agreed stands in for Raft: the rules, under a mutex.
type agreed struct {
	mu      sync.Mutex // guards all below
	state   primacy.State
	changed chan struct{}
	ops     []primacy.Op // that were applied
}

func newAgreed() *agreed { return &agreed{changed: make(chan struct{})} }

func (a *agreed) get(ws memdb.WatchSet) primacy.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	ws.Add(a.changed)
	return a.state
}

func (a *agreed) propose(_ context.Context, op primacy.Op) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, events, err := primacy.Apply(a.state, op)
	if err != nil {
		return err
	}
	a.state = next
	if len(events) > 0 {
		a.ops = append(a.ops, op)
	}
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

func (a *agreed) fences() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, op := range a.ops {
		if _, ok := op.(primacy.FenceOp); ok {
			n++
		}
	}
	return n
}

// node is a server whose agent and PostgreSQL are sockets, and whose controller does at once what is agreed.
type node struct {
	t       *testing.T
	id      string
	cluster *cluster
	agent   *httptest.Server
	pg      net.Listener
	pgAddr  string
	witness bool
	frozen  atomic.Bool // agent and PostgreSQL take connections and answer nothing

	mu       sync.Mutex // guards all below
	running  bool
	memory   string
	empty    bool
	slow     bool // does nothing of what is agreed
	stuck    bool // reports and does not get ready
	stopped  bool // killed
	lsn      uint64
	streams  bool
	priority int
	orders   []failover.Order
	pending  []failover.Pending
}

type cluster struct {
	t      *testing.T
	agreed *agreed
	nodes  map[string]*node
	listed []failover.Node
	wait   sync.WaitGroup
	timing failover.Timing
	moved  chan string // leadership transfers
	obeyed chan string // who was given an order
	notes  chan failover.Decision
}

// newCluster has servers with data of which none is founded yet.
func newCluster(t *testing.T, witnesses map[string]bool, ids ...string) *cluster {
	t.Helper()
	c := &cluster{
		t: t, agreed: newAgreed(), nodes: map[string]*node{}, moved: make(chan string, 100), obeyed: make(chan string, 100),
		notes:  make(chan failover.Decision, 1000),
		timing: failover.Timing{Silent: 700 * time.Millisecond, Hang: 300 * time.Millisecond, Handover: 2 * time.Second, Settle: 200 * time.Millisecond},
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); c.wait.Wait() })
	for _, id := range ids {
		n := &node{t: t, id: id, cluster: c, memory: "m-" + id, empty: true, streams: true, lsn: 0x1000, priority: 100}
		c.nodes[id] = n
		c.listed = append(c.listed, failover.Node{ID: id, Name: "name-" + id, Voter: true, Witness: witnesses[id]})
		n.witness = witnesses[id]
		n.listen()
	}
	for _, n := range c.nodes {
		if !n.witness {
			c.wait.Go(func() { n.run(ctx) })
		}
	}
	return c
}

func (n *node) listen() {
	mux := http.NewServeMux()
	mux.Handle("GET "+failover.ViewPath, failover.ServeView(n.view))
	mux.Handle("GET "+failover.SeesPath, failover.ServeSees(n.cluster.eyes(n.id).Look))
	mux.Handle("POST "+failover.OrderPath, failover.ServeOrder(n.obey))
	n.agent = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.frozen.Load() {
			<-r.Context().Done()
			return
		}
		mux.ServeHTTP(w, r)
	}))
	n.t.Cleanup(n.killAgent)
	n.listenPostgres()
}

func (n *node) killAgent() { n.agent.CloseClientConnections(); n.agent.Close() }

func (n *node) listenPostgres() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.pg, n.pgAddr = l, l.Addr().String()
	n.t.Cleanup(func() { l.Close() })
	n.cluster.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if n.frozen.Load() {
					_, _ = io.Copy(io.Discard, conn)
					return
				}
				buffer := make([]byte, 256)
				_, _ = conn.Read(buffer)
				_, _ = conn.Write([]byte("N"))
				_, _ = conn.Read(buffer)
				_, _ = conn.Write([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 0})
			}()
		}
	})
}

// kill ends agent and PostgreSQL: both ports refuse.
func (n *node) kill() {
	n.set(func() { n.stopped, n.running = true, false })
	n.pg.Close()
	n.killAgent()
}

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *node) obey(_ context.Context, order failover.Order) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.orders = append(n.orders, order)
	n.pending = nil
	n.cluster.obeyed <- n.id
	return nil
}

// restarted lists who was given an order, in order.
func (c *cluster) restarted() []string {
	var ids []string
	for len(c.obeyed) > 0 {
		ids = append(ids, <-c.obeyed)
	}
	return ids
}

func (n *node) took() []failover.Order {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.orders
}

func (n *node) view() failover.View {
	state := n.cluster.agreed.get(nil)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.witness {
		return failover.View{ServerID: n.id, Role: "witness", Epoch: state.Epoch, Phase: state.Phase}
	}
	primary := state.Primary == n.id && state.Phase == primacy.PhaseReady
	v := failover.View{
		ServerID: n.id, Managed: true, Priority: n.priority, Epoch: state.Epoch, Phase: state.Phase, Running: n.running,
		Data: failover.DataPresent, SystemID: "7000", Major: 15, Standby: !primary, Memory: n.memory, Countable: !primary,
		Position: primacy.Position{Epoch: state.Epoch, LSN: 0x1000}, WALAgeMS: -1, Pending: n.pending,
	}
	if n.empty {
		v.Data, v.SystemID = failover.DataEmpty, ""
	}
	if primary {
		v.Standbys = n.cluster.standbys(n.id)
	}
	return v
}

func (c *cluster) standbys(primary string) []failover.Standby {
	var out []failover.Standby
	for id, n := range c.nodes {
		if id == primary || n.witness {
			continue
		}
		n.mu.Lock()
		if n.running && n.streams && !n.frozen.Load() {
			out = append(out, failover.Standby{ServerID: id, Memory: n.memory, Streaming: true, Flush: 0x1000})
		}
		n.mu.Unlock()
	}
	return out
}

// run is the controller.
func (n *node) run(ctx context.Context) {
	for {
		ws := memdb.NewWatchSet()
		state := n.cluster.agreed.get(ws)
		for _, op := range n.act(state) {
			_ = n.cluster.agreed.propose(ctx, op) // somebody may have been faster
		}
		wait, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		_ = ws.WatchCtx(wait)
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}

func (n *node) act(state primacy.State) []primacy.Op {
	confirmed := len(n.cluster.standbys(n.id))
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped || n.slow || n.frozen.Load() {
		return nil
	}
	mine := state.Primary == n.id
	switch {
	case state.Phase == primacy.PhaseFenced && n.running:
		at := primacy.Position{Epoch: state.Epoch - 1}
		if len(state.Lineage) > 0 {
			at.Epoch = state.Lineage[len(state.Lineage)-1].Epoch
		}
		at.LSN = 0x1000
		if _, ok := primacy.ReportOf(state.Reports, n.id); !ok && !mine {
			return []primacy.Op{primacy.ReportOp{Epoch: state.Epoch, Report: primacy.Report{ServerID: n.id, Memory: n.memory, Position: at, Timeline: 1}}}
		}
	case state.Phase == primacy.PhasePromoting && mine && !n.stuck:
		n.running, n.empty = true, false
		return []primacy.Op{primacy.ReadyOp{Epoch: state.Epoch, ServerID: n.id, SystemID: "7000", Major: 15, Timeline: 1, Switch: 0x1000}}
	case state.Phase == primacy.PhaseReady && !mine:
		n.running, n.empty = true, false // cloned, or follows
	case state.Phase == primacy.PhaseReady && mine && state.Handover != "":
		n.running = false
		return []primacy.Op{primacy.FenceOp{Epoch: state.Epoch + 1, Target: state.Handover, Reason: "switchover"}}
	case state.Phase == primacy.PhaseReady && mine && state.Next != nil && confirmed >= state.Next.Acks:
		return []primacy.Op{primacy.ConfirmOp{Epoch: state.Epoch, Version: state.Next.Version}}
	}
	return nil
}

type toAgent struct {
	c  *cluster
	id string
}

func (a toAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = "http", strings.TrimPrefix(a.c.nodes[a.id].agent.URL, "http://")
	return http.DefaultTransport.RoundTrip(req)
}

func (c *cluster) eyes(self string) *failover.Eyes {
	return &failover.Eyes{
		Self:      self,
		Transport: func(id string) http.RoundTripper { return toAgent{c, id} },
		Address:   func(id string) string { return c.nodes[id].pgAddr },
	}
}

// lead makes a node the leader until the returned function is called.
func (c *cluster) lead(id string) (*failover.Watch, func()) {
	c.t.Helper()
	n := c.nodes[id]
	w := failover.New(failover.Config{
		Self: id, State: c.agreed.get, Servers: func() []failover.Node { return c.listed }, View: n.view, Eyes: c.eyes(id),
		Propose: c.agreed.propose, Obey: n.obey, Timing: c.timing,
		TransferLeadership: func(_ context.Context, to string) error { c.moved <- to; return nil },
		Note:               func(d failover.Decision) { c.notes <- d },
		Logger:             hclog.New(&hclog.LoggerOptions{Output: testWriter{c.t}, Level: hclog.Debug, Name: id}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	var once sync.Once
	stop := func() { once.Do(func() { cancel(); <-done }) }
	c.t.Cleanup(stop)
	for !w.Leading() {
		time.Sleep(time.Millisecond)
	}
	return w, stop
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// until waits for a state.
func (c *cluster) until(what string, ok func(s primacy.State) bool) primacy.State {
	c.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		s := c.agreed.get(nil)
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s did not come: %+v", what, s)
		}
		time.Sleep(time.Millisecond)
	}
}

// ready waits until a server is the primary, with all data servers as members.
func (c *cluster) ready(id string, count int) primacy.State {
	c.t.Helper()
	return c.until("primary "+id, func(s primacy.State) bool {
		return s.Phase == primacy.PhaseReady && s.Primary == id && len(s.Sync.Members) == count && s.Next == nil
	})
}
