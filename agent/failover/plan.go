package failover

import (
	"fmt"

	"github.com/pgraft/pgraft/fsm/primacy"
)

// Kind names what a Decision does.
type Kind string

// The kinds. Wait and Refuse do nothing: they say why nothing is done, Refuse that a person must do something.
const (
	KindFound    Kind = "found"
	KindFence    Kind = "fence"
	KindPromote  Kind = "promote"
	KindNext     Kind = "next" // members that count change
	KindShrink   Kind = "shrink"
	KindAbort    Kind = "abort" // the switchover
	KindTransfer Kind = "transfer leadership"
	KindWait     Kind = "wait"
	KindRefuse   Kind = "refuse"
)

// Decision is one thing that the leader does, or why it does not.
type Decision struct {
	Kind     Kind
	ServerID string     // whom it is about, "" = nobody
	Op       primacy.Op // what is to be proposed, nil for Transfer, Wait and Refuse
	Reason   string
}

// bare is the decision without its operation, which may hold the replication role's password.
func (d Decision) bare() Decision { d.Op = nil; return d }

// Plan decides what to do. It is pure. At most one of the decisions proposes something, and it is the first.
func Plan(s Scene) []Decision {
	s.Term = s.Term.withDefaults()
	switch s.State.Phase {
	case primacy.PhaseNone:
		return one(planFound(&s, ""))
	case primacy.PhaseFenced:
		return one(planCount(&s))
	case primacy.PhasePromoting:
		return one(planPromoting(&s))
	case primacy.PhaseReady:
		return planReady(&s)
	}
	return []Decision{{Kind: KindRefuse, Reason: fmt.Sprintf("phase %q is not known to this version: upgrade it", s.State.Phase)}}
}

func one(d Decision) []Decision { return []Decision{d} }

func wait(reason string, args ...any) Decision {
	return Decision{Kind: KindWait, Reason: fmt.Sprintf(reason, args...)}
}

// planReady watches over an open primary, and does one other thing at a time while it is well.
func planReady(s *Scene) []Decision {
	health := judge(s, s.State.Primary)
	if health.gone {
		return one(planFence(s, health.reason))
	}
	var waits []Decision
	if reason := planRoom(s); reason != "" && health.reason == "" {
		d := planFence(s, reason)
		if d.Kind != KindWait {
			return one(d)
		}
		waits = append(waits, d)
	}
	if health.reason != "" {
		waits = append(waits, wait("%s", health.reason))
	}
	for _, next := range []func(*Scene) (Decision, bool){planHandover, planMembers, planTransfer} {
		d, ok := next(s)
		switch {
		case !ok:
		case d.Kind == KindWait:
			waits = append(waits, d)
		default:
			return append([]Decision{d}, waits...)
		}
	}
	if to := health.sees; to != "" && !s.Now.Before(s.TransferAfter) {
		// What this leader can't see, another can: that one must lead, since this one can't tell the primary anything.
		return append([]Decision{{Kind: KindTransfer, ServerID: to, Reason: fmt.Sprintf("%s sees the primary and this node does not", s.name(to))}}, waits...)
	}
	return waits
}

// planRoom says why a primary that has no room to write is replaced, "" if it is not: where all disks are full another
// primary is no better. The new one stays for a while, so that disks that fill together don't chase it around.
func planRoom(s *Scene) string {
	view, ok := s.current(s.State.Primary)
	if !ok || !view.Full || s.State.Handover != "" || s.Now.Sub(s.PhaseSince) < s.Term.Restart {
		return ""
	}
	for _, m := range s.State.Sync.Members {
		other, ok := s.current(m.ServerID)
		if ok && m.ServerID != s.State.Primary && s.absent(m) == "" && other.Streaming && !other.Full {
			return fmt.Sprintf("PostgreSQL of %s has no space left on its device, and %s has", s.name(s.State.Primary), s.name(m.ServerID))
		}
	}
	return ""
}

