package primacy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Compare orders positions by how far they reach: see doc.go.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.LSN, q.LSN))
}

// String names the position for people.
func (p Position) String() string { return fmt.Sprintf("%s of epoch %d", p.LSN, p.Epoch) }

// Needed is how many reports of members must be there before a primary may be chosen. With Async it is half of the
// members, as many as the best rule for so many members would ask for.
func Needed(rule Sync) int {
	n := len(rule.Members)
	if rule.Async {
		return n - n/2
	}
	return n - rule.Acks
}

// Countable returns the reports that count: those of members about the copy of the data that counts.
func Countable(s State) []Report {
	if s.Phase != PhaseFenced {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Reports), func(r Report) bool { return !s.counts(r) })
}

func (s State) counts(r Report) bool {
	m, ok := MemberOf(s.Sync, r.ServerID)
	return ok && m.Memory == r.Memory && !m.Lost
}

// ReportOf finds a server's report.
func ReportOf(reports []Report, serverID string) (Report, bool) {
	i := slices.IndexFunc(reports, func(r Report) bool { return r.ServerID == serverID })
	if i < 0 {
		return Report{}, false
	}
	return reports[i], true
}

// count returns the reports that count and reach furthest, or says why nobody may be chosen yet.
func (s State) count() ([]Report, error) {
	if s.Phase != PhaseFenced {
		return nil, refuse("no primary is to be chosen: %s", s.where())
	}
	reports := Countable(s)
	if need := max(1, Needed(s.Sync)); len(reports) < need {
		return nil, refuse("%d of the %d members have reported what they have, and it takes %d",
			len(reports), len(s.Sync.Members), need)
	}
	furthest := slices.MaxFunc(reports, func(a, b Report) int { return a.Position.Compare(b.Position) }).Position
	if furthest.Compare(s.Acked) < 0 {
		return nil, refuse("the members that have reported reach %s, and %s was acknowledged", furthest, s.Acked)
	}
	return slices.DeleteFunc(reports, func(r Report) bool { return r.Position != furthest }), nil
}

// eligible returns the server's report if it may be promoted without the loss of an acknowledged commit.
func (s State) eligible(serverID string) (Report, error) {
	best, err := s.count()
	if err != nil {
		return Report{}, err
	}
	if report, ok := ReportOf(best, serverID); ok {
		return report, nil
	}
	if _, ok := ReportOf(Countable(s), serverID); !ok {
		return Report{}, refuse("server %s is not among the members that have reported what they have", serverID)
	}
	return Report{}, refuse("server %s may lack commits: server %s reaches further, %s",
		serverID, best[0].ServerID, best[0].Position)
}

// Choose says who is to be promoted, or why nobody can be yet. It is one of those whose WAL reaches furthest: the
// Target, else the one that prefer puts first (a negative result prefers a; nil has no preference), else the one with
// the lowest server id. The reason is for people, in both cases.
func Choose(s State, prefer func(a, b Report) int) (choice Report, ok bool, reason string) {
	best, err := s.count()
	if err != nil {
		return Report{}, false, err.Error()
	}
	if target, ok := ReportOf(best, s.Target); ok {
		return target, true, fmt.Sprintf("server %s was asked for and none reaches further than %s",
			target.ServerID, target.Position)
	}
	choice = slices.MinFunc(best, func(a, b Report) int {
		if prefer != nil {
			if c := prefer(a, b); c != 0 {
				return c
			}
		}
		return strings.Compare(a.ServerID, b.ServerID)
	})
	if len(best) > 1 {
		return choice, true, fmt.Sprintf("server %s is preferred among %d that reach furthest, %s",
			choice.ServerID, len(best), choice.Position)
	}
	return choice, true, fmt.Sprintf("server %s reaches furthest, %s", choice.ServerID, choice.Position)
}
