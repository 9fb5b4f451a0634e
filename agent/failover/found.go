package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgraft/pgraft/fsm/primacy"
)

// planFound decides where the cluster's first data comes from, once every server that may have some has told. It leaves
// out one, "" for none: the one that was to make it and is gone.
func planFound(s *Scene, without string) Decision {
	var empty, full []*Server
	var open []string
	for i := range s.Servers {
		v := &s.Servers[i]
		view, ok := s.view(v.ID)
		switch {
		case v.Witness || ok && !view.Managed || v.ID == without:
			continue
		case !ok && v.Voter:
			open = append(open, fmt.Sprintf("%s (its agent is %s)", v.label(), state(v.Agent.Reach)))
		case !ok:
		case view.Problem != "":
			open = append(open, fmt.Sprintf("%s (%s)", v.label(), view.Problem))
		case view.Data == DataUnknown:
			open = append(open, v.label()+" (its data is being looked at)")
		case view.Data == DataPresent:
			full = append(full, v)
		case v.carries():
			empty = append(empty, v)
		}
	}
	switch {
	case len(open) > 0:
		return wait("founding waits to hear what data is there: %s", strings.Join(open, ", "))
	case len(full) > 0:
		return adopt(s, full)
	case len(empty) == 0:
		return wait("founding waits for a server with a vote that is to have a PostgreSQL")
	}
	first := slices.MinFunc(empty, func(a, b *Server) int {
		return cmp.Or(cmp.Compare(b.priority(), a.priority()), falseFirst(a.ID != s.Self, b.ID != s.Self),
			strings.Compare(a.label(), b.label()))
	})
	return s.found(first, primacy.FoundInit, first.label()+" makes the cluster's data, since nobody has any")
}

func (s *Scene) found(v *Server, how primacy.Found, reason string) Decision {
	return Decision{
		Kind: KindFound, ServerID: v.ID, Reason: reason,
		Op: primacy.FoundOp{Epoch: s.State.Epoch + 1, ServerID: v.ID, Memory: v.View.Memory, How: how, Secret: s.Secret, Async: s.Async},
	}
}

// adopt takes over data that was there before pgraft. It must be of one cluster, with one primary.
func adopt(s *Scene, full []*Server) Decision {
	var primaries []*Server
	for _, v := range full {
		if v.View.SystemID != full[0].View.SystemID {
			return refuse("%s and %s have data of different clusters (system identifiers %s and %s): "+
				"move the data that is not to be kept out of the way on its server", full[0].label(), v.label(),
				full[0].View.SystemID, v.View.SystemID)
		}
		if !v.View.Standby {
			primaries = append(primaries, v)
		}
	}
	switch {
	case len(primaries) == 0:
		return refuse("%s: all data that is there is a standby's: start the agent where the primary is, or promote one of them "+
			"with pg_ctl promote", labels(full))
	case len(primaries) > 1:
		return refuse("%s are both primaries of system identifier %s: decide which one to keep and move the other's data "+
			"out of the way", labels(primaries), full[0].View.SystemID)
	case !primaries[0].carries():
		return refuse("%s has the primary's data and no vote: unset non_voting there", primaries[0].label())
	}
	first := primaries[0]
	return s.found(first, primacy.FoundAdopt, fmt.Sprintf("%s has the data that is there (system identifier %s)",
		first.label(), first.View.SystemID))
}

func refuse(reason string, args ...any) Decision {
	return Decision{Kind: KindRefuse, Reason: fmt.Sprintf(reason, args...)}
}

func labels(servers []*Server) string {
	names := make([]string, 0, len(servers))
	for _, v := range servers {
		names = append(names, v.label())
	}
	slices.Sort(names)
	return strings.Join(names, " and ")
}
