// Package bench measures pgraft as a whole, in Go's benchmark format, for `make bench`: three nodes in this process
// against hashicorp/raft alone, three agents without PostgreSQL, and three agents with a PostgreSQL each. It has no
// code but its benchmarks.
//
// Every benchmark runs once, for a time that it chooses, and reports its figures as metrics; benchstat compares several
// runs. At the end a table names each target of the project and whether this run met it. All processes share the
// machine with the clients that load them, so a figure is a lower bound of what three machines do.
package bench
