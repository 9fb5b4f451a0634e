// Package health finds out what an operator wants to know to be in order on one node: room on its disks, how fast they
// sync, its certificate, its clock, elections, WAL that replication slots keep, and what the status says of restarts,
// versions and replication.
//
// Checks is the judgement, a pure function of Facts. Measurer is the one goroutine that measures, every few seconds,
// what the status does not know; it changes nothing but a file of one block in the data directory, which has no name.
package health
