package api

import "time"

// WorkerState says how the agent beside a PostgreSQL is doing, in the words that the operations guide uses.
type WorkerState string

// The worker states. A reader that finds the status file too old says WorkerStopped by itself.
const (
	WorkerRunning    WorkerState = "RUNNING"    // the agent works and its PostgreSQL is current
	WorkerStopped    WorkerState = "STOPPED"    // no live agent
	WorkerError      WorkerState = "ERROR"      // the agent lives but can't do its work: see WorkerMessage
	WorkerRecovering WorkerState = "RECOVERING" // the agent or its PostgreSQL is catching up
)

// What a node's PostgreSQL is, as far as the node that says so can prove it.
const (
	RolePrimary   = "primary"   // open for writes; in a managed cluster by the cluster's decision, with a quorum's proof
	RoleStandby   = "standby"   // follows a primary
	RoleWitness   = "witness"   // there is none: the node only votes
	RoleFenced    = "fenced"    // cut off from the primary that is being replaced, until there is a new one
	RoleCloning   = "cloning"   // its data directory is copied from the primary
	RoleRewinding = "rewinding" // its data is taken back to where the primary's history goes on
	RoleStarting  = "starting"  // not open for clients yet
	RoleStopped   = "stopped"   // not running
	RoleUnknown   = "unknown"   // nothing can be proven, a primary's claim without a quorum included
)

// Phases of an epoch of a managed PostgreSQL.
const (
	PhaseNone      = ""          // no data yet, or PostgreSQL servers that pgraft doesn't manage
	PhaseFenced    = "fenced"    // there is no primary: the new one is being chosen
	PhasePromoting = "promoting" // the new primary is chosen and not open yet
	PhaseReady     = "ready"     // the primary is open for writes
)

// How commits are acknowledged in a managed PostgreSQL.
const (
	SyncQuorum = "quorum" // when SyncStatus.Acks members beside the primary have them
	SyncAsync  = "async"  // at once
)

// Status is what one node knows of itself and of its cluster at one moment. Every surface (HTTP, CLI, SQL functions,
// console, metrics) renders this struct and nothing else, so that they cannot disagree.
type Status struct {
	AsOf          time.Time   `json:"as_of"`
	Version       string      `json:"version"`
	ClusterName   string      `json:"cluster_name"`
	ClusterID     string      `json:"cluster_id"` // empty until the cluster's first entry is applied here
	NodeID        int         `json:"node_id"`    // 0 until the node is registered
	Name          string      `json:"name"`
	ServerID      string      `json:"server_id"` // Raft server id, a UUID
	Role          string      `json:"role"`      // what this node's PostgreSQL is: primary, standby, witness, fenced, cloning, rewinding, starting, stopped, unknown
	WorkerState   WorkerState `json:"worker_state"`
	WorkerMessage string      `json:"worker_message,omitempty"` // why the worker is not RUNNING
	StartedAt     time.Time   `json:"started_at"`

	State      string `json:"state"` // leader, follower, candidate, shutdown
	Voter      bool   `json:"voter"`
	IsLeader   bool   `json:"is_leader"` // leader with a quorum's confirmation that is younger than the lease
	LeaderID   int    `json:"leader_id"` // node_id, 0 = none known
	LeaderName string `json:"leader_name,omitempty"`
	LeaderHTTP string `json:"leader_http,omitempty"` // base URL of the leader's HTTP API
	Term       uint64 `json:"term"`
	HasQuorum  bool   `json:"has_quorum"` // leader: the lease holds; follower: heard from a leader within the lease
	// LeaseUntil bounds the leadership claim: past it IsLeader is no longer proven. Zero when not the leader.
	LeaseUntil    time.Time `json:"lease_until,omitzero"`
	LastContactMS int64     `json:"last_contact_ms"` // since the leader was last heard; 0 on the leader, -1 = never

	PrimaryID   int    `json:"primary_id"` // node_id of the primary, 0 = none known (or independent PostgreSQL servers)
	PrimaryName string `json:"primary_name,omitempty"`
	// PrimaryUntil bounds this node's claim to be the primary: past it the role is no longer proven. Zero where there is
	// no claim, or no proof is needed (independent PostgreSQL servers).
	PrimaryUntil time.Time  `json:"primary_until,omitzero"`
	Epoch        uint64     `json:"epoch"`              // of the primary, one more with each failover and switchover; 0 = none yet
	EpochReason  string     `json:"epoch_reason"`       // why the epoch was begun
	Phase        string     `json:"phase"`              // how far the epoch is: fenced, promoting, ready; "" = no data yet
	Waiting      string     `json:"waiting,omitempty"`  // why there is no ready primary, as far as that is known
	Paused       bool       `json:"paused"`             // no automatic failover
	Handover     string     `json:"handover,omitempty"` // name of the node that a switchover under way gives the primary's part to
	Sync         SyncStatus `json:"sync"`               // how commits are acknowledged
	// InDoubtLSN is where this node's WAL ends if it holds what the cluster may never have acknowledged: "" = it holds no
	// such thing. It is thrown away if another node was or is made primary without it.
	InDoubtLSN string `json:"in_doubt_lsn"`

	Log      LogStats       `json:"log"`
	Counters Counters       `json:"counters"`
	Nodes    []NodeStatus   `json:"nodes"` // by node_id
	Peers    []PeerStatus   `json:"peers"` // log replication, a row per other Raft server
	Postgres PostgresStatus `json:"postgres"`

	// GossipHealth is memberlist's score of this node's own reachability: 0 is healthy, more is worse.
	GossipHealth int `json:"gossip_health"`

	Checks []Check `json:"checks"` // what this node finds of itself, by name
}

