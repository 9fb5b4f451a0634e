package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/history"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// managedPostgres is the PostgreSQL that this agent runs. Its methods are safe on nil, which a witness and a node with
// a PostgreSQL of its own have.
type managedPostgres struct {
	server     *managed.Server
	controller atomic.Pointer[controller.Controller] // nil until the node is registered

	mu      sync.Mutex // guards what follows
	lastLSN wal.LSN    // as of movedAt, which is when a standby's WAL last grew
	movedAt time.Time
}

// openManaged prepares the PostgreSQL that the agent is to run, and touches nothing yet.
func (a *Agent) openManaged(context.Context) error {
	if !a.cfg.Managed() {
		return nil
	}
	server, err := managed.New(managedConfig(a.cfg, a))
	if err != nil {
		return err
	}
	a.managed = &managedPostgres{server: server}
	a.onClose(func() error { server.Close(); return nil })
	return nil
}

func managedConfig(cfg *config.Config, a *Agent) managed.Config {
	host, port := splitListen(cfg.Postgres.Listen)
	mc := managed.Config{
		BinDir: cfg.Postgres.BinDir, DataDir: cfg.Postgres.DataDir, StateDir: cfg.DataDir, ListenHost: host, Port: port,
		SocketDir: cfg.PostgresSocketDir(), NodeParams: cfg.Postgres.Parameters, HBA: cfg.Postgres.HBA,
		Logger: a.log.Named("postgres"),
	}
	if cfg.TLSEnabled() {
		mc.TLS = &managed.TLSFiles{
			CAFile: cfg.TLS.CAFile, CertFile: cfg.TLS.CertFile, KeyFile: cfg.TLS.KeyFile, VerifyClients: cfg.TLS.VerifyIncoming,
		}
	}
	return mc
}

func splitListen(listen string) (string, int) {
	host, text, _ := net.SplitHostPort(listen) // checked when the configuration was read
	port, _ := strconv.Atoi(text)
	return host, port
}

// runManaged drives PostgreSQL from the moment that the node has a name in the cluster, which is in the names of its
// slot and its stream.
func (a *Agent) runManaged(ctx context.Context) {
	for {
		store := a.fsm.Store()
		ws := memdb.NewWatchSet()
		store.Nodes(ws)
		if node, ok := store.NodeByServerID(string(a.raft.ServerID())); ok {
			a.driveManaged(ctx, node.NodeID)
			return
		}
		ws.Add(store.AbandonCh())
		if ws.WatchCtx(ctx) != nil {
			return
		}
	}
}

func (a *Agent) driveManaged(ctx context.Context, nodeID int) {
	if err := a.managed.server.PrepareTLS(); err != nil {
		a.stop(fmt.Errorf("drive PostgreSQL: %w", err))
		return
	}
	c, err := controller.Open(controller.Config{
		ServerID: string(a.raft.ServerID()), NodeID: nodeID, DataDir: a.cfg.DataDir,
		Postgres: a.hands(), Raft: agreement{a}, Registry: servers{a}, Settings: a.postgresSettings,
		TLS: a.clientTLS(), CanFailover: a.canFailover, Room: a.managed.server.Room, TLSReplaced: a.managed.server.TLSReplaced, OnEvent: a.recordEvent, Logger: a.log.Named("controller"),
	})
	if err != nil {
		a.stop(fmt.Errorf("drive PostgreSQL: %w", err))
		return
	}
	a.managed.controller.Store(c)
	defer c.Close()
	for {
		store := a.fsm.Store()
		ws := memdb.NewWatchSet()
		store.Settings(ws)
		store.Nodes(ws)
		ws.Add(store.AbandonCh())
		if ws.WatchCtx(ctx) != nil {
			return
		}
		c.Wake()
	}
}

// While the primary changes, the others' roles are asked for often: rows that are a second old would tell of a cluster
// that is no more.
const (
	restlessFor   = 2 * time.Second
	restlessEvery = 100 * time.Millisecond
)

