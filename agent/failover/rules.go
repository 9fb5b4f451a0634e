package failover

import (
	"github.com/pgraft/pgraft/fsm/primacy"
)

// acksFor is how many of n members other than the primary must have a commit: with the primary a majority of them.
func acksFor(n int) int { return n / 2 }

// allowed reports whether the rules would take an operation now.
func allowed(state primacy.State, op primacy.Op) bool {
	_, _, err := primacy.Apply(state, op)
	return err == nil
}

// reported reports whether a server's report counts.
func reported(state primacy.State, id string) bool {
	_, ok := primacy.ReportOf(primacy.Countable(state), id)
	return ok
}
