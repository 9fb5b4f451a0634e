package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

const (
	// nearEnough is how far behind the primary a standby may be that is to be a member: commits will wait for it.
	nearEnough wal.LSN = 16 << 20
	// replyAge is how old the latest answer of a standby that acknowledges can be: they come once a second at least.
	replyAge = 3 * time.Second
)

// planMembers brings the servers whose copies count closer to those that should, one change at a time. The primary's
// own view of its standbys decides; without it nothing is changed, since only the primary can confirm a change.
func planMembers(s *Scene) (Decision, bool) {
	view, ok := s.current(s.State.Primary)
	if !ok || !view.Running || s.State.Handover != "" {
		return Decision{}, false
	}
	live := s.live(view)
	if s.State.Next != nil {
		return s.planPending(live)
	}
	for _, plan := range []func(*Scene, map[string]liveStandby) (Decision, bool){
		(*Scene).planHang, (*Scene).planLeave, (*Scene).planJoin, (*Scene).planAcks,
	} {
		if d, ok := plan(s, live); ok {
			return d, true
		}
	}
	return Decision{}, false
}

// liveStandby is a standby that acknowledges what the primary sends.
type liveStandby struct {
	memory string
	near   bool // close enough behind the primary
}

// live lists who acknowledges, by server id.
func (s *Scene) live(primary *View) map[string]liveStandby {
	out := make(map[string]liveStandby)
	for _, row := range primary.Standbys {
		age := time.Duration(row.ReplyAgeMS) * time.Millisecond
		if row.Streaming && age <= replyAge {
			out[row.ServerID] = liveStandby{memory: row.Memory, near: row.Flush+nearEnough >= primary.Position.LSN}
		}
	}
	return out
}

func acknowledges(live map[string]liveStandby, m primacy.Member) bool {
	row, ok := live[m.ServerID]
	return ok && row.memory == m.Memory && !m.Lost
}

// planPending withdraws a change that can't be confirmed: while it is pending, commits wait for both rules.
func (s *Scene) planPending(live map[string]liveStandby) (Decision, bool) {
	next := *s.State.Next
	var missing []string
	acking := 0
	for _, m := range next.Members {
		if m.ServerID == s.State.Primary {
			continue
		}
		if acknowledges(live, m) {
			acking++
			continue
		}
		if old, ok := s.member(m.ServerID); !ok || old.Memory != m.Memory {
			missing = append(missing, s.name(m.ServerID))
		}
	}
	if acking < next.Acks && len(missing) == 0 {
		missing = append(missing, fmt.Sprintf("%d more servers that acknowledge", next.Acks-acking))
	}
	since := s.Now.Sub(s.NextSince)
	if len(missing) == 0 || since < s.Term.Hang {
		return wait("the primary has to confirm its new members, %s", s.memberNames(next)), true
	}
	return Decision{
		Kind: KindNext, ServerID: s.State.Primary,
		Op: primacy.NextOp{Epoch: s.State.Epoch, Version: s.State.Sync.Version},
		Reason: fmt.Sprintf("the members stay %s: the change to %s can't be confirmed without %s", s.memberNames(s.State.Sync),
			s.memberNames(next), strings.Join(missing, ", ")),
	}, true
}

// planHang acts when so few members acknowledge that every commit waits: members that can't are left out, as far as
// commits stay on as many servers as any majority of the voters has copies.
func (s *Scene) planHang(live map[string]liveStandby) (Decision, bool) {
	rule := s.State.Sync
	acking, patience := 0, time.Duration(0)
	var dead []string
	for _, m := range rule.Members {
		switch {
		case m.ServerID == s.State.Primary:
		case acknowledges(live, m):
			acking++
		default:
			dead = append(dead, s.name(m.ServerID))
			patience = max(patience, s.Term.Hang-s.mute(m))
		}
	}
	if acking >= rule.Acks {
		return Decision{}, false
	}
	reason := "commits wait for " + strings.Join(dead, ", ")
	keep := s.rule(func(id string) string {
		m, ok := s.member(id)
		switch row := live[id]; {
		case ok && acknowledges(live, m):
			return m.Memory
		case s.joinable(id, row):
			return row.memory
		}
		return ""
	})
	switch {
	case keep.Acks < s.floor():
		return wait("%s: no other server with a vote can acknowledge them", reason), true
	case patience > 0:
		return wait("%s", reason), true
	case len(keep.Members) == 1:
		return Decision{
			Kind: KindShrink, ServerID: s.State.Primary,
			Op:     primacy.ShrinkOp{Epoch: s.State.Epoch, Version: rule.Version},
			Reason: reason + ": the primary goes on alone, the voters keep the quorum",
		}, true
	}
	return s.next(keep, live, reason)
}

