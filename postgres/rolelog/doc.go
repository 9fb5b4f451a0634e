// Package rolelog writes a line into PostgreSQL's own log at each change of what its node is, so that who reads that log
// alone sees why writes were refused or sessions ended.
//
// Goroutines: Writer.Run is its only one, and the only one that talks to PostgreSQL; Saw may be called from any.
//
// Invariant: a line tells of the newest role that was seen. While PostgreSQL can't be asked, as on a fenced node, nothing
// is queued: what is true when it answers again is written, once.
package rolelog
