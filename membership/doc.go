// Package membership tells who is in the cluster and who is alive: gossip on hashicorp/memberlist, with what
// memberlist alone does not do.
//
// It owns the gossip port, the table of members, the peer file and the keyring file in the data directory. It knows
// nothing of Raft or PostgreSQL: the agent hands it a [Meta] to spread and reads [Membership.Members]. It never
// changes who votes; the Raft leader does that by what it reads here.
//
// Invariants, which DESIGN.md argues for:
//   - A name belongs to one server id at a time. A newcomer can't take the name of a live node.
//   - Nodes of two clusters never appear in one table, once both know their cluster's id.
//   - A node that left is told apart from one that failed, by everybody, also by those that were cut off at the time.
//   - Two sides that were apart find each other again, however long it took, as long as one of them knows an address.
//
// Goroutines, all started by [Open] and awaited by [Membership.Close]: runRedial looks for members that are not
// here, runSync repeats state exchanges while others see this node wrong, runUpkeep keeps the metadata, the table and
// the peer file current. memberlist runs its own and calls back with its node lock held, so nothing that it calls
// here calls back into it or takes a lock that is held around a call to it.
package membership