// mute returns for how long a member has not acknowledged; one of whose machine both ports refuse never will.
func (s *Scene) mute(m primacy.Member) time.Duration {
	v := s.server(m.ServerID)
	if m.Lost || v.Agent.Reach == ReachRefused {
		return s.Term.Hang
	}
	return s.Now.Sub(v.AcknowledgedLast)
}

// planLeave leaves out a member that should not count any more, and with it all whose data is lost.
func (s *Scene) planLeave(live map[string]liveStandby) (Decision, bool) {
	for _, m := range s.State.Sync.Members {
		if m.ServerID == s.State.Primary {
			continue
		}
		why := s.leaves(live, m)
		if why == "" {
			continue
		}
		next := s.rule(func(id string) string {
			if id == m.ServerID {
				return ""
			}
			return s.kept(id)
		})
		forced := s.Out[m.ServerID] || !s.server(m.ServerID).carries()
		if next.Acks < s.floor() && !forced {
			continue
		}
		if d, ok := s.next(next, live, s.name(m.ServerID)+" no longer counts: "+why); ok {
			return d, true
		}
	}
	return Decision{}, false
}

// leaves says why a member should not count any more, "" if it should.
func (s *Scene) leaves(live map[string]liveStandby, m primacy.Member) string {
	v := s.server(m.ServerID)
	row, streams := live[m.ServerID]
	switch {
	case !v.Voter:
		return "it has no vote"
	case !v.carries():
		return "it is configured to have no part in the quorum"
	case m.Lost && !streams:
		return "its data is lost"
	case !m.Lost && streams && row.memory != m.Memory:
		return "its data is another copy"
	case s.Out[m.ServerID]:
		return "its data is to be made anew"
	case s.Now.Sub(v.AcknowledgedLast) >= s.Term.Drop:
		return "it has not acknowledged anything for " + s.Term.Drop.String()
	}
	return ""
}

// planJoin lets one server count that has caught up, in place of the copy of its that is lost if there was one.
func (s *Scene) planJoin(live map[string]liveStandby) (Decision, bool) {
	for i := range s.Servers {
		v := &s.Servers[i]
		row := live[v.ID]
		if m, member := s.member(v.ID); !s.joinable(v.ID, row) || member && !m.Lost {
			continue
		}
		next := s.rule(func(id string) string {
			if id == v.ID {
				return row.memory
			}
			return s.kept(id)
		})
		if d, ok := s.next(next, live, v.label()+" has caught up and counts from now on"); ok {
			return d, true
		}
	}
	return Decision{}, false
}

// kept returns the memory of a member that stays as it is, "" if it can't.
func (s *Scene) kept(id string) string {
	if m, ok := s.member(id); ok && !m.Lost {
		return m.Memory
	}
	return ""
}

// joinable reports whether a standby can be a member: it has a vote, its agent is there to be fenced and tells of the
// same copy, and it is near.
func (s *Scene) joinable(id string, row liveStandby) bool {
	view, ok := s.view(id)
	return ok && row.memory != "" && id != s.State.Primary && s.server(id).carries() && !s.Out[id] && row.near && view.Memory == row.memory
}

