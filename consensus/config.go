package consensus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	walmetrics "github.com/hashicorp/raft-wal/metrics"

	"github.com/pgraft/pgraft/fsm"
)

// Timers are Raft's clocks. They must be the same on all servers of a cluster.
type Timers struct {
	Heartbeat   time.Duration // a follower that hears nothing for so long wants an election
	Election    time.Duration // a candidate that does not win within it tries again
	LeaderLease time.Duration // a leader that reaches no quorum for so long steps down; below Heartbeat
}

// ProfileTimers returns the timers for a network: lan (round trips below 10 ms), wan (10 to 50 ms) or local (above).
func ProfileTimers(profile string) (Timers, error) {
	switch profile {
	case "", "lan":
		return Timers{300 * time.Millisecond, 300 * time.Millisecond, 200 * time.Millisecond}, nil
	case "wan":
		return Timers{time.Second, time.Second, 500 * time.Millisecond}, nil
	case "local":
		return Timers{2500 * time.Millisecond, 2500 * time.Millisecond, 1250 * time.Millisecond}, nil
	}
	return Timers{}, fmt.Errorf("unknown profile %q: use lan, wan or local", profile)
}

// Hooks are called as things happen, for metrics. None may block. Each may be nil.
type Hooks struct {
	// Proposal reports one Propose: ok, refused (by the state machine), rejected or in_doubt.
	Proposal func(outcome string, took time.Duration)
	// Entry reports one entry that this node formed: how many operations and bytes it carried, and its way.
	Entry func(ops, bytes int, forwarded bool, took time.Duration)
	// Refused reports an incoming connection that was turned away.
	Refused func(reason string)
}

// Config says what a Node needs. Zero values of the numbers stand for the defaults.
type Config struct {
	DataDir string
	// Lock is the data directory's lock if the caller has it already; else Open takes it.
	Lock *DirLock
	// ServerID is what LoadServerID returned; Open loads it if it is empty.
	ServerID    raft.ServerID
	NodeName    string
	ClusterName string
	// ClusterID returns the cluster's id, "" until it is known.
	ClusterID func() string
	// BootstrapExpect is how many voters found a new cluster, 0 = this server never does.
	BootstrapExpect int
	// NonVoting servers never found a cluster.
	NonVoting bool

	// Listener is what to accept on; nil = listen on BindAddr.
	Listener      net.Listener
	BindAddr      string
	AdvertiseAddr string // what others dial; default the listener's address
	// TLSServer and TLSClient, both or neither, encrypt the port.
	TLSServer, TLSClient *tls.Config
	// Dial replaces the network, for tests.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// MaxConnsPerIP bounds incoming connections per remote address, 0 = unlimited.
	MaxConnsPerIP int
	// AddressOf returns where a server is now. What it doesn't know is dialled where the Raft configuration says.
	AddressOf func(raft.ServerID) (string, bool)

	FSM    *fsm.FSM
	Timers Timers
	// CommitTimeout is how often (or half as often) a leader with nothing to send sends nothing to each follower.
	// Default 400ms. Followers learn what is committed sooner, see pipeline.go; this is for one that comes back.
	CommitTimeout     time.Duration
	SnapshotInterval  time.Duration // default 30s
	SnapshotThreshold uint64        // default 10000 entries
	TrailingLogs      uint64        // default 10000 entries
	SegmentSize       int           // of the log's files in bytes, default 64 MiB

	BatchSize     int           // most operations in an entry, default 256
	MaxBatchDelay time.Duration // how long a batch waits for company, default 0
	MaxInFlight   int           // most entries of this node on their way at once, default 4
	MaxQueued     int           // most operations waiting for their batch, default 8192

	Logger hclog.Logger
	Hooks  Hooks
	// LogMetrics counts what the log's files see; nil: nobody does.
	LogMetrics walmetrics.Collector
}

// DefaultProposeTimeout is Propose's deadline when the caller's context has none.
const DefaultProposeTimeout = 10 * time.Second

// maxBatchBytes is where a batch ends: what Raft suggests as the largest entry.
const maxBatchBytes = 512 << 10

func (c *Config) applyDefaults() {
	setDefault(&c.ClusterID, func() string { return "" }, c.ClusterID == nil)
	setDefault(&c.AddressOf, func(raft.ServerID) (string, bool) { return "", false }, c.AddressOf == nil)
	lan, _ := ProfileTimers("lan")
	setDefault(&c.Timers, lan, c.Timers == Timers{})
	setDefault(&c.CommitTimeout, 400*time.Millisecond, c.CommitTimeout == 0)
	setDefault(&c.SnapshotInterval, 30*time.Second, c.SnapshotInterval == 0)
	setDefault(&c.SnapshotThreshold, 10000, c.SnapshotThreshold == 0)
	setDefault(&c.TrailingLogs, 10000, c.TrailingLogs == 0)
	setDefault(&c.SegmentSize, 64<<20, c.SegmentSize == 0)
	setDefault(&c.BatchSize, 256, c.BatchSize == 0)
	setDefault(&c.MaxInFlight, 4, c.MaxInFlight == 0)
	setDefault(&c.MaxQueued, 8192, c.MaxQueued == 0)
	setDefault(&c.Logger, hclog.NewNullLogger(), c.Logger == nil)
}

func setDefault[T any](target *T, value T, unset bool) {
	if unset {
		*target = value
	}
}

func (c *Config) validate() error {
	var problems []error
	require := func(ok bool, message string) {
		if !ok {
			problems = append(problems, errors.New(message))
		}
	}
	require(c.DataDir != "", "data_dir is not set")
	require(c.FSM != nil, "state machine is not set")
	require(c.ClusterName != "", "cluster_name is not set")
	require(len(c.ClusterName) <= maxNameLength, fmt.Sprintf("cluster_name is longer than %d bytes", maxNameLength))
	require(c.Listener != nil || c.BindAddr != "", "neither a listener nor an address to bind is set")
	require((c.TLSServer == nil) == (c.TLSClient == nil), "TLS is set for one direction only")
	require(c.Timers.LeaderLease < c.Timers.Heartbeat,
		fmt.Sprintf("raft leader_lease_timeout (%s) must be below heartbeat_timeout (%s)", c.Timers.LeaderLease, c.Timers.Heartbeat))
	require(c.Timers.Election >= c.Timers.Heartbeat,
		fmt.Sprintf("raft election_timeout (%s) must not be below heartbeat_timeout (%s)", c.Timers.Election, c.Timers.Heartbeat))
	require(c.BatchSize > 0 && c.BatchSize <= fsm.MaxEntryOps, fmt.Sprintf("raft batch_size must be 1 to %d", fsm.MaxEntryOps))
	require(c.MaxBatchDelay >= 0 && c.MaxBatchDelay <= time.Second, "raft max_batch_delay must be 0 to 1s")
	require(c.MaxInFlight > 0, "the number of entries in flight must be positive")
	return errors.Join(problems...)
}

func (c *Config) raftConfig() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = c.ServerID
	rc.HeartbeatTimeout = c.Timers.Heartbeat
	rc.ElectionTimeout = c.Timers.Election
	rc.LeaderLeaseTimeout = c.Timers.LeaderLease
	rc.CommitTimeout = c.CommitTimeout
	rc.SnapshotInterval = c.SnapshotInterval
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.TrailingLogs = c.TrailingLogs
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	// RestoreCommittedLogs stays off. In raft 1.8.0 it fills a bounded channel before anything reads from it, so a node
	// with much to replay never starts, and it skips the configuration entries that it replays.
	rc.RestoreCommittedLogs = false
	rc.Logger = c.Logger.Named("raft")
	return rc
}
