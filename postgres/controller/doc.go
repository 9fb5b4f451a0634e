// Package controller drives one PostgreSQL to what the cluster agreed on (primacy.State): it makes or clones the data,
// follows, fences, promotes, opens, rewinds.
//
// It owns the node's durable record (Local) and one goroutine, the loop, which gathers what is (Inputs), asks the pure
// planner for the one next step (plan), and does it. A step can be cut short at any point by the agent's death: each is
// idempotent, and what it has begun is in the record or can be seen in the data, so that the next agent goes on from
// there. PostgreSQL itself is left running when the controller is closed.
//
// What must hold, whatever happens to the agent, and where it is kept:
//
//   - Nothing is reported for an epoch before the promise to accept no WAL of older ones is on disk: promise comes
//     before cut-off, and cut-off before report, in plan.
//   - PostgreSQL is started as primary only when the state, which is fresh and which a quorum stands behind, names this
//     server for the promised epoch: planReadySelf and planChosen.
//   - A copy that led is shown to no client after a restart until its WAL is known to be on a quorum, or it follows
//     another: Local.Unconfirmed.
//   - synchronous_standby_names asks for no less than State.Sync and State.Next do: syncNames.
//   - A member's copy is destroyed only after the cluster has agreed that it counts for nothing: destroys.
package controller
