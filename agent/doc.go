// Package agent is the life of a node: it opens the parts in order, connects them, and closes them in reverse. What
// the parts do is in their own packages; here is only who may see whom.
//
// The parts, from the bottom: the data directory with its lock; the state machine; consensus, which owns the Raft port;
// gossip; the prober of the other servers; PostgreSQL's monitor and applier; the HTTP API, the console and the status
// file on top. Goroutines of this package are started by Agent.Run and end before it returns: one follows leadership,
// one follows gossip, one keeps the bootstrap going until there is a cluster, one writes the status file, and one for
// each server that listens.
//
// Invariant: whatever stops the agent, PostgreSQL is left as it is, and nothing that the agent said outlives what it
// can prove: the status file is removed, or runs out by itself.
package agent
