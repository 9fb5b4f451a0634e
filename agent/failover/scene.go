package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
)

// Scene is all that Plan looks at.
type Scene struct {
	Now   time.Time
	Self  string    // this leader's server id
	Since time.Time // since when this node leads
	Term  Timing    // how long is long
	State primacy.State
	// PhaseSince is since when this leader sees State's epoch and phase; HandoverSince and NextSince likewise, zero
	// while there is none.
	PhaseSince, HandoverSince, NextSince time.Time
	Servers                              []Server // by server id
	// Async is what the configuration asks for: commits are acknowledged before another server has them.
	Async bool
	// Secret is for FoundOp.
	Secret string
	// Out lists servers that are kept out of the members for now: an operator has them made anew.
	Out map[string]bool
	// TransferAfter is when leadership may be given away again, zero = at any time.
	TransferAfter time.Time
}

// Node is what the registry and the Raft configuration say of a server.
type Node struct {
	ID, Name  string // server id; the name is "" until it is registered
	Voter     bool   // of Raft
	Witness   bool
	NonVoting bool   // configured as a read replica
	Zone      string // what fails together with it, "" = not known
}

// Server is one server of the cluster as this leader knows it.
type Server struct {
	Node
	Agent            Evidence
	Postgres         Evidence  // of its port; looked at for the primary only
	View             *View     // the latest, nil = none yet
	Heard            time.Time // when the latest view came
	Sees             *Sight    // what it last saw of the primary, nil = not asked or no answer
	SeesOf           string
	SeesAt           time.Time
	AcknowledgedLast time.Time // when the primary last had it among those that acknowledge; never zero for a member
}

// Evidence is what looking at something gave, and since when it gives that: from the beginning of the first of the looks
// in a row with this outcome to the end of the latest.
type Evidence struct {
	Reach        Reach
	Since, Until time.Time
}

// lasted is for how long the outcome was seen. A look that is under way may have another.
func (e Evidence) lasted() time.Duration { return e.Until.Sub(e.Since) }

// Timing says how long is long. Zero fields are set to the defaults.
type Timing struct {
	Silent   time.Duration // what is silent for so long is gone
	Fresh    time.Duration // a view or sight is good for so long
	Restart  time.Duration // a primary that is being started may take so long
	Hung     time.Duration // a PostgreSQL whose agent is fine may be silent for so long
	Hang     time.Duration // commits that nobody can acknowledge wait so long before members are left out
	Drop     time.Duration // a member that does not acknowledge is left out after so long where that costs nothing
	Handover time.Duration // a switchover may take so long
	Target   time.Duration // a fence waits so long for the report of a server that an operator wants
	Settle   time.Duration // leadership stays so long where it is after a change
	Lease    time.Duration // a primary that hears no quorum ends its sessions after so long
}

// DefaultTiming is what the zero Timing stands for.
func DefaultTiming() Timing {
	return Timing{
		Silent: time.Second, Fresh: 2 * time.Second, Restart: 10 * time.Second, Hung: 10 * time.Second,
		Hang: time.Second, Drop: 30 * time.Second, Handover: 10 * time.Second, Target: 2 * time.Second,
		Settle: 2 * time.Second, Lease: 2 * time.Second,
	}
}

func (t Timing) withDefaults() Timing {
	d := DefaultTiming()
	return Timing{
		Silent: cmp.Or(t.Silent, d.Silent), Fresh: cmp.Or(t.Fresh, d.Fresh), Restart: cmp.Or(t.Restart, d.Restart),
		Hung: cmp.Or(t.Hung, d.Hung), Hang: cmp.Or(t.Hang, d.Hang), Drop: cmp.Or(t.Drop, d.Drop),
		Handover: cmp.Or(t.Handover, d.Handover), Target: cmp.Or(t.Target, d.Target), Settle: cmp.Or(t.Settle, d.Settle),
		Lease: cmp.Or(t.Lease, d.Lease),
	}
}

// server returns a server by id; an unknown one has only its id.
func (s *Scene) server(id string) *Server {
	for i := range s.Servers {
		if s.Servers[i].ID == id {
			return &s.Servers[i]
		}
	}
	return &Server{Node: Node{ID: id}}
}

func (s *Scene) name(id string) string { return s.server(id).label() }

func (v *Server) label() string { return cmp.Or(v.Name, v.ID) }

// view returns a server's view if its agent answers now.
func (s *Scene) view(id string) (*View, bool) {
	v := s.server(id)
	if v.View == nil || v.Agent.Reach != ReachAlive || s.Now.Sub(v.Heard) > s.Term.Fresh {
		return nil, false
	}
	return v.View, true
}

// current returns a server's view if it is of the present epoch and phase: what it says was so after they began.
func (s *Scene) current(id string) (*View, bool) {
	v, ok := s.view(id)
	return v, ok && v.Epoch == s.State.Epoch && v.Phase == s.State.Phase
}

// carries reports whether a server is meant to have a PostgreSQL that counts.
func (v *Server) carries() bool { return v.Voter && !v.Witness && !v.NonVoting }

func (s *Scene) voters() (all, witnesses int) {
	for i := range s.Servers {
		if !s.Servers[i].Voter {
			continue
		}
		all++
		if s.Servers[i].Witness {
			witnesses++
		}
	}
	return all, witnesses
}

func (s *Scene) member(id string) (primacy.Member, bool) { return primacy.MemberOf(s.State.Sync, id) }

// absent says why a member can't give a report, "" if it can.
func (s *Scene) absent(m primacy.Member) string {
	v := s.server(m.ServerID)
	view, ok := s.view(m.ServerID)
	switch {
	case m.Lost:
		return "its data is lost"
	case !ok && v.Agent.Reach.Gone():
		return "its agent is " + state(v.Agent.Reach)
	case !ok:
		return "its agent has not answered yet"
	case view.Memory != m.Memory:
		return "its data is another copy"
	case !view.Countable:
		return "its WAL's end is not known"
	}
	return ""
}

// state words a Reach for people.
func state(r Reach) string {
	switch r {
	case ReachRefused:
		return "down"
	case ReachSilent:
		return "silent"
	case ReachUnknown:
		return "not looked at yet"
	}
	return string(r)
}

// survivors tells whether the members without one of them suffice to count what was acknowledged, and if not, who is
// missing.
func (s *Scene) survivors(without string) (enough bool, missing string) {
	able := 0
	var absent []string
	for _, m := range s.State.Sync.Members {
		if m.ServerID == without {
			continue
		}
		if why := s.absent(m); why != "" {
			absent = append(absent, s.name(m.ServerID)+": "+why)
			continue
		}
		able++
	}
	need := max(1, primacy.Needed(s.State.Sync))
	if able >= need {
		return true, ""
	}
	if len(absent) == 0 {
		absent = []string{s.name(without) + " alone has all commits"}
	}
	slices.Sort(absent)
	return false, fmt.Sprintf("%d of the %d copies that are needed can be counted (%s)", able, need, strings.Join(absent, "; "))
}
