package httpapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/api/archive"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// StatusSource says what the node knows of itself and of its cluster.
type StatusSource interface {
	Status() api.Status
	// Leader returns who leads as far as this node knows.
	Leader() (*api.Leader, bool)
}

// Proposer puts an operation into the replicated log, from any node: a *consensus.Node. Its error is an *api.Error or a
// *consensus.RejectedError when the operation was certainly not applied; any other error leaves it in doubt.
type Proposer interface {
	Propose(ctx context.Context, op fsm.Op) (fsm.Result, error)
}

// Reader tells what a read answered by this node is worth.
type Reader interface {
	// IsLeader reports whether this node leads and holds its lease: then its memory is current.
	IsLeader() bool
	// ConsistentBarrier returns nil once a quorum confirmed the leadership and all that was committed is applied here.
	ConsistentBarrier(ctx context.Context) error
	// LastContact is how long ago the leader was heard: 0 on the leader, negative for never.
	LastContact() time.Duration
	KnownLeader() bool
}

// Sessions keeps the TTLs of sessions; only the leader's counts.
type Sessions interface {
	// Renew starts a session's TTL anew. An unknown session is an *api.Error with CodeNotFound.
	Renew(ctx context.Context, id string) error
}

// MemberSource is gossip's view of the nodes. MemberBoard is one.
type MemberSource interface {
	// Members returns the view, its number (1 or more, growing) and a channel that is closed when there is a newer one.
	Members() (index uint64, members []api.Member, changed <-chan struct{})
}

// Agent is what an operator may ask of this agent.
type Agent interface {
	Join(ctx context.Context, addrs []string) (int, error)
	// Leave starts to leave the cluster for good and returns once the cluster has let the node go; the agent stops after.
	Leave(ctx context.Context) error
	Reload(ctx context.Context) (api.ReloadResult, error)
	Info() []api.InfoValue
	// Monitor sends log lines, each with its newline, until ctx ends. It closes the channel then, and never blocks the log.
	Monitor(ctx context.Context, level hclog.Level, json bool) (<-chan []byte, error)
}

// Operator is what an operator may ask of the leader. Its methods run on the leader only.
type Operator interface {
	// ForceLeave removes a failed node, named by name, node_id or server id.
	ForceLeave(ctx context.Context, node string) error
	RaftConfiguration(ctx context.Context) (api.RaftConfiguration, error)
	// RemovePeer takes a server out, named by server id, node_id, name or Raft address.
	RemovePeer(ctx context.Context, id string) error
	// TransferLeader hands over to the server named as for RemovePeer, or with "" to the best one.
	TransferLeader(ctx context.Context, id string) error
	AutopilotConfig(ctx context.Context) (api.AutopilotConfig, error)
	SetAutopilotConfig(ctx context.Context, cfg api.AutopilotConfig) error
	AutopilotState(ctx context.Context) (api.AutopilotState, error)
}

// Keyring is gossip's encryption, over the live cluster from any node. key is base64.
type Keyring interface {
	ListKeys(ctx context.Context) (api.KeyringResponse, error)
	InstallKey(ctx context.Context, key string) (api.KeyringResponse, error)
	UseKey(ctx context.Context, key string) (api.KeyringResponse, error)
	RemoveKey(ctx context.Context, key string) (api.KeyringResponse, error)
}

// Snapshots takes and restores snapshots of the replicated state.
type Snapshots interface {
	// Snapshot returns this node's state. The reader gives exactly meta.Size bytes.
	Snapshot(ctx context.Context) (archive.Meta, io.ReadCloser, error)
	// Restore replaces the cluster's state. It runs on the leader, with a state that was validated.
	Restore(ctx context.Context, meta archive.Meta, state io.Reader) error
}

// Cluster is what an operator may ask of the cluster's managed PostgreSQL. Nodes are server ids here: the API has looked
// them up and refused what the status shows to be impossible. An order that a change of the state overtakes fails.
type Cluster interface {
	// Failover replaces the primary now, by the node or with "" by the best one, and returns once the new primary is
	// ready. allowDataLoss goes on without what can't be counted. It runs on the leader.
	Failover(ctx context.Context, node string, allowDataLoss bool) (api.ClusterResult, error)
	// Switchover hands the primary's part over without losing anything, to the node or with "" to the best one, and
	// returns once the new primary is ready. It runs on the leader.
	Switchover(ctx context.Context, node string) (api.ClusterResult, error)
	// SetPaused turns automatic failover off or on. It runs on the leader.
	SetPaused(ctx context.Context, paused bool) error
	// Restart restarts this node's PostgreSQL in its part, and returns once it serves again.
	Restart(ctx context.Context) (api.ClusterResult, error)
	// RestartAll restarts every node's PostgreSQL whose settings wait for it, one after the other, and returns once all
	// serve again.
	RestartAll(ctx context.Context) (api.ClusterResult, error)
	// Reinit begins to clone this node's data anew, which must not be the primary's; progress is in the status.
	Reinit(ctx context.Context) (api.ClusterResult, error)
}

// Config is what a Server needs. Fields without a default must be set.
type Config struct {
	Logger    hclog.Logger // default: none
	FSM       *fsm.FSM
	Status    StatusSource
	Proposer  Proposer
	Reader    Reader
	Sessions  Sessions
	Members   MemberSource
	Agent     Agent
	Operator  Operator
	Keyring   Keyring
	Snapshots Snapshots
	// Cluster serves orders about managed PostgreSQL; nil where there is none.
	Cluster Cluster
	// Primacy is what the cluster agreed on about its managed PostgreSQL; default: nothing.
	Primacy func() primacy.State
	// NodeProxy sends a request to a server's InternalHandler, whatever host its URL names.
	NodeProxy func(serverID string) http.RoundTripper
	// LeaderProxy sends a request to the leader's InternalHandler, whatever host its URL names.
	LeaderProxy http.RoundTripper
	Metrics     http.Handler // serves /metrics; default: 404
	// Observe is called once per route and returns what takes each request's status and duration; nil: nobody.
	Observe func(method, route string) func(status int, took time.Duration)
	// TempDir is where snapshots are kept while they are verified; default: the system's.
	TempDir string
	// WriteTimeout is how long a write or a barrier may take; default 10 s.
	WriteTimeout time.Duration
	// MaxBlocking is how many blocking queries and streams may wait at once; default 10000.
	MaxBlocking int
	// MaxSnapshot is the largest state that a restore takes; default 4 GiB.
	MaxSnapshot int64
	Version     string
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Metrics == nil {
		c.Metrics = http.NotFoundHandler()
	}
	if c.Observe == nil {
		c.Observe = func(string, string) func(int, time.Duration) { return func(int, time.Duration) {} }
	}
	if c.Primacy == nil {
		c.Primacy = func() primacy.State { return primacy.State{} }
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.MaxBlocking <= 0 {
		c.MaxBlocking = 10000
	}
	if c.MaxSnapshot <= 0 {
		c.MaxSnapshot = 4 << 30
	}
}
