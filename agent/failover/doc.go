// Package failover does what only the Raft leader does for managed PostgreSQL: it decides where the first data is made,
// when a primary is gone, who is the next one, whose copies count, and when leadership moves to the primary.
//
// What is to be done is decided by the pure function Plan from a Scene: the replicated state, and what this node and the
// others see. Watch keeps the Scene current and does what Plan says. The agent calls Watch.Run when this node wins
// leadership and cancels its context when leadership is lost; all its goroutines end with that context. Nothing here is
// trusted: every decision is a proposal that the rules of package primacy accept or refuse in log order.
//
// The invariant: a primary is taken for gone only if its own agent says that its PostgreSQL is down, or if neither its
// agent nor its PostgreSQL answers this node, a majority of the voters says the same, and none of them says otherwise.
// One thing that is silent is never enough.
package failover