// CheckStatus is the outcome of a check in the words of monitoring systems.
type CheckStatus string

// The outcomes of a check.
const (
	CheckOK       CheckStatus = "OK"
	CheckWarning  CheckStatus = "WARNING"
	CheckCritical CheckStatus = "CRITICAL"
	CheckUnknown  CheckStatus = "UNKNOWN" // it could not be found out; the message says why
)

// Check is one thing that an operator wants to know to be in order.
type Check struct {
	Name    string      `json:"check_name"`
	Status  CheckStatus `json:"status"`
	Message string      `json:"message"`        // what was measured, one line
	Next    string      `json:"next,omitempty"` // the next step where it is not OK
}

// SyncStatus is the rule by which commits are acknowledged in a managed PostgreSQL.
type SyncStatus struct {
	Mode    string   `json:"mode"`           // quorum, async; "" = no data yet, or not managed
	Acks    int      `json:"acks"`           // members other than the primary that must have a commit; 0 with async
	Members []string `json:"members"`        // names of the nodes that count, the primary among them
	Lost    []string `json:"lost,omitempty"` // members whose data is gone: they count for nothing
	// Next is the rule that is being changed to, with the primary keeping both until the change is done.
	Next    *SyncStatus `json:"next,omitempty"`
	Warning string      `json:"warning,omitempty"` // what the rule risks
}

// LogStats describes the replicated log on this node. Sizes are entries unless named otherwise.
type LogStats struct {
	Size          uint64 `json:"log_size"`
	FirstIndex    uint64 `json:"first_index"`
	LastIndex     uint64 `json:"last_index"`
	CommitIndex   uint64 `json:"commit_index"`
	AppliedIndex  uint64 `json:"last_applied"` // by the state machine in memory
	Replicated    uint64 `json:"replicated"`   // highest index known to be on a majority
	Committed     uint64 `json:"committed"`    // commands committed since the agent started
	Applied       uint64 `json:"applied"`      // commands applied since the agent started
	Errors        uint64 `json:"errors"`       // commands that ended in an error since the agent started
	SnapshotIndex uint64 `json:"snapshot_index"`
	DiskBytes     int64  `json:"disk_bytes"`
}

// Counters count since the agent started.
type Counters struct {
	MessagesProcessed  uint64 `json:"messages_processed"` // Raft RPCs handled
	HeartbeatsSent     uint64 `json:"heartbeats_sent"`
	ElectionsTriggered uint64 `json:"elections_triggered"`
	LeaderChanges      uint64 `json:"leader_changes"`
}

// Node status words.
const (
	NodeAlive  = "alive"
	NodeFailed = "failed"
	NodeLeft   = "left"
)

