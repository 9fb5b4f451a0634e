// Package postgres knows the PostgreSQL server as a process and as a health: where its programs are, whom they run as
// (Owner), how the server of a data directory is started, stopped and killed (Postmaster), a whole small one (Instance),
// whether an external one is fit for pgraft (Check, Monitor), and which pgraft settings its configuration file holds
// (ReadSettings).
//
// Goroutines: Postmaster.Launch leaves one behind that reaps the postmaster for as long as this process is its parent;
// Monitor owns one between Open and Close.
//
// Invariant: a postmaster that Launch started outlives the process that started it, and a data directory's lock file is
// removed only when no server process works in that directory.
package postgres
