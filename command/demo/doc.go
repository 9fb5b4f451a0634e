// Package demo runs a whole cluster on one machine: a PostgreSQL and an agent per node, each a process of its own that
// outlives a crash of this one. Tests use it as a fixture through DIR/cluster.json, and may kill and start again any of
// its processes; at the end it finds what runs by the locks in the data directories, not by what it started.
//
// Goroutines: one per agent it started, which waits for that process to end; all end before Run returns.
package demo
