package api

// Header names that the API speaks beside HTTP's own.
const (
	HeaderIndex       = "X-Pgraft-Index"        // what to pass as ?index= to wait for a change
	HeaderKnownLeader = "X-Pgraft-Known-Leader" // true or false
	HeaderLastContact = "X-Pgraft-Last-Contact" // milliseconds since the answering node heard the leader; -1 = never
	HeaderRequestID   = "X-Pgraft-Request-Id"   // makes a write safe to retry: "id" or "id;base=N"
	HeaderToken       = "X-Pgraft-Token"
)

// CodeMethodNotAllowed is the code of the answer 405.
const CodeMethodNotAllowed = "method_not_allowed"

// KVStats counts the key/value store.
type KVStats struct {
	Keys  uint64 `json:"keys"`
	Bytes uint64 `json:"bytes"` // of keys and values
	Index uint64 `json:"index"` // last change
}

// Self is what an agent says of itself.
type Self struct {
	NodeID      int     `json:"node_id"`
	Name        string  `json:"name"`
	ServerID    string  `json:"server_id"`
	ClusterName string  `json:"cluster_name"`
	ClusterID   string  `json:"cluster_id"`
	Version     string  `json:"version"`
	Role        string  `json:"role"`
	State       string  `json:"state"`
	Member      *Member `json:"member,omitempty"` // as gossip sees it
}

// JoinResult tells how many of the addresses asked were reached.
type JoinResult struct {
	Joined int `json:"joined"`
}

// ReloadResult tells what a reload changed and what waits for a restart.
type ReloadResult struct {
	Applied      []string `json:"applied"`
	NeedsRestart []string `json:"needs_restart"`
}

// KeyringRequest names the gossip key that a keyring operation is about.
type KeyringRequest struct {
	Key string `json:"key"` // base64
}

// Readiness is the answer of /livez and /readyz when asked to be verbose, and always when a check fails.
type Readiness struct {
	OK     bool     `json:"ok"`
	Checks []Health `json:"checks"`
}

// ClusterRequest is an order about the cluster's PostgreSQL.
type ClusterRequest struct {
	// Node is a name, a node_id or a server id. Failover and switchover choose the best node without one.
	Node string `json:"node,omitempty"`
	// AllowDataLoss lets a failover go on without what can't be counted: acknowledged commits may be lost.
	AllowDataLoss bool `json:"allow_data_loss,omitempty"`
}

// ClusterResult tells what became of an order about the cluster's PostgreSQL.
type ClusterResult struct {
	Epoch   uint64 `json:"epoch,omitempty"`   // of the new primary
	Primary string `json:"primary,omitempty"` // name of the new primary
	Message string `json:"message,omitempty"` // what was done, for people
}

// PatroniStatus is a node's PostgreSQL in the words of Patroni's REST API, for load balancers and exporters made for it.
// A health check that does not hold answers 503 with the same and with error and code.
type PatroniStatus struct {
	State                    string          `json:"state"` // running, starting, stopped, creating replica, …
	Role                     string          `json:"role"`  // primary, replica, uninitialized
	ServerVersion            int             `json:"server_version,omitempty"`
	Timeline                 uint32          `json:"timeline,omitempty"`
	XLog                     *PatroniXLog    `json:"xlog,omitempty"`
	ReplicationState         string          `json:"replication_state,omitempty"` // of a replica: streaming, …
	SyncStandby              bool            `json:"sync_standby,omitempty"`      // each acknowledged commit is on it
	QuorumStandby            bool            `json:"quorum_standby,omitempty"`    // counted when commits are acknowledged
	Replication              []PatroniStream `json:"replication,omitempty"`       // of a primary
	ClusterUnlocked          bool            `json:"cluster_unlocked,omitempty"`  // there is no primary, or none is known
	PendingRestart           bool            `json:"pending_restart,omitempty"`
	Pause                    bool            `json:"pause,omitempty"`
	DatabaseSystemIdentifier string          `json:"database_system_identifier,omitempty"`
	Patroni                  PatroniSelf     `json:"patroni"`
}

// PatroniXLog is how far WAL reaches, in bytes.
type PatroniXLog struct {
	Location         uint64 `json:"location,omitempty"` // of a primary
	ReceivedLocation uint64 `json:"received_location,omitempty"`
	ReplayedLocation uint64 `json:"replayed_location,omitempty"`
}

// PatroniStream is a standby that follows this primary.
type PatroniStream struct {
	ApplicationName string `json:"application_name"`
	State           string `json:"state"`
	SyncState       string `json:"sync_state"`
}

// PatroniSelf is what stands in Patroni's place.
type PatroniSelf struct {
	Version string `json:"version"` // of pgraft
	Scope   string `json:"scope"`   // the cluster's name
	Name    string `json:"name"`
}

// PatroniCluster is the cluster in the words of Patroni's REST API.
type PatroniCluster struct {
	Members []PatroniMember `json:"members"`
	Scope   string          `json:"scope"`
	Pause   bool            `json:"pause,omitempty"`
}

// PatroniMember is a node with a PostgreSQL.
type PatroniMember struct {
	Name           string `json:"name"`
	Role           string `json:"role"`  // leader, sync_standby, quorum_standby, replica
	State          string `json:"state"` // running, streaming, starting, stopped, creating replica, unknown
	APIURL         string `json:"api_url,omitempty"`
	Host           string `json:"host,omitempty"`
	Port           int    `json:"port,omitempty"`
	Timeline       uint32 `json:"timeline,omitempty"`
	LSN            string `json:"lsn,omitempty"`
	Lag            any    `json:"lag,omitempty"` // of a replica: bytes, or "unknown"
	PendingRestart bool   `json:"pending_restart,omitempty"`
}