// planFence ends the epoch of a primary that is gone, if that leads to a next one.
func planFence(s *Scene, reason string) Decision {
	if s.State.Paused {
		return wait("%s; automatic failover is paused", reason)
	}
	if enough, missing := s.survivors(s.State.Primary); !enough {
		return wait("%s; no failover, since %s", reason, missing)
	}
	return Decision{
		Kind: KindFence, ServerID: s.State.Primary, Reason: reason,
		Op: primacy.FenceOp{Epoch: s.State.Epoch + 1, Target: s.State.Handover, Reason: reason},
	}
}

// planPromoting waits for the chosen server, and fences again when it is gone.
func planPromoting(s *Scene) Decision {
	chosen := s.State.Primary
	health := judge(s, chosen)
	switch {
	case !health.gone && health.reason != "":
		return wait("%s was chosen and is not ready; %s", s.name(chosen), health.reason)
	case !health.gone:
		return wait("%s was chosen and is not ready yet", s.name(chosen))
	case len(s.State.Lineage) == 0 && s.State.Found == primacy.FoundInit && !s.server(chosen).Agent.Reach.Up():
		return planFound(s, chosen) // nothing was ever acknowledged there
	case len(s.State.Lineage) == 0:
		return wait("the cluster's first data comes from %s; %s", s.name(chosen), health.reason)
	}
	return planFence(s, health.reason)
}

// planHandover watches over a switchover: it must not take the primary away for long, nor for a target that is gone.
func planHandover(s *Scene) (Decision, bool) {
	target := s.State.Handover
	if target == "" {
		return Decision{}, false
	}
	abort := func(reason string) (Decision, bool) {
		return Decision{
			Kind: KindAbort, ServerID: target, Reason: reason, Op: primacy.HandoverOp{Epoch: s.State.Epoch},
		}, true
	}
	v := s.server(target)
	since := s.Now.Sub(s.HandoverSince)
	if since >= s.Term.Handover {
		return abort(fmt.Sprintf("the switchover to %s took longer than %s", v.label(), s.Term.Handover))
	}
	if v.Agent.Reach == ReachRefused || v.Agent.Reach == ReachSilent && v.Agent.lasted() >= s.Term.Silent {
		return abort(fmt.Sprintf("the agent of %s, which was to take over, is %s", v.label(), state(v.Agent.Reach)))
	}
	primary, ok := s.current(s.State.Primary)
	if !ok || primary.Running {
		return wait("switchover to %s is under way", v.label()), true
	}
	// The primary stopped for it. Its agent ends the epoch itself; this is for one that dies before it does.
	if enough, missing := s.survivors(s.State.Primary); !enough {
		return abort("the switchover can't be finished: " + missing)
	}
	reason := "switchover to " + v.label()
	return Decision{
		Kind: KindFence, ServerID: s.State.Primary, Reason: reason,
		Op: primacy.FenceOp{Epoch: s.State.Epoch + 1, Target: target, Reason: reason},
	}, true
}

// planTransfer gives leadership to the primary's agent: with both in one place one loss is one failover, not two.
func planTransfer(s *Scene) (Decision, bool) {
	primary := s.server(s.State.Primary)
	view, ok := s.current(primary.ID)
	quiet := s.State.Handover == "" && s.State.Next == nil && !s.Now.Before(s.TransferAfter)
	settled := s.Now.Sub(s.PhaseSince) >= s.Term.Settle && s.Now.Sub(s.Since) >= s.Term.Settle
	if primary.ID == s.Self || !primary.Voter || !ok || !view.Running || view.Restarting || !quiet || !settled {
		return Decision{}, false
	}
	if !primary.Postgres.Reach.Up() {
		return Decision{}, false
	}
	return Decision{Kind: KindTransfer, ServerID: primary.ID, Reason: "leadership belongs to the primary, " + primary.label()}, true
}
