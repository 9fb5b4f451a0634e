package fsm

import (
	"time"

	"github.com/pgraft/pgraft/api"
)

// Op is one operation on the replicated state. The concrete types below are all there are; each is a plain value that
// the codec writes into a log entry behind its kind byte. The fields' names are the names on the wire, so that renaming
// one makes old logs unreadable; but for KVSet, whose form is in codec_set.go.
type Op interface {
	kind() opKind
}

// Request makes an operation safe to retry. Its zero value means: never retried by the client.
type Request struct {
	// ID names the client's request. The store remembers the results of the latest requests (see Window) and answers
	// a repeated one from memory.
	ID string `codec:"RequestID,omitempty"`
	// Base is a log index that was already committed when the request was first made, 0 if unknown. With it the store
	// can tell a retry that came too late to be recognised (CodeRetryExpired) from a new request.
	Base uint64 `codec:"RequestBase,omitempty"`
}

// KVSet writes one key.
type KVSet struct {
	Request
	Key   string
	Value []byte
	Flags uint64
	// Cond is what must hold for the write; its zero value asks for nothing.
	Cond Cond
	// Acquire and Release name a session: take or give back the key's lock with the write. At most one is set.
	Acquire, Release string
}

// Cond is a compare-and-set condition on one key. At most one of the two is asked for.
type Cond struct {
	Kind   CondKind
	Number uint64 // modify index or version; 0 = the key must not exist
}

// CondKind says what a Cond compares.
type CondKind uint8

// The kinds of condition.
const (
	CondNone CondKind = iota
	CondModifyIndex
	CondVersion
)

// KVDelete removes one key, or with Prefix every key that starts with Key.
type KVDelete struct {
	Request
	Key    string
	Prefix bool
	Cond   Cond // not with Prefix
}

// Txn runs api.TxnRequest: all in one entry or nothing of it.
type Txn struct {
	Request
	Txn api.TxnRequest
}

// SessionCreate starts a session. The proposer chooses ID (a UUID).
type SessionCreate struct {
	Request
	ID, Name, Node string
	TTL, LockDelay time.Duration
	Behavior       string // release or delete
}

// SessionDestroy ends a session: its locks are released, or its keys deleted, as its behaviour says, and each key it
// had locked can't be locked again for its lock delay, counted from the entry's time.
type SessionDestroy struct {
	Request
	ID string
	// Expired tells that the leader ended it because its TTL ran out.
	Expired bool
}

// ClusterInit is the first command of a cluster: it gives it its id. On a cluster that has one it changes nothing and
// answers with the code for a conflict.
type ClusterInit struct {
	ClusterID, ClusterName string
}

// Node is a registry row: what the cluster knows of a server apart from whether it is alive.
type Node struct {
	NodeID          int    // given by the store at first registration of Name, and bound to Name for ever
	Name            string // unique among registered nodes
	ServerID        string // Raft server id, a UUID
	RaftAddress     string // host:port, as all addresses
	GossipAddress   string
	HTTPAddress     string
	PostgresAddress string
	Version         string
	Protocol        int
	NonVoting       bool
	Witness         bool
	Zone            string
	// Postgres tells that pgraft manages the server's PostgreSQL, and Priority how much it is preferred as primary. They
	// are left out of the log where they are not set, so that a cluster without managed servers can be read by versions
	// that know neither.
	Postgres    bool `codec:",omitempty"`
	Priority    int  `codec:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

// NodeRegister adds or updates a node. NodeID 0 lets the store choose (the bound id of the name, or the next free
// one). A ServerID that was removed (see NodeRemove) is refused with CodeConflict. A Name that is registered with
// another ServerID is taken over by the new one, and the old ServerID counts as removed.
type NodeRegister struct {
	Node Node
}

// NodeBind binds a node id to a name before the node registers. Fails with CodeConflict if either is bound otherwise.
type NodeBind struct {
	Request
	Name   string
	NodeID int
}

// NodeRemove retires a server: its row goes, its ServerID can never register again, its name keeps its node id.
type NodeRemove struct {
	Request
	ServerID string
	Reason   string // left, removed by operator, dead
}

// SettingSet and SettingDelete change one cluster-wide setting.
type SettingSet struct {
	Request
	Name, Value string
}

// SettingDelete removes one cluster-wide setting.
type SettingDelete struct {
	Request
	Name string
}

// EventAppend adds a line to the history.
type EventAppend struct {
	Type, Node, Message string
	Data                map[string]string
}

// Noop changes nothing; it is `pgraft_replicate_entry` and the benchmarks' measure. Data travels through the log.
type Noop struct {
	Request
	Data []byte
}

// Result is the deterministic outcome of one Op: the same on every node.
type Result struct {
	// Code is "" for success, else one of the api.Code constants. Message then says what was wrong.
	Code, Message string
	Index         uint64 // of the entry
	Version       uint64 // of the key written
	Deleted       uint64
	NodeID        int
	Txn           *api.TxnResponse
}

// Err returns nil for success and else an *api.Error without its HTTP status.
func (r Result) Err() error {
	if r.Code == "" {
		return nil
	}
	return &api.Error{Code: r.Code, Message: r.Message}
}
