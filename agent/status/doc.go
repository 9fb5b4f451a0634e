// Package status makes the one api.Status that every surface shows from what the node's parts know at one moment.
//
// Build is pure. Its invariant: nothing becomes a claim that the inputs don't prove. A leader is one only within its
// lease, a follower knows a leader only while it hears it, and a node counts as alive only by an answer or gossip of
// its own.
package status
