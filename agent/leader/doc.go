// Package leader does what only the Raft leader does for the whole cluster: it gives a new cluster its id, keeps the
// node registry and the Raft configuration in step with gossip, and ends sessions whose time ran out.
//
// The agent calls Duties.Run when this node wins leadership and cancels its context when leadership is lost; all
// goroutines end with that context. The invariant: nothing here decides by gossip alone that a voter goes. Gossip
// saying that a node left on purpose, or an operator, or autopilot above min_quorum, removes a server; silence never
// does. What is to be done is decided by the pure function Plan; the loop around it does one change after another.
package leader