// NodeStatus is one registered node as this node sees it.
type NodeStatus struct {
	NodeID          int       `json:"node_id"`
	Name            string    `json:"name"`
	ServerID        string    `json:"server_id"`
	Address         string    `json:"address"` // host of the Raft address
	Port            int       `json:"port"`    // port of the Raft address
	IsLeader        bool      `json:"is_leader"`
	Role            string    `json:"role"`   // as in Status
	Status          string    `json:"status"` // alive, failed, left: gossip and a direct probe
	Voter           bool      `json:"voter"`
	Witness         bool      `json:"witness,omitempty"`
	NonVoting       bool      `json:"non_voting,omitempty"`
	Zone            string    `json:"zone,omitempty"` // what fails together with it, as its configuration says
	PostgresAddress string    `json:"postgres_address"`
	GossipAddress   string    `json:"gossip_address"`
	HTTPAddress     string    `json:"http_address"`
	LagBytes        int64     `json:"lag_bytes"` // WAL of the primary that the node has not replayed; -1 = unknown; 0 where servers are independent
	LagMS           int64     `json:"lag_ms"`    // age of the oldest committed entry not yet in its PostgreSQL; -1 = unknown
	AppliedIndex    uint64    `json:"applied_index"`
	Version         string    `json:"version"`
	LastSeen        time.Time `json:"last_seen,omitzero"`
	// Of a managed PostgreSQL, as the node last said or, of replication, as the primary sees it.
	Timeline       uint32   `json:"timeline,omitempty"`
	LSN            string   `json:"lsn,omitempty"`             // how far its WAL reaches
	Replication    string   `json:"replication,omitempty"`     // startup, catchup, streaming: the primary's pg_stat_replication; "" = none
	Sync           bool     `json:"sync,omitempty"`            // counted when commits are acknowledged
	PendingRestart []string `json:"pending_restart,omitempty"` // parameters that wait for a restart
	Action         string   `json:"action,omitempty"`          // what its agent does with it: clone, rewind, promote, …
	ProgressDone   int64    `json:"progress_done,omitempty"`   // bytes of the action done
	ProgressTotal  int64    `json:"progress_total,omitempty"`  // bytes of the action in all; 0 = unknown
}

// PeerStatus is how far one other Raft server's log reaches.
type PeerStatus struct {
	NodeID     int    `json:"node_id"`
	Name       string `json:"name"`
	ServerID   string `json:"server_id"`
	MatchIndex uint64 `json:"match_index"`
	LagEntries uint64 `json:"lag_entries"`
	LagMS      int64  `json:"lag_ms"` // since the peer last answered; -1 = never
	IsActive   bool   `json:"is_active"`
}

// PostgresStatus is the PostgreSQL beside the agent, and how far the applier has brought it.
type PostgresStatus struct {
	Enabled          bool      `json:"enabled"` // false on a witness or without postgres configuration
	Up               bool      `json:"up"`
	Mode             string    `json:"mode"` // external, managed
	Address          string    `json:"address"`
	Database         string    `json:"database"`
	ServerVersion    string    `json:"server_version,omitempty"`
	InRecovery       bool      `json:"in_recovery"`
	AppliedIndex     uint64    `json:"applied_index"` // pgraft.meta's: what its rows are current to
	LagEntries       uint64    `json:"lag_entries"`
	LagMS            int64     `json:"lag_ms"`
	ExtensionVersion string    `json:"extension_version,omitempty"`
	Error            string    `json:"error,omitempty"` // what stands between the applier and its work
	ErrorSince       time.Time `json:"error_since,omitzero"`

	// Of a managed PostgreSQL.
	Epoch          uint64   `json:"epoch,omitempty"` // whose WAL it follows or writes
	Timeline       uint32   `json:"timeline,omitempty"`
	LSN            string   `json:"lsn,omitempty"`           // how far its WAL reaches
	ReplayLSN      string   `json:"replay_lsn,omitempty"`    // of a standby: how far reads see
	ReadOnly       bool     `json:"read_only,omitempty"`     // a primary that takes no writes: the quorum is lost, or it hands over
	InDoubtLSN     string   `json:"in_doubt_lsn,omitempty"`  // see Status.in_doubt_lsn
	InDoubtBytes   int64    `json:"in_doubt_bytes,omitzero"` // how much WAL that is
	SyncAcks       int      `json:"sync_acks,omitempty"`     // of a primary: members that acknowledge commits now
	PendingRestart []string `json:"pending_restart,omitempty"`
	Action         string   `json:"action,omitempty"`
	ProgressDone   int64    `json:"progress_done,omitempty"`
	ProgressTotal  int64    `json:"progress_total,omitempty"`
}

// KVPair is one key of the replicated key/value store.
type KVPair struct {
	Key         string `json:"key"`
	Value       []byte `json:"value"` // base64 in JSON
	Flags       uint64 `json:"flags"`
	Version     uint64 `json:"version"`           // 1 when created, one more with each change
	CreateIndex uint64 `json:"create_index"`      // log index of the entry that created the key
	ModifyIndex uint64 `json:"modify_index"`      // log index of the last change
	LockIndex   uint64 `json:"lock_index"`        // how often the key's lock was acquired
	Session     string `json:"session,omitempty"` // that holds the lock
}

