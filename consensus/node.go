package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Node is this server's part in Raft. Its methods may be called from any goroutine.
type Node struct {
	cfg     Config
	logger  hclog.Logger
	lock    *DirLock // nil if the caller keeps it
	store   *store
	raft    *raft.Raft
	opened  time.Time
	hadNone bool // no state on disk when it was opened

	mux        *mux
	dialer     *dialer
	transport  *transport
	acks       *acks
	guard      *voteGuard
	internal   *http.ServeMux
	httpServer *http.Server
	httpClient *http.Transport

	leadership *leadership
	lease      lease
	reads      chan struct{} // asks runConfirm for a round of heartbeats
	batcher    *batcher
	bootstrap  *bootstrapState
	transferMu sync.Mutex // held through a leadership transfer
	stuck      stuckTransfer
	disk       diskUsage
	slow       slowStats
	counters   counters

	ctx       context.Context // ends when Close begins to stop things
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

type counters struct {
	elections, leaderChanges     atomic.Uint64
	proposed, succeeded, refused atomic.Uint64
	rejected, inDoubt            atomic.Uint64
	committed                    atomic.Uint64 // highest index that this node knows to be committed
}

// Open starts the server: it recovers what the data directory holds and takes part in the cluster as far as its
// configuration is known. A server without state waits for MaybeBootstrap or for a leader that adds it.
func Open(cfg Config) (*Node, error) {
	cfg.applyDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure consensus: %w", err)
	}
	n := &Node{
		cfg: cfg, logger: cfg.Logger, opened: time.Now(),
		internal: http.NewServeMux(), acks: newAcks(), leadership: newLeadership(), reads: make(chan struct{}, 1),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.abandon())
	}
	n.start()
	return n, nil
}

func (n *Node) open() error {
	if err := n.openDisk(); err != nil {
		return err
	}
	if err := n.openNetwork(); err != nil {
		return err
	}
	return n.openRaft()
}

func (n *Node) openDisk() (err error) {
	if n.cfg.Lock == nil {
		if n.lock, err = AcquireLock(n.cfg.DataDir); err != nil {
			return err
		}
	}
	if n.cfg.ServerID == "" {
		if n.cfg.ServerID, err = LoadServerID(n.cfg.DataDir); err != nil {
			return err
		}
	}
	opts := logOptions{segmentSize: n.cfg.SegmentSize, metrics: n.cfg.LogMetrics, logger: n.logger}
	if n.store, err = openStore(n.cfg.DataDir, opts); err != nil {
		return err
	}
	state, err := n.store.state()
	if err != nil {
		return fmt.Errorf("read raft state: %w", err)
	}
	n.hadNone = state.empty()
	if state.termOnly() {
		n.logger.Warn("raft has a term but no log: waiting for the cluster's leader; if there is none any more, stop the agent and empty the data directory",
			"data_dir", n.cfg.DataDir)
	}
	n.bootstrap, err = newBootstrapState(n)
	return err
}

func (n *Node) openNetwork() error {
	listener, err := listen(&n.cfg)
	if err != nil {
		return err
	}
	if n.cfg.AdvertiseAddr == "" {
		n.cfg.AdvertiseAddr = listener.Addr().String()
	}
	n.mux = newMux(listener, hostPort(n.cfg.AdvertiseAddr), n.logger.Named("port"))
	n.mux.tls, n.mux.maxPerIP, n.mux.judge = n.cfg.TLSServer, n.cfg.MaxConnsPerIP, n.judge
	if n.cfg.Hooks.Refused != nil {
		n.mux.refused = n.cfg.Hooks.Refused
	}
	n.dialer = n.newDialer()
	n.httpClient = n.newHTTPTransport()
	n.httpServer = n.newHTTPServer()
	return nil
}

func (n *Node) newDialer() *dialer {
	d := &dialer{
		network: n.cfg.Dial, tls: n.cfg.TLSClient, timeout: max(time.Second, n.cfg.Timers.Election),
		hello: n.hello, conns: make(map[net.Conn]struct{}),
		learned: func(id raft.ServerID, answer welcome) { n.acks.promise(id, answer.Heartbeat) },
	}
	if d.network == nil {
		d.network = dialNetwork
	}
	return d
}

func (n *Node) hello(kind byte, to raft.ServerID) preamble {
	return preamble{
		Kind: kind, Cluster: n.cfg.ClusterName, ClusterID: n.cfg.ClusterID(),
		From: n.cfg.ServerID, FromName: n.cfg.NodeName, To: to,
	}
}

func (n *Node) judge(p preamble) welcome {
	refused := p.judge(n.cfg.ClusterName, n.cfg.ClusterID(), n.cfg.ServerID)
	if refused == "" && p.Kind == kindRaft && n.cfg.ClusterID() == "" {
		refused = judgeStranger(p.From, n.latestConfiguration().Servers)
	}
	if refused == "" && p.Kind == kindRaft && n.cfg.FSM.Store().Removed(string(p.From)) {
		refused = judgeRemoved(p.From)
	}
	return welcome{Refused: refused, Heartbeat: n.cfg.Timers.Heartbeat}
}

// judgeRemoved keeps out a server that was removed for ever. Raft lets any leader of a higher term write a log, whether it
// is in the configuration there or not: servers that come back after their cluster was recovered without them would be a
// majority among themselves, and overwrite what it has agreed on since.
func judgeRemoved(from raft.ServerID) string {
	return fmt.Sprintf("server %s was removed from this cluster: to join again as a new server, start its agent once with -join=ADDRESS of a member", from)
}

