package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgraft/pgraft/fsm/primacy"
)

// planCount promotes once enough members of a fenced epoch have reported, and says until then who is missing.
func planCount(s *Scene) Decision {
	need := max(1, primacy.Needed(s.State.Sync))
	count := len(primacy.Countable(s.State))
	if count < need {
		return wait("counting: %d of %d reports that are needed%s", count, need, s.missing())
	}
	best := furthest(s.State)
	if best[0].Position.Compare(s.State.Acked) < 0 {
		return refuse("no copy reaches %s, up to which commits are known to have been acknowledged (%s reaches furthest, %s): "+
			"bring back a server that has it, or go on without by: pgraft failover -allow-data-loss",
			s.State.Acked, s.name(best[0].ServerID), best[0].Position)
	}
	chosen, ok := s.prefer(best)
	if !ok {
		return wait("counted; %s reaches furthest (%s) and can't be promoted while its agent is away",
			s.name(best[0].ServerID), best[0].Position)
	}
	if s.awaitsTarget(chosen) {
		return wait("counted; %s, which was to take over, has not reported yet", s.name(s.State.Target))
	}
	if s.mayWrite(chosen) {
		return wait("counted; %s is silent, and may take itself for writable until its lease is over", s.name(s.State.Primary))
	}
	return Decision{
		Kind: KindPromote, ServerID: chosen,
		Op: primacy.PromoteOp{Epoch: s.State.Epoch, ServerID: chosen},
		Reason: fmt.Sprintf("%s has all acknowledged commits (%s), as %d of %d copies show",
			s.name(chosen), best[0].Position, count, len(s.State.Sync.Members)),
	}
}

// prefer chooses among servers that reach equally far: the operator's target, one that is not the deposed primary, the
// highest priority, this leader, the name.
func (s *Scene) prefer(reports []primacy.Report) (string, bool) {
	var able []*Server
	for _, r := range reports {
		// An agent that was not looked at yet has just committed its report.
		if v := s.server(r.ServerID); !v.Agent.Reach.Gone() {
			able = append(able, v)
		}
	}
	if len(able) == 0 {
		return "", false
	}
	return slices.MinFunc(able, func(a, b *Server) int {
		return cmp.Or(
			falseFirst(a.ID != s.State.Target, b.ID != s.State.Target),
			falseFirst(a.ID == s.State.Primary, b.ID == s.State.Primary),
			cmp.Compare(b.priority(), a.priority()),
			falseFirst(a.ID != s.Self, b.ID != s.Self),
			strings.Compare(a.label(), b.label()), strings.Compare(a.ID, b.ID),
		)
	}).ID, true
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (v *Server) priority() int {
	if v.View == nil {
		return 0
	}
	return v.View.Priority
}

// mayWrite reports whether the deposed primary, of which nothing is heard, may not have noticed yet that it is alone. No
// commit of its would be acknowledged, but sessions there could begin to write, and read what is no longer so.
func (s *Scene) mayWrite(chosen string) bool {
	deposed := s.server(s.State.Primary)
	unseen := deposed.Agent.Reach == ReachUnknown
	switch {
	case deposed.ID == "" || deposed.ID == chosen || reported(s.State, deposed.ID):
		return false
	case !unseen && deposed.Agent.Reach != ReachSilent || deposed.Postgres.Reach == ReachRefused:
		return false
	case unseen:
		return s.Now.Sub(s.PhaseSince) < s.Term.Lease
	}
	// That it is silent is settled; only time has to pass since it last can have heard anything.
	return s.Now.Sub(deposed.Agent.Since) < s.Term.Lease && s.Now.Sub(s.PhaseSince) < s.Term.Lease
}

// awaitsTarget gives the server that an operator named a moment longer for its report.
func (s *Scene) awaitsTarget(chosen string) bool {
	target := s.State.Target
	if target == "" || target == chosen || s.Now.Sub(s.PhaseSince) >= s.Term.Target {
		return false
	}
	m, ok := s.member(target)
	return ok && !reported(s.State, target) && s.absent(m) == ""
}

// missing says who has reported and who has not, and why.
func (s *Scene) missing() string {
	var there, open []string
	for _, m := range s.State.Sync.Members {
		if reported(s.State, m.ServerID) {
			there = append(there, s.name(m.ServerID))
			continue
		}
		open = append(open, s.name(m.ServerID)+": "+cmp.Or(s.absent(m), "has not reported yet"))
	}
	slices.Sort(there)
	slices.Sort(open)
	text := "; missing: " + strings.Join(open, "; ")
	if len(there) > 0 {
		text = " (" + strings.Join(there, ", ") + ")" + text
	}
	return text
}
