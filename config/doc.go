// Package config turns HCL and JSON files, command line flags and the pgraft.* settings of postgresql.conf into one
// validated Config.
//
// It owns the table of keys (Keys): name, type, default, bounds and documentation of everything that can be set. The
// decoder, the flags, `pgraft info`, reload and the reference page all work from that table, so none of them can know
// a key that the others don't. Tests fail when a field of Config has no row in it.
//
// The package starts no goroutine. A Config is not changed any more once the agent runs with it, so any number of
// goroutines may read it; a reload loads a second one and asks Diff what became different. The invariant: Load returns
// either a Config that passed every check, with its warnings, or an Error that names all problems with their place.
package config
