// Package managed holds the hands that pgraft runs a PostgreSQL server with: one Server for one data directory, whose
// methods are steps that can be repeated. It decides nothing: what to do when is package controller's.
//
// It owns the data directory while no postmaster runs in it, and at any time the file pgraft.conf in there, the last
// line of postgresql.conf, which includes it, and the marked blocks in pg_hba.conf and pg_ident.conf. PostgreSQL's own
// programs do the work: initdb, pg_basebackup, pg_rewind and pg_controldata, as the user that the server runs as.
//
// Goroutines: one for each postmaster that Exited was asked about, until it ends or Close; one that reaps each
// postmaster that Start started; one for each program while it runs, which ends the program with this process.
//
// Invariant: a data directory that InitDB, Clone, Rewind or Wipe has begun to change and not finished says so (see
// Data.Partial) whenever and however this process ends, and Start refuses it. Start also refuses a directory whose
// configuration this process has not written since the directory was made. A postmaster outlives the process.
package managed
