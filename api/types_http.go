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
