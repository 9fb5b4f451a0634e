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
	able, err := primacy.Eligible(s.State)
	if err != nil {
		return refuse("%s: bring back a server that has it, or go on without by: pgraft failover -allow-data-loss", err)
	}
	chosen, ok := s.prefer(able)
	if !ok {
		return wait("counted; %s reaches furthest (%s) and can't be promoted while its agent is away", s.name(able[0].ServerID), able[0].Position)
	}
	if late := s.awaited(chosen.ServerID); late != "" {
		return wait("counted; %s, which is to take over, has not reported yet", late)
	}
	if s.mayWrite(chosen.ServerID) {
		return wait("counted; %s is silent, and may take itself for writable until its lease is over", s.name(s.State.Primary))
	}
	return Decision{
		Kind: KindPromote, ServerID: chosen.ServerID,
		Op: primacy.PromoteOp{Epoch: s.State.Epoch, ServerID: chosen.ServerID},
		Reason: fmt.Sprintf("%s has all acknowledged commits (%s), as %d of %d copies show",
			s.name(chosen.ServerID), chosen.Position, count, len(s.State.Sync.Members)),
	}
}

// prefer chooses among those that may be promoted: the operator's target, another than the primary that an operator
// wants replaced, one that reaches furthest, one that is not the deposed primary, the highest priority, this leader, the
// name.
func (s *Scene) prefer(eligible []primacy.Report) (primacy.Report, bool) {
	// An agent that was not looked at yet has just committed its report.
	able := slices.DeleteFunc(slices.Clone(eligible), func(r primacy.Report) bool { return s.server(r.ServerID).Agent.Reach.Gone() })
	if len(able) == 0 {
		return primacy.Report{}, false
	}
	return slices.MinFunc(able, func(x, y primacy.Report) int {
		a, b := s.server(x.ServerID), s.server(y.ServerID)
		return cmp.Or(
			falseFirst(a.ID != s.State.Target, b.ID != s.State.Target),
			falseFirst(s.State.Replace && a.ID == s.State.Primary, s.State.Replace && b.ID == s.State.Primary),
			y.Position.Compare(x.Position),
			falseFirst(a.ID == s.State.Primary, b.ID == s.State.Primary),
			cmp.Compare(b.priority(), a.priority()),
			falseFirst(a.ID != s.Self, b.ID != s.Self),
			strings.Compare(a.label(), b.label()), strings.Compare(a.ID, b.ID),
		)
	}), true
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

// awaited names the server that gets a moment longer for its report, "" if none does: the one that an operator named,
// or any other than the primary that an operator wants replaced.
func (s *Scene) awaited(chosen string) string {
	if s.Now.Sub(s.PhaseSince) >= s.Term.Target {
		return ""
	}
	for _, m := range s.State.Sync.Members {
		wanted := m.ServerID == s.State.Target || s.State.Replace && chosen == s.State.Primary
		if wanted && m.ServerID != chosen && !reported(s.State, m.ServerID) && s.absent(m) == "" {
			return s.name(m.ServerID)
		}
	}
	return ""
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
