// Package fsm is the replicated state machine: what every server of a cluster makes of the same Raft log.
//
// FSM is the adapter that Raft drives; Store holds the state in memory (go-memdb), one version per applied batch, so
// that readers never wait for the log and blocking queries wake by watching what they read. Apply touches memory only.
// What PostgreSQL is to know of it travels through Feed, in log order, to the applier, which may lag or fail without
// holding up the log.
//
// Goroutines: Raft's FSM goroutine calls Apply, ApplyBatch, Snapshot and Restore, one at a time; it is the only writer.
// Everything else may be called from any goroutine. The package starts none of its own for the state machine.
//
// Invariant: the state, byte for byte as WriteTo writes it, is a function of the log prefix alone. Nothing that decides
// it reads a clock, draws a random number or lets the order of a map decide. See DESIGN.md for why that holds and what
// hangs on it.
package fsm