// Session is a client's claim to liveness, which locks hang on.
type Session struct {
	ID          string `json:"id"`
	Name        string `json:"name,omitempty"`
	Node        string `json:"node,omitempty"`
	TTL         string `json:"ttl,omitempty"`        // "15s"; empty or "0s" = until destroyed
	LockDelay   string `json:"lock_delay,omitempty"` // default 15s
	Behavior    string `json:"behavior,omitempty"`   // release (default) or delete: what becomes of locked keys
	CreateIndex uint64 `json:"create_index"`
	ModifyIndex uint64 `json:"modify_index"`
}

// TxnCompare is one condition of a transaction, in the manner of etcd's Txn.
type TxnCompare struct {
	Key    string `json:"key"`
	Target string `json:"target"` // version, create_index, modify_index, value, session, exists
	Op     string `json:"op"`     // ==, !=, <, > (value, session: only == and !=; exists takes none)
	Number uint64 `json:"number,omitempty"`
	Value  []byte `json:"value,omitempty"`  // for target value
	Text   string `json:"text,omitempty"`   // for target session
	Exists bool   `json:"exists,omitempty"` // for target exists: what must be the case
}

// TxnOp is one operation of a transaction.
type TxnOp struct {
	Op    string `json:"op"` // set, get, get_prefix, delete, delete_prefix
	Key   string `json:"key"`
	Value []byte `json:"value,omitempty"`
	Flags uint64 `json:"flags,omitempty"`
}

// TxnRequest runs Success when all Compares hold, else Failure; all of it in one log entry or none of it.
type TxnRequest struct {
	Compares []TxnCompare `json:"compares"`
	Success  []TxnOp      `json:"success"`
	Failure  []TxnOp      `json:"failure"`
}

// TxnResponse tells which branch ran and what its operations gave, in order.
type TxnResponse struct {
	Succeeded bool        `json:"succeeded"`
	Index     uint64      `json:"index"`
	Results   []TxnResult `json:"results"`
}

// TxnResult is one operation's outcome: the pairs read, or the pair written.
type TxnResult struct {
	Pairs   []KVPair `json:"pairs,omitempty"`
	Deleted uint64   `json:"deleted,omitempty"`
}

// WriteResult answers a write.
type WriteResult struct {
	Index     uint64 `json:"index"`             // log index of the entry that carried it
	Version   uint64 `json:"version,omitempty"` // of the key, after the write
	Deleted   uint64 `json:"deleted,omitempty"` // how many keys a delete removed
	RequestID string `json:"request_id,omitempty"`
}

// Setting is one cluster-wide setting.
type Setting struct {
	Name        string `json:"name"`
	Value       string `json:"value"`
	CreateIndex uint64 `json:"create_index"`
	ModifyIndex uint64 `json:"modify_index"`
}

// EventElection is the type of the event with which a new Raft leader begins.
const EventElection = "election"

// Event is one line of the cluster's history.
type Event struct {
	Index   uint64            `json:"index"` // its place in history; unique and growing
	Time    time.Time         `json:"time"`  // by the clock of the leader that proposed it
	Type    string            `json:"type"`  // election, join, leave, failed, removed, promoted, setting, …
	Node    string            `json:"node,omitempty"`
	Message string            `json:"message"`
	Data    map[string]string `json:"data,omitempty"`
}

// Member is one node as gossip on the asked node sees it.
type Member struct {
	Name          string            `json:"name"`
	ServerID      string            `json:"server_id"`
	GossipAddress string            `json:"gossip_address"`
	RaftAddress   string            `json:"raft_address"`
	HTTPAddress   string            `json:"http_address"`
	Status        string            `json:"status"` // alive, failed, left
	Version       string            `json:"version"`
	Protocol      int               `json:"protocol"`
	Meta          map[string]string `json:"meta,omitempty"`
}

// RaftServer is one server of the Raft configuration.
type RaftServer struct {
	NodeID   int    `json:"node_id"`
	Name     string `json:"name"`
	ServerID string `json:"server_id"`
	Address  string `json:"address"`
	Leader   bool   `json:"leader"`
	Voter    bool   `json:"voter"`
}

