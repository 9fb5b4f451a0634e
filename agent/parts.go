package agent

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/datadir"
	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/internal/tlsutil"
	"github.com/pgraft/pgraft/membership"
	"github.com/pgraft/pgraft/postgres/managed"
)

// openDataDir takes the directory for this process and checks that its server may be a member.
func (a *Agent) openDataDir(context.Context) error {
	dir := a.cfg.DataDir
	if err := datadir.Create(dir); err != nil {
		return err
	}
	lock, err := consensus.AcquireLock(dir)
	if err != nil {
		return err
	}
	a.lock = lock
	a.onClose(lock.Release)
	if err := datadir.Check(dir, a.cfg.ClusterName); err != nil {
		return err
	}
	if err := a.renewRetired(); err != nil {
		return err
	}
	cluster, err := datadir.ReadCluster(dir)
	if err != nil {
		return err
	}
	a.clusterID.Store(&cluster.ID)
	return a.openRunDir()
}

// renewRetired lets a retired directory begin a new life, if the operator says so by naming whom to join.
func (a *Agent) renewRetired() error {
	retired, found, err := datadir.ReadRetired(a.cfg.DataDir)
	if err != nil || !found {
		return err
	}
	if len(a.cfg.Join) == 0 {
		return fmt.Errorf("this node is no longer a member of the cluster since %s (%s): to join again as a new server, "+
			"start once with -join=ADDRESS of a member", retired.At.Format(time.RFC3339), retired.Reason)
	}
	a.log.Info("joining again as a new server", "was", retired.ServerID, "retired", retired.At, "reason", retired.Reason)
	return datadir.Renew(a.cfg.DataDir, consensus.StateFiles()...)
}

func (a *Agent) openRunDir() error {
	if err := os.MkdirAll(a.cfg.RunDir, 0o755); err != nil {
		return fmt.Errorf("create run_dir: %w", err)
	}
	return nil
}

func (a *Agent) openDefaults(ctx context.Context) error {
	return readPostgresDefaults(ctx, a.cfg, a.log)
}

func (a *Agent) openTLS(context.Context) error {
	if !a.cfg.TLSEnabled() {
		return nil
	}
	reloader, err := tlsutil.NewReloader(tlsConfig(a.cfg))
	if err != nil {
		return err
	}
	a.tls = reloader
	return nil
}

func tlsConfig(cfg *config.Config) tlsutil.Config {
	t := cfg.TLS
	return tlsutil.Config{
		CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile,
		VerifyIncoming: t.VerifyIncoming, VerifyServerName: t.VerifyServerName,
	}
}

func (a *Agent) openConsensus(context.Context) error {
	cfg, timers := a.cfg, a.cfg.RaftTimers()
	a.fsm = fsm.New(a.log.Named("fsm"))
	logMetrics, err := a.metrics.WALCollector()
	if err != nil {
		return err
	}
	cc := consensus.Config{
		DataDir: cfg.DataDir, Lock: a.lock, NodeName: cfg.NodeName, ClusterName: cfg.ClusterName, ClusterID: a.knownClusterID,
		BootstrapExpect: cfg.BootstrapExpect, NonVoting: cfg.NonVoting,
		BindAddr: cfg.RaftBind(), AdvertiseAddr: cfg.RaftAdvertise(), AddressOf: a.addressOf, FSM: a.fsm,
		Timers: consensus.Timers{
			Heartbeat: timers.Heartbeat, Election: timers.Election, LeaderLease: timers.Lease,
		},
		SnapshotInterval: cfg.Raft.SnapshotInterval, SnapshotThreshold: cfg.Raft.SnapshotThreshold,
		TrailingLogs: cfg.Raft.TrailingLogs, BatchSize: cfg.Raft.BatchSize, MaxBatchDelay: cfg.Raft.MaxBatchDelay,
		Logger: a.log, Hooks: a.consensusHooks(), LogMetrics: logMetrics,
	}
	if a.tls != nil {
		cc.TLSServer, cc.TLSClient = a.tls.Server(), a.tls.Client()
	}
	node, err := consensus.Open(cc)
	if err != nil {
		return err
	}
	a.raft = node
	a.onClose(node.Close)
	return nil
}

// addressOf is asked from the moment consensus opens, which is before gossip does.
func (a *Agent) addressOf(id raft.ServerID) (string, bool) {
	if g := a.gossipNow.Load(); g != nil {
		if address, ok := g.RaftAddress(string(id)); ok {
			return address, true
		}
	}
	node, ok := a.fsm.Store().NodeByServerID(string(id))
	return node.RaftAddress, ok
}

func (a *Agent) openGossip(context.Context) error {
	cfg := a.cfg
	gossip, err := membership.Open(membership.Config{
		NodeName: cfg.NodeName, ServerID: string(a.raft.ServerID()), ClusterName: cfg.ClusterName, ClusterID: a.knownClusterID,
		BindAddr: cfg.BindAddr, BindPort: cfg.Ports.Gossip, AdvertiseAddr: cfg.AdvertiseAddr, AdvertisePort: cfg.Ports.Gossip,
		Profile: cfg.Gossip.Profile, Join: cfg.Join, RetryJoin: cfg.RetryJoin, RetryInterval: cfg.RetryInterval,
		DataDir: cfg.DataDir, Encrypt: cfg.Encrypt, Meta: ownMeta(cfg, a.raft.HadState()), Logger: a.log.Named("gossip"),
	})
	if err != nil {
		return err
	}
	a.gossip = gossip
	a.gossipNow.Store(gossip)
	a.onClose(gossip.Close)
	return nil
}