// judgeStranger protects a log whose cluster's id is not known yet, as after a kill in the first second of a cluster:
// only the servers of its own configuration may write it. Raft alone would let any leader do so, and where index and
// term happen to agree it would take another cluster's log for a continuation of this one.
func judgeStranger(from raft.ServerID, own []raft.Server) string {
	known := slices.ContainsFunc(own, func(s raft.Server) bool { return s.ID == from })
	if len(own) == 0 || known {
		return ""
	}
	return fmt.Sprintf("this server has the log of a cluster whose id it does not know yet, and server %s is not in it", from)
}

// HadState reports whether this server had a log, a term or a snapshot when it was opened.
func (n *Node) HadState() bool { return !n.hadNone }

func (n *Node) openRaft() error {
	n.guard = &voteGuard{logger: n.logger, bootstrap: n.bootstrap.mayVoteFor}
	if !n.hadNone {
		n.guard.silentUntil = n.opened.Add(n.cfg.Timers.Heartbeat)
	}
	n.transport = newTransport(&streamLayer{n.mux.raft, n.dialer}, n, &n.cfg, n.acks, n.guard)
	config := n.cfg.raftConfig()
	notify := make(chan bool, 16)
	config.NotifyCh = notify
	var err error
	n.raft, err = raft.NewRaft(config, n.cfg.FSM, n.store.logs, n.store.wal, n.store.snapshots, n.transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	// raft waits for its observers and for NotifyCh: the filter only counts, and runLeadership only passes on.
	n.raft.RegisterObserver(raft.NewObserver(nil, false, n.observe))
	n.guard.raft.Store(n.raft)
	n.wg.Go(func() { n.runLeadership(notify) })
	return nil
}

func (n *Node) start() {
	n.batcher = newBatcher(n)
	n.registerInternal()
	n.wg.Go(n.runConfirm)
	n.wg.Go(func() { _ = n.httpServer.Serve(n.mux.http) })
	n.mux.start()
}

func (n *Node) registerInternal() {
	n.internal.Handle("POST /internal/raft/propose", http.HandlerFunc(n.servePropose))
	n.internal.Handle("POST /internal/raft/stats", serveJSON(n.serveStats))
	n.internal.Handle("POST /internal/raft/bootstrap/probe", serveJSON(n.bootstrap.serveProbe))
	n.internal.Handle("POST /internal/raft/bootstrap/prepare", serveJSON(n.bootstrap.servePrepare))
}

// abandon undoes what a failed open has done so far.
func (n *Node) abandon() error {
	n.cancel()
	if n.mux != nil {
		n.mux.close()
	}
	if n.raft != nil {
		_ = n.raft.Shutdown().Error()
	}
	if n.transport != nil {
		_ = n.transport.Close()
	}
	n.wg.Wait()
	return n.closeDisk()
}

func (n *Node) closeDisk() error {
	var err error
	if n.store != nil {
		err = n.store.close()
	}
	if n.lock != nil {
		err = errors.Join(err, n.lock.Release())
	}
	return err
}

// Close hands leadership over if this server has it, within a few election timeouts, and stops. The server stays a
// member of the cluster. What is still being proposed ends in doubt or rejected.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		n.batcher.close()
		n.handOver()
		n.batcher.drain(n.cfg.Timers.Election)
		n.closeErr = n.shutdown()
	})
	return n.closeErr
}

func (n *Node) handOver() {
	if !n.IsLeader() || !n.hasOtherVoters() {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, 4*n.cfg.Timers.Election+n.cfg.Timers.LeaderLease)
	defer cancel()
	if err := n.TransferLeadership(ctx, ""); err != nil {
		n.logger.Warn("stopping without handing leadership over", "error", err)
	}
}

// shutdown stops raft first and cuts the connections then, without which its goroutines would sit in calls to servers
// that don't answer; it waits for raft last of all, and only then closes the disk under it.
func (n *Node) shutdown() error {
	n.cancel()
	stopped := n.raft.Shutdown()
	n.dialer.close()
	err := n.transport.Close() // before its listener goes, which it would take for a fault
	n.mux.close()
	err = errors.Join(err, stopped.Error())
	err = errors.Join(err, n.httpServer.Close())
	n.httpClient.CloseIdleConnections()
	n.batcher.abort()
	n.wg.Wait()
	return errors.Join(err, n.closeDisk())
}

// ServerID returns this server's id.
func (n *Node) ServerID() raft.ServerID { return n.cfg.ServerID }

// AdvertiseAddr returns the address that others dial.
func (n *Node) AdvertiseAddr() string { return n.cfg.AdvertiseAddr }

// Leader returns the leader that this server knows, "" if none.
func (n *Node) Leader() (raft.ServerID, string) {
	address, id := n.raft.LeaderWithID()
	return id, string(address)
}

// IsLeader reports whether this server takes itself for the leader. It may be deposed without knowing: see Lease.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Term returns the term that this server is in.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

func (n *Node) hasOtherVoters() bool {
	for _, server := range n.latestConfiguration().Servers {
		if server.Suffrage == raft.Voter && server.ID != n.cfg.ServerID {
			return true
		}
	}
	return false
}

func (n *Node) latestConfiguration() raft.Configuration {
	r := n.guard.raft.Load()
	if r == nil {
		return raft.Configuration{}
	}
	return r.GetConfiguration().Configuration()
}

// await waits for a future of raft's, which can't be cancelled and, when raft is shut down, may never be answered.
func await(ctx context.Context, future raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- future.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