// RaftConfiguration is the Raft configuration and the index of the entry that made it.
type RaftConfiguration struct {
	Index   uint64       `json:"index"`
	Servers []RaftServer `json:"servers"`
}

// AutopilotConfig steers what the leader does with servers on its own. Durations are Go's ("10s").
type AutopilotConfig struct {
	CleanupDeadServers      bool   `json:"cleanup_dead_servers"`
	MinQuorum               uint   `json:"min_quorum"`
	DeadServerThreshold     string `json:"dead_server_threshold"`
	ServerStabilizationTime string `json:"server_stabilization_time"`
	MaxTrailingLogs         uint64 `json:"max_trailing_logs"`
	LastContactThreshold    string `json:"last_contact_threshold"`
}

// AutopilotState is the leader's judgement of the servers.
type AutopilotState struct {
	Healthy          bool              `json:"healthy"`
	FailureTolerance int               `json:"failure_tolerance"`
	Leader           string            `json:"leader"`
	Voters           []string          `json:"voters"`
	Servers          []AutopilotServer `json:"servers"`
}

// AutopilotServer is one server's health as autopilot sees it.
type AutopilotServer struct {
	ServerID    string    `json:"server_id"`
	Name        string    `json:"name"`
	Address     string    `json:"address"`
	NodeStatus  string    `json:"node_status"`
	Status      string    `json:"status"` // leader, voter, non-voter
	Healthy     bool      `json:"healthy"`
	StableSince time.Time `json:"stable_since,omitzero"`
	LastContact string    `json:"last_contact"`
	LastTerm    uint64    `json:"last_term"`
	LastIndex   uint64    `json:"last_index"`
}

// KeyringResponse is what each node said to one keyring operation.
type KeyringResponse struct {
	Keys        map[string]int    `json:"keys"`         // key → how many nodes have it
	PrimaryKeys map[string]int    `json:"primary_keys"` // key → how many nodes encrypt with it
	NumNodes    int               `json:"num_nodes"`
	Errors      map[string]string `json:"errors,omitempty"` // node → what went wrong
}

// Health is one named check's outcome.
type Health struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // always given when not OK
}

// InfoValue is one effective configuration value and where it came from: default, a file and line, a flag,
// postgresql.conf, or a cluster-wide setting.
type InfoValue struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
	Unfit  string `json:"unfit,omitempty"` // why it does not fit what the node measures, and what would
}

// Leader tells a client who can do what the asked node can't.
type Leader struct {
	NodeID      int    `json:"node_id"`
	Name        string `json:"name"`
	HTTPAddress string `json:"http_address"`
	RaftAddress string `json:"raft_address"`
}

// Error codes, the stable words that programs branch on.
const (
	CodeBadRequest   = "bad_request"   // 400
	CodeForbidden    = "forbidden"     // 403
	CodeNotFound     = "not_found"     // 404
	CodeConflict     = "conflict"      // 409: a lock is held, a name or node_id is taken
	CodePrecondition = "precondition"  // 412: compare-and-set did not match
	CodeTooLarge     = "too_large"     // 413
	CodeTooMany      = "too_many"      // 429
	CodeInternal     = "internal"      // 500
	CodeNoLeader     = "no_leader"     // 503, with Retry-After: the write was not done
	CodeNotLeader    = "not_leader"    // 503: only the leader does this; Leader says who
	CodeUnavailable  = "unavailable"   // 503
	CodeInDoubt      = "in_doubt"      // 504: the write may or may not be done; retry with RequestID
	CodeTimeout      = "timeout"       // 504: a read that did not finish; nothing was changed
	CodeRetryExpired = "retry_expired" // 504: the retry came too late to tell whether the first try was applied
)

// Error is the body of every answer that is not a success, and the Go error that Client returns for it.
type Error struct {
	StatusCode int     `json:"-"`
	Message    string  `json:"error"`
	Code       string  `json:"code"`
	Hint       string  `json:"hint,omitempty"` // what to do next
	RequestID  string  `json:"request_id,omitempty"`
	Leader     *Leader `json:"leader,omitempty"`

	cause error // what the client met on the way, nil for an agent's answer
}

// Unwrap returns what went wrong on the way to the agent, nil when the agent itself answered.
func (e *Error) Unwrap() error { return e.cause }

// Error returns the message, with the hint behind it.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// InDoubt reports whether the write that failed may have been applied all the same.
func (e *Error) InDoubt() bool { return e.Code == CodeInDoubt || e.Code == CodeRetryExpired }