func (a *Agent) openDatabase(context.Context) error {
	var server *managed.Server
	if a.managed != nil {
		server = a.managed.server
	}
	a.database = newDatabase(a.cfg, server, a.fsm, a.caughtUp, a.log)
	if a.database == nil {
		a.fsm.Feed().Release(math.MaxUint64) // nobody reads it
		return nil
	}
	a.database.open()
	a.onClose(func() error { a.database.close(); return nil })
	return nil
}

// caughtUp reports whether the state machine has all that the leader had committed when it was last heard.
func (a *Agent) caughtUp() bool {
	stats := a.raft.Stats()
	_, heard := a.raft.LastContact()
	return heard && stats.AppliedIndex >= stats.CommitIndex && stats.CommitIndex > 0
}

// openDuties prepares what the loops and the API work with.
func (a *Agent) openDuties(context.Context) error {
	a.autopilot = consensus.NewAutopilot(a.raft, &autopilotSource{a})
	a.duties = leader.NewDuties(leader.Config{
		Self: string(a.raft.ServerID()), NodeName: a.cfg.NodeName, ClusterName: a.cfg.ClusterName,
		Consensus: raftDuties{a.raft}, Store: a.fsm.Store,
		Members:   func() []leader.Member { return leaderMembers(a.gossip.Members()) },
		Autopilot: a.autopilot.Run, Interval: reconcileInterval, Logger: a.log.Named("leader"),
	})
	a.prober = probe.New(probe.Config{
		Self: string(a.raft.ServerID()), Servers: a.otherServers,
		Transport: func(id string) http.RoundTripper {
			return a.metrics.RPCTransport("probe", a.raft.PeerTransport(raft.ServerID(id)))
		},
		Interval: probeInterval, Timeout: 2 * probeInterval, Removed: a.removedBy,
	})
	a.health = a.newMeasurer()
	return nil
}

// openLoops starts the agent's own goroutines. Their context ends with Run's; close waits for them before anything
// below them is closed.
func (a *Agent) openLoops(ctx context.Context) error {
	// The loops outlive ctx by the time that leaving takes.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.onClose(func() error { cancel(); a.loops.Wait(); return nil })
	a.openHistory()
	a.loop(ctx, a.history.Run)
	a.loop(ctx, a.prober.Run)
	a.loop(ctx, a.runLeadership)
	a.loop(ctx, a.runGossip)
	a.loop(ctx, a.runClusterID)
	a.loop(ctx, a.runBootstrap)
	a.loop(ctx, a.runSettings)
	a.loop(ctx, a.runStatus)
	a.loop(ctx, a.health.Run)
	if a.database != nil {
		a.loop(ctx, a.database.runWake)
		a.loop(ctx, a.database.roles.Run)
	}
	if a.managed != nil {
		a.loop(ctx, a.runProof)
		a.loop(ctx, a.runManaged)
	}
	if a.failover != nil {
		a.loop(ctx, a.runPrimacy)
	}
	return nil
}

const (
	// reconcileInterval is how often the leader looks at everything, changes heard or not.
	reconcileInterval = 10 * time.Second
	// probeInterval is how often each server asks each.
	probeInterval = time.Second
)

// otherServers lists whom the prober asks: all that the registry or the Raft configuration names.
func (a *Agent) otherServers() []string {
	seen := make(map[string]bool)
	var ids []string
	add := func(id string) {
		if !seen[id] && id != string(a.raft.ServerID()) {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	_, servers := a.raft.Configuration()
	for _, s := range servers {
		add(string(s.ID))
	}
	_, registry := a.fsm.Store().Nodes(nil)
	for _, n := range registry {
		add(n.ServerID)
	}
	return ids
}

// removedBy ends this agent when another server says that it was retired. The data directory remembers it.
func (a *Agent) removedBy(by probe.Answer) {
	if a.leaving.Swap(true) {
		return
	}
	retired := datadir.Retired{ServerID: string(a.raft.ServerID()), Reason: "removed from the cluster, as " + by.Name + " says", At: time.Now()}
	if err := datadir.WriteRetired(a.cfg.DataDir, retired); err != nil {
		a.log.Error("could not record that this server was removed", "error", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	if err := a.gossip.Leave(ctx); err != nil {
		a.log.Debug("the others take this node for failed", "error", err)
	}
	a.stop(fmt.Errorf("%s says that this server was removed from the cluster: to join again as a new server, "+
		"start the agent once with -join=ADDRESS of a member", by.Name))
}

// goodbyeTimeout bounds how long a removed server waits for the others to hear that it goes.
const goodbyeTimeout = 3 * time.Second

func (a *Agent) knownClusterID() string { return *a.clusterID.Load() }
