// Package consensus owns Raft: the log on disk, the port that agents talk to each other on, proposals from any node,
// leadership and its lease, bootstrap, promotion of new servers, and offline recovery. It knows nothing of PostgreSQL
// and nothing of gossip: where a server is now comes from Config.AddressOf.
//
// # Who runs
//
// A Node starts, in Open, one goroutine that accepts connections, one that hands RPCs to Raft, one that follows
// leadership, one that confirms leadership for reads, a few that send proposals, and one that helps a cluster through
// its first election. Close ends them all. Raft itself is never waited for while a lock of this package is held, and
// no callback into this package blocks Raft.
//
// # Invariants
//
//   - Two clusters never talk: each connection begins with the cluster's name and, once known, its id, and with the
//     server it is meant for. A server that lost its data has a new id, so it can't answer for what it has forgotten.
//   - A proposal is applied once, however often it is sent: its entry carries an id that the state machine remembers.
//     An error is either a RejectedError (not applied) or an InDoubtError (may be applied), or the operation's own
//     outcome, which is the same on every node.
//   - While a Lease holds no other server is leader: see acks.go.
//   - At most one configuration is ever elected among the servers of one bootstrap: see bootstrap.go.
//
// # Faults of the libraries that shape this code
//
// raft#695: heartbeats take no fast path (transport.go). raft#696: a leadership transfer can wedge a leader
// (transfer.go). Config.RestoreCommittedLogs stays off: in 1.8.0 it blocks NewRaft for ever when much is to be
// replayed and skips configuration entries (node.go). raft.VerifyLeader counts answers to heartbeats that were sent
// before it was called, so neither reads nor the lease rely on it (acks.go).
package consensus
