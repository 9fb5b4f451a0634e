package pgext

import (
	"context"

	"github.com/pgraft/pgraft/api"
)

// Backend is what the console asks of the agent. Its methods are called from many goroutines. An *api.Error reaches
// the client with its code as SQLSTATE, and its hint; any other error as an internal one.
type Backend interface {
	Status() api.Status
	Info() []api.InfoValue

	// KVGet and KVKeys answer with what a majority agreed on at the time of the call. KVGet gives nil for no such key.
	KVGet(ctx context.Context, key string) (*api.KVPair, error)
	KVKeys(ctx context.Context, prefix string) ([]string, error)
	KVPut(ctx context.Context, key string, value []byte) (api.WriteResult, error)
	// KVCAS writes if the key's version is the given one, 0 = there is no such key, and fails with
	// api.CodePrecondition if it is not.
	KVCAS(ctx context.Context, key string, version uint64, value []byte) (api.WriteResult, error)
	KVDelete(ctx context.Context, key string) (api.WriteResult, error)

	// AddNode, RemoveNode and TransferLeadership fail with api.CodeNotLeader on a node that is not the leader.
	AddNode(ctx context.Context, nodeID int, address string, port int) error
	RemoveNode(ctx context.Context, nodeID int) error
	TransferLeadership(ctx context.Context, nodeID int) error

	// Replicate sends data through the log and returns its index.
	Replicate(ctx context.Context, data []byte) (uint64, error)
	// WaitIndex returns once this node's state machine has applied the index.
	WaitIndex(ctx context.Context, index uint64) error
	// Snapshot takes a Raft snapshot on this node and returns the index it reaches to.
	Snapshot(ctx context.Context) (uint64, error)
	SetDebug(enabled bool)

	// Events returns the latest ones, the newest first.
	Events(ctx context.Context, limit int) ([]api.Event, error)
	Settings(ctx context.Context) ([]api.Setting, error)
}

// Switcher is a Backend whose agent manages PostgreSQL. A Backend that is none has the statement refused.
type Switcher interface {
	// Switchover hands the primary's part to the node, losing nothing, and returns once that is ready. It works from any
	// node.
	Switchover(ctx context.Context, nodeID int) error
}