// planAcks brings the number of acknowledgements to what the members and the configuration ask for.
func (s *Scene) planAcks(live map[string]liveStandby) (Decision, bool) {
	next := s.rule(s.kept)
	if next.Acks == s.State.Sync.Acks && next.Async == s.State.Sync.Async {
		return Decision{}, false
	}
	return s.next(next, live, "the number of acknowledgements is adapted")
}

// rule makes the rule for the primary and the servers to which keep gives a memory.
func (s *Scene) rule(keep func(id string) (memory string)) primacy.Sync {
	var out primacy.Sync
	seen := make(map[string]bool)
	add := func(id string) {
		memory := keep(id)
		if id == s.State.Primary {
			memory = s.kept(id)
		}
		if memory != "" && !seen[id] {
			seen[id] = true
			out.Members = append(out.Members, primacy.Member{ServerID: id, Memory: memory})
		}
	}
	for _, m := range s.State.Sync.Members {
		add(m.ServerID)
	}
	for i := range s.Servers {
		add(s.Servers[i].ID)
	}
	slices.SortFunc(out.Members, func(a, b primacy.Member) int { return cmp.Compare(a.ServerID, b.ServerID) })
	if out.Async = s.Async; !out.Async {
		out.Acks = max(acksFor(len(out.Members)), s.apart(out.Members))
	}
	return out
}

// floor is how many servers other than the primary must have a commit, so that it is on as many as any majority of the
// voters has copies: what Raft can lose, PostgreSQL can.
func (s *Scene) floor() int {
	voters, witnesses := s.voters()
	if s.Async {
		return 0
	}
	return max(voters/2+1-witnesses-1, 0)
}

// next proposes a rule, or where the rules do not let the cluster go there in one step, a rule on the way. It proposes
// nothing that could not be confirmed, since commits would wait for that.
func (s *Scene) next(want primacy.Sync, live map[string]liveStandby, reason string) (Decision, bool) {
	for _, rule := range append([]primacy.Sync{want}, s.between(want)...) {
		op := primacy.NextOp{Epoch: s.State.Epoch, Version: s.State.Sync.Version, Next: rule}
		if s.confirmable(rule, live) && allowed(s.State, op) {
			return Decision{Kind: KindNext, ServerID: s.State.Primary, Op: op, Reason: reason + "; members: " + s.memberNames(rule)}, true
		}
	}
	return Decision{}, false
}

// between lists rules on the way to another: with those that join and all that are there, then with one less.
func (s *Scene) between(want primacy.Sync) []primacy.Sync {
	now := s.State.Sync
	all := s.rule(func(id string) string {
		if m, ok := primacy.MemberOf(want, id); ok {
			return m.Memory
		}
		return s.kept(id)
	})
	all.Acks = now.Acks
	out := []primacy.Sync{all}
	for _, m := range now.Members {
		if _, stays := primacy.MemberOf(want, m.ServerID); stays {
			continue
		}
		less := s.rule(func(id string) string {
			if id == m.ServerID {
				return ""
			}
			return s.kept(id)
		})
		out = append(out, less)
		less.Acks = min(now.Acks, len(less.Members)-1)
		out = append(out, less)
	}
	return out
}

// confirmable reports whether enough of a rule's members acknowledge now, and all that are new in it.
func (s *Scene) confirmable(rule primacy.Sync, live map[string]liveStandby) bool {
	acking := 0
	for _, m := range rule.Members {
		if acknowledges(live, m) {
			acking++
		} else if old, ok := s.member(m.ServerID); !ok || old.Memory != m.Memory {
			return false
		}
	}
	return acking >= rule.Acks
}

// memberNames words a rule for people.
func (s *Scene) memberNames(rule primacy.Sync) string {
	names := make([]string, 0, len(rule.Members))
	for _, m := range rule.Members {
		names = append(names, s.name(m.ServerID))
	}
	slices.Sort(names)
	how := fmt.Sprintf("%d besides the primary", rule.Acks)
	if rule.Async {
		how = "asynchronous"
	}
	return fmt.Sprintf("%s (%s)", strings.Join(names, ", "), how)
}
