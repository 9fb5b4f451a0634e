package controller

import (
	"context"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// Postgres is one PostgreSQL server and its data directory. Each method is idempotent; only the loop calls them, except
// for Checkpoint.
type Postgres interface {
	// Inspect reads the data directory, Fingerprint names it. Mark makes a word the last part of that name.
	Inspect(ctx context.Context) (Files, error)
	Fingerprint() (string, error)
	Mark(word string) error

	// PID is the postmaster's, 0 = none. Exited is closed when that one ends.
	PID() int
	Exited() <-chan struct{}
	// Start starts the server so that it outlives the agent, and returns when it takes connections.
	Start(ctx context.Context) error
	// Stop stops it in order, and by force if that takes longer than two seconds.
	Stop(ctx context.Context) error

	// Configure writes the configuration files and says what that changed.
	Configure(context.Context, Settings) (changes []string, err error)
	// Reload returns when new connections see what was written.
	Reload(ctx context.Context) error
	// Refused returns a *managed.Problem for those of the parameters whose values in the files PostgreSQL does not take.
	Refused(ctx context.Context, names []string) error
	// Standby makes the next start one as a standby, or not.
	Standby(on bool) error

	Observe(ctx context.Context) (Live, error)
	// CutOff writes the configuration without a primary, ends the stream and returns when there is none and none can
	// come. Position then tells where the WAL ends.
	CutOff(ctx context.Context, s Settings) error
	Position(ctx context.Context) (Cut, error)
	// Promote ends recovery, if it has not ended, and returns the timeline that began with it and where.
	Promote(ctx context.Context) (wal.Timeline, wal.LSN, error)

	InitDB(ctx context.Context) error
	Wipe(ctx context.Context) error
	Clone(ctx context.Context, conninfo, slot string, progress func(done, total int64)) error
	Rewind(ctx context.Context, conninfo string) error

	EnsureRole(ctx context.Context, secret string) error
	// EnsureSlots makes slots keep WAL for the others: settled, when they have had time to connect.
	EnsureSlots(ctx context.Context, names []string, settled bool) error
	// TerminateClients ends clients' sessions: all, or those whose commit waits for standbys.
	TerminateClients(ctx context.Context, onlyWaiting bool) error
	Checkpoint(ctx context.Context) error
	// SyncNamesInForce returns when every commit waits as synchronous_standby_names says; rising tells that none did
	// before. FlushedLSN then is above all that was acknowledged by another rule.
	SyncNamesInForce(ctx context.Context, want string, rising bool) error
	FlushedLSN(ctx context.Context) (wal.LSN, error)
	// History returns the timelines before one, oldest first.
	History(timeline wal.Timeline) ([]managed.Ended, error)
	// WALEnd returns how far the WAL in the files reaches behind a position, as far as can be told without a server.
	WALEnd(ctx context.Context, timeline wal.Timeline, from wal.LSN) (wal.LSN, error)
}

// Settings is what Postgres.Configure writes.
type Settings struct {
	Cluster   map[string]string
	Conninfo  string // "" = follow nobody
	Slot      string
	SyncNames string
	ReadOnly  bool
	Gated     bool
}

// Raft is the cluster's agreement, as seen from this node.
type Raft interface {
	// Propose returns nil when the operation was applied, a *primacy.Refusal when it was refused. After any other
	// error it may have been applied, or may be later.
	Propose(ctx context.Context, op primacy.Op) error
	// State returns what this node has applied, and a channel that is closed when it changes: soon, if not at once.
	State() (primacy.State, <-chan struct{})
	// Fresh reports whether State is at least as new as what was agreed on when the agent started.
	Fresh() bool
	// QuorumProof reports whether a quorum answered within the lease, with a channel that is closed when that changes.
	QuorumProof() (bool, <-chan struct{})
}

// Registry knows the cluster's servers.
type Registry interface {
	Peer(serverID string) (Peer, bool)
	Peers() []Peer
}

// Peer is a server that has a PostgreSQL.
type Peer struct {
	ServerID string
	NodeID   int
	Host     string
	Port     int
}

// Event is a line for the cluster's history.
type Event struct {
	Type    string
	Message string
	Data    map[string]string
}