// runPrimacy keeps the status current while what is agreed about the primary changes.
func (a *Agent) runPrimacy(ctx context.Context) {
	for ctx.Err() == nil {
		ws := memdb.NewWatchSet()
		before := a.watchPrimacy(ws)
		if ws.WatchCtx(ctx) != nil {
			return
		}
		now := a.primacy()
		if now.Epoch != before.Epoch || now.Phase != before.Phase { // and not a report, a member or a position
			a.restless(ctx)
		}
	}
}

func (a *Agent) restless(ctx context.Context) {
	ticker := time.NewTicker(restlessEvery)
	defer ticker.Stop()
	for until := time.Now().Add(restlessFor); time.Now().Before(until); {
		a.prober.Poke()
		a.touchStatus()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (a *Agent) clientTLS() *managed.ClientTLS {
	files := a.managed.server.TLS()
	if files == nil {
		return nil
	}
	return &managed.ClientTLS{CAFile: files.CAFile, CertFile: files.CertFile, KeyFile: files.KeyFile}
}

// reload takes up what the node's files say of its PostgreSQL.
func (m *managedPostgres) reload(cfg *config.Config) {
	if m == nil {
		return
	}
	m.server.SetNode(cfg.Postgres.Parameters, cfg.Postgres.HBA)
	if c := m.drive(); c != nil {
		c.Reconfigure()
	}
}

// postgresSettings are the cluster-wide parameters of PostgreSQL.
func (a *Agent) postgresSettings() map[string]string {
	_, rows := a.fsm.Store().Settings(nil)
	params := make(map[string]string)
	for _, row := range rows {
		if name, ok := strings.CutPrefix(row.Name, config.SettingPrefix); ok {
			params[name] = row.Value
		}
	}
	return params
}

// openHistory prepares what brings this node's events to the cluster.
func (a *Agent) openHistory() {
	a.history = history.New(history.Config{
		Propose: func(ctx context.Context, op fsm.Op) error { _, err := a.raft.Propose(ctx, op); return err },
		Events:  func(since uint64) (uint64, []api.Event) { return a.fsm.Store().Events(nil, since, 0) },
		Logger:  a.log,
	})
}

// recordEvent adds a controller's event to the history, in the background: the controller must not wait for Raft.
func (a *Agent) recordEvent(e controller.Event) {
	a.history.Add(fsm.EventAppend{Type: e.Type, Node: a.cfg.NodeName, Message: a.withNames(e.Message), Data: e.Data})
}

// withNames puts the nodes' names in the place of server ids.
func (a *Agent) withNames(text string) string {
	_, nodes := a.fsm.Store().Nodes(nil)
	for _, n := range nodes {
		text = strings.ReplaceAll(text, "server "+n.ServerID, n.Name)
	}
	return text
}

// canFailover reports whether enough of the others look alive to replace this primary.
func (a *Agent) canFailover() bool {
	state := a.primacy()
	alive := 0
	peers := a.prober.Peers()
	for _, m := range primacy.Acknowledging(state.Sync, state.Primary) {
		if p, ok := peers[m.ServerID]; ok && p.Err == nil && p.PostgresUp {
			alive++
		}
	}
	return alive >= primacy.Needed(state.Sync) && alive > 0
}

// primacy is what the cluster agreed on about its PostgreSQL.
func (a *Agent) primacy() primacy.State {
	_, state := a.fsm.Store().Primacy(nil)
	return state
}

// agreement is Raft as the controller sees it.
type agreement struct{ a *Agent }

// Propose commits an operation. A refusal by the rules is a *primacy.Refusal.
func (g agreement) Propose(ctx context.Context, op primacy.Op) error {
	_, err := g.a.raft.Propose(ctx, fsm.Primacy{Op: op})
	if refused, ok := errors.AsType[*api.Error](err); ok && refused.Code == api.CodeConflict {
		return &primacy.Refusal{Message: refused.Message}
	}
	return err
}

// State returns what is agreed, as far as this node has applied it.
func (g agreement) State() (primacy.State, <-chan struct{}) {
	store := g.a.fsm.Store()
	ws := memdb.NewWatchSet()
	_, state := store.Primacy(ws)
	changed := make(chan struct{})
	ws.Add(store.AbandonCh())
	go func() {
		defer close(changed)
		_ = ws.WatchCtx(g.a.lifetime) // either way there is something new to look at
	}()
	return state, changed
}

// Fresh reports whether the state machine has caught up with the cluster since the agent started.
func (g agreement) Fresh() bool { return g.a.caughtUp() && g.a.knownClusterID() != "" }

// QuorumProof reports whether a quorum was heard within the primary's lease.
func (g agreement) QuorumProof() (bool, <-chan struct{}) { return g.a.proof.now() }

// servers is the registry as the controller sees it.
type servers struct{ a *Agent }

// Peer finds a server that has a managed PostgreSQL.
func (s servers) Peer(serverID string) (controller.Peer, bool) {
	node, ok := s.a.fsm.Store().NodeByServerID(serverID)
	if !ok {
		return controller.Peer{}, false
	}
	return peerOf(node)
}

// Peers lists the servers that have a managed PostgreSQL.
func (s servers) Peers() []controller.Peer {
	_, nodes := s.a.fsm.Store().Nodes(nil)
	var peers []controller.Peer
	for _, node := range nodes {
		if p, ok := peerOf(node); ok {
			peers = append(peers, p)
		}
	}
	return peers
}

func peerOf(node fsm.Node) (controller.Peer, bool) {
	host, port := splitListen(node.PostgresAddress)
	return controller.Peer{ServerID: node.ServerID, NodeID: node.NodeID, Host: host, Port: port}, port != 0 && !node.Witness
}

// quorumProof watches whether this node heard a quorum within the primary's lease: as leader from its followers, else
// from a leader, who has one.
type quorumProof struct {
	mu      sync.Mutex // guards what follows
	holds   bool
	changed chan struct{}
	until   time.Time // as proven by the latest answer
}

func newQuorumProof() *quorumProof { return &quorumProof{changed: make(chan struct{})} }

func (q *quorumProof) now() (bool, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.holds, q.changed
}

func (q *quorumProof) set(holds bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.holds != holds {
		q.holds = holds
		close(q.changed)
		q.changed = make(chan struct{})
	}
}

// extend notes that a quorum's answer is good until then, and returns until when the best one is.
func (q *quorumProof) extend(until time.Time) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if until.After(q.until) {
		q.until = until
	}
	return q.until
}

// proofParts is how many times within the primary's lease the proof is looked at.
const proofParts = 20

// runProof keeps the proof current. It ends before the next look would find it too late, so that sessions end within
// the lease.
func (a *Agent) runProof(ctx context.Context) {
	ticker := time.NewTicker(a.primaryLease() / proofParts)
	defer ticker.Stop()
	for {
		a.proof.set(time.Now().Add(a.primaryLease() / proofParts).Before(a.provenUntil()))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// provenUntil is until when what this node last heard of a quorum proves that the cluster has not gone on without it. A
// leader whose lease is over hears nothing new, and what Raft says of its last contact when it steps down is that moment.
func (a *Agent) provenUntil() time.Time {
	var until time.Time
	if lease, ok := a.raft.Lease(); ok {
		until = lease.Add(a.primaryLease() - a.cfg.RaftTimers().Lease)
	} else if leader, _ := a.raft.Leader(); leader != "" && !a.raft.IsLeader() {
		if contact, ok := a.raft.LastContact(); ok {
			until = contact.Add(a.primaryLease())
		}
	}
	return a.proof.extend(until)
}

// primaryLease is how long a primary goes on without hearing a quorum before its sessions end. No commit's safety hangs
// on it, since commits wait for the standbys, so it is long enough for an election elsewhere.
func (a *Agent) primaryLease() time.Duration {
	return max(2*time.Second, 6*a.cfg.RaftTimers().Heartbeat)
}

// serverName is a server's name, or its id where it is not registered.
func (a *Agent) serverName(id raft.ServerID) string {
	if node, ok := a.fsm.Store().NodeByServerID(string(id)); ok {
		return node.Name
	}
	return string(id)
}
