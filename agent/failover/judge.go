package failover

import (
	"fmt"
	"strings"
	"time"
)

// health is the judgement over a primary: gone, or well, or something in between that is to be waited for.
type health struct {
	gone   bool
	reason string // "" = well
	// sees is a voter that reaches the primary, which this leader has not for long; "" = none.
	sees string
}

func unsure(reason string, args ...any) health { return health{reason: fmt.Sprintf(reason, args...)} }
func gone(reason string, args ...any) health {
	return health{gone: true, reason: fmt.Sprintf(reason, args...)}
}

// judge decides whether a primary, or a server chosen to be it, is gone. See the package's invariant.
func judge(s *Scene, id string) health {
	v := s.server(id)
	if m, ok := s.member(id); ok && m.Lost {
		return gone("the data of %s is lost", v.label())
	}
	switch {
	case v.Agent.Reach == ReachUnknown:
		return unsure("%s is being looked at", v.label())
	case v.Agent.Reach.Up():
		return judgeByAgent(s, v)
	}
	return judgeFromOutside(s, v)
}

// judgeByAgent judges by what the server's own agent says, which sees PostgreSQL's process.
func judgeByAgent(s *Scene, v *Server) health {
	view, ok := s.current(v.ID)
	switch {
	case !ok && v.Postgres.Reach.Gone():
		return unsure("PostgreSQL of %s is %s, its agent has not said why", v.label(), state(v.Postgres.Reach))
	case !ok:
		return health{}
	case view.Restarting || view.Running && v.Postgres.Reach == ReachStarting:
		return judgeStart(s, v)
	case !view.Running && s.State.Handover != "":
		return unsure("PostgreSQL of %s stopped for the switchover", v.label())
	case !view.Running && view.Problem != "":
		return gone("PostgreSQL of %s is down: %s", v.label(), brief(view.Problem))
	case !view.Running:
		return gone("PostgreSQL of %s is down, as its agent says", v.label())
	case v.Postgres.Reach == ReachSilent && v.Postgres.lasted() >= s.Term.Hung:
		return gone("PostgreSQL of %s has not answered for more than %s", v.label(), s.Term.Hung)
	case v.Postgres.Reach.Gone():
		return unsure("PostgreSQL of %s is %s from here; its agent says that it runs", v.label(), state(v.Postgres.Reach))
	}
	return health{}
}

// judgeStart gives a primary that is being started some time: that is quicker than a failover, unless it has much to
// recover.
func judgeStart(s *Scene, v *Server) health {
	since := v.Postgres.Since
	if since.Before(s.PhaseSince) {
		since = s.PhaseSince
	}
	if v.Postgres.Reach == ReachAccepting || s.Now.Sub(since) < s.Term.Restart {
		return unsure("PostgreSQL of %s is being started", v.label())
	}
	return gone("PostgreSQL of %s has been starting for more than %s", v.label(), s.Term.Restart)
}

// judgeFromOutside judges a server whose agent does not answer: its PostgreSQL must not answer either, no WAL may come
// from it, and the other voters must see the same.
func judgeFromOutside(s *Scene, v *Server) health {
	agent := fmt.Sprintf("the agent of %s is %s", v.label(), state(v.Agent.Reach))
	pg := v.Postgres
	switch {
	case pg.Reach == ReachUnknown:
		return unsure("%s, its PostgreSQL is being looked at", agent)
	case pg.Reach == ReachStarting && s.Now.Sub(pg.Since) < s.Term.Restart:
		return unsure("%s, its PostgreSQL is starting", agent)
	case pg.Reach == ReachAccepting:
		return unsure("%s, its PostgreSQL answers: no failover, the agent must be started", agent)
	}
	if receiver := flowing(s, v); receiver != "" {
		return unsure("%s and its PostgreSQL is %s, but %s receives WAL from it", agent, state(pg.Reach), receiver)
	}
	both := fmt.Sprintf("agent (%s) and PostgreSQL (%s) of %s do not answer", state(v.Agent.Reach), state(pg.Reach), v.label())
	if silence(v) < s.Term.Silent {
		return unsure("%s; whether that stays so is waited for", both)
	}
	return confirm(s, v, both)
}

// silence returns for how long everything of a server that is silent has been so. What refuses counts at once.
func silence(v *Server) time.Duration {
	shortest := time.Duration(1<<63 - 1)
	for _, e := range []Evidence{v.Agent, v.Postgres} {
		if e.Reach == ReachSilent {
			shortest = min(shortest, e.lasted())
		}
	}
	return shortest
}

// flowing names a standby that received WAL since the server's PostgreSQL stopped to answer, "" if none did.
func flowing(s *Scene, v *Server) string {
	for i := range s.Servers {
		other := &s.Servers[i]
		view, ok := s.view(other.ID)
		if !ok || other.ID == v.ID {
			continue
		}
		if at := view.walAt(other.Heard); at.After(v.Postgres.Since) && s.Now.Sub(at) < s.Term.Silent {
			return other.label()
		}
	}
	return ""
}

// sightFresh is for how long after it was begun another's look at the primary counts.
const sightFresh = time.Second

// confirm asks for a majority of the voters, this leader among them, that see what it sees, and none who sees more.
func confirm(s *Scene, v *Server, what string) health {
	voters, agree := 0, 0
	var open []string
	for i := range s.Servers {
		other := &s.Servers[i]
		if !other.Voter {
			continue
		}
		voters++
		if other.ID == v.ID {
			continue
		}
		if other.ID == s.Self {
			agree++
			continue
		}
		fresh := other.Sees != nil && other.SeesOf == v.ID && s.Now.Sub(other.SeesAt) <= sightFresh
		switch {
		case !fresh:
			open = append(open, other.label())
		case other.Sees.Agent.Up() || other.Sees.Postgres.Up():
			h := unsure("%s, but %s reaches it (agent %s, PostgreSQL %s)",
				what, other.label(), state(other.Sees.Agent), state(other.Sees.Postgres))
			if other.Sees.Agent.Up() && v.Agent.lasted() >= s.Term.Silent {
				h.sees = other.ID
			}
			return h
		case other.Sees.Agent.Gone() && other.Sees.Postgres.Gone():
			agree++
		default:
			open = append(open, other.label())
		}
	}
	if agree <= voters/2 {
		return unsure("%s; not confirmed yet by %s", what, strings.Join(open, ", "))
	}
	return gone("%s, %d of %d voters see it", what, agree, voters)
}

// briefly is how much of a server's own words a reason quotes: it is kept in the replicated state. The rest is in the
// log of its agent.
const briefly = 160

func brief(text string) string {
	if len(text) <= briefly {
		return text
	}
	return strings.ToValidUTF8(text[:briefly], "") + "…"
}
