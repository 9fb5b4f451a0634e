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

// Eligible returns the reports of the servers that may be promoted without the loss of an acknowledged commit, the one
// that reaches furthest first and among equals by server id, or says why there is none. A server is eligible if so many
// reports as it takes are no further than its own: those alone would have made it the furthest. With Async only those
// that reach furthest are, as each step back may be an acknowledged commit.
func Eligible(s State) ([]Report, error) {
	if s.Phase != PhaseFenced {
		return nil, refuse("no primary is to be chosen: %s", s.where())
	}
	reports := Countable(s)
	need := max(1, Needed(s.Sync))
	if len(reports) < need {
		return nil, refuse("%d of the %d members have reported what they have, and it takes %d",
			len(reports), len(s.Sync.Members), need)
	}
	slices.SortStableFunc(reports, func(a, b Report) int {
		return cmp.Or(b.Position.Compare(a.Position), strings.Compare(a.ServerID, b.ServerID))
	})
	if furthest := reports[0].Position; furthest.Compare(s.Acked) < 0 {
		return nil, refuse("the members that have reported reach %s, and %s was acknowledged", furthest, s.Acked)
	}
	least := reports[len(reports)-need].Position
	if s.Sync.Async {
		least = reports[0].Position
	}
	return slices.DeleteFunc(reports, func(r Report) bool {
		return r.Position.Compare(least) < 0 || r.Position.Compare(s.Acked) < 0
	}), nil
}

// eligible returns the server's report if it may be promoted without the loss of an acknowledged commit.
func (s State) eligible(serverID string) (Report, error) {
	able, err := Eligible(s)
	if err != nil {
		return Report{}, err
	}
	if report, ok := ReportOf(able, serverID); ok {
		return report, nil
	}
	if _, ok := ReportOf(Countable(s), serverID); !ok {
		return Report{}, refuse("server %s is not among the members that have reported what they have", serverID)
	}
	return Report{}, refuse("server %s may lack commits: server %s reaches further, %s", serverID, able[0].ServerID, able[0].Position)
}
