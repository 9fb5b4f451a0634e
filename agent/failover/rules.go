package failover

import (
	"github.com/pgraft/pgraft/fsm/primacy"
)

// acksFor is how many of n members other than the primary must have a commit: with the primary a majority of them.
func acksFor(n int) int { return n / 2 }

// apart is how many acknowledgements it takes until one comes from outside the primary's zone: one more than there are
// others inside. It is 0 when the primary's zone is not known or no member is elsewhere. A member whose zone is not known
// is taken to be in the primary's, since more acknowledgements are safe and fewer are not.
func (s *Scene) apart(members []primacy.Member) int {
	zone := s.zone(s.State.Primary)
	if zone == "" {
		return 0
	}
	inside, outside := 0, 0
	for _, m := range members {
		switch z := s.zone(m.ServerID); {
		case m.ServerID == s.State.Primary:
		case z != "" && z != zone:
			outside++
		default:
			inside++
		}
	}
	if outside == 0 {
		return 0
	}
	return inside + 1
}

func (s *Scene) zone(id string) string {
	for i := range s.Servers {
		if s.Servers[i].ID == id {
			return s.Servers[i].Zone
		}
	}
	return ""
}

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
