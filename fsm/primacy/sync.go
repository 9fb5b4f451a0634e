package primacy

import (
	"fmt"
	"slices"
	"strings"
)

// MemberOf finds a server among the members, lost or not.
func MemberOf(rule Sync, serverID string) (Member, bool) {
	i := slices.IndexFunc(rule.Members, func(m Member) bool { return m.ServerID == serverID })
	if i < 0 {
		return Member{}, false
	}
	return rule.Members[i], true
}

// Chose tells whether a server is the one that was chosen, with the very copy of the data that was: only then may it
// be promoted, or started as primary again.
func Chose(s State, serverID, memory string) bool {
	m, ok := MemberOf(s.Sync, serverID)
	return ok && s.Primary == serverID && m.Memory == memory && !m.Lost &&
		(s.Phase == PhasePromoting || s.Phase == PhaseReady)
}

// Acknowledging are the members that may acknowledge a commit of primary: the others whose copy is not lost.
func Acknowledging(rule Sync, primary string) []Member {
	return slices.DeleteFunc(slices.Clone(rule.Members), func(m Member) bool { return m.Lost || m.ServerID == primary })
}

// Implies tells whether each commit that primary acknowledges by rule a also satisfies rule b. Of the a.Acks members
// that a commit waits for, as many as there are may be no members of b; the others must be enough for b.
func Implies(a, b Sync, primary string) bool {
	outside := 0
	for _, m := range Acknowledging(a, primary) {
		if in, ok := MemberOf(b, m.ServerID); !ok || in.Memory != m.Memory {
			outside++
		}
	}
	return b.Acks == 0 || a.Acks-outside >= b.Acks
}

// Stricter returns the rule that primary's synchronous_standby_names must follow while it goes from a to b: the one
// that implies the other. Apply lets Next be set only where there is one. See Acknowledging for the names.
func Stricter(a, b Sync, primary string) Sync {
	if Implies(b, a, primary) {
		return b
	}
	return a
}

// Rule returns what the primary's synchronous_standby_names must follow now.
func Rule(s State) Sync {
	if s.Next == nil {
		return s.Sync
	}
	return Stricter(s.Sync, *s.Next, s.Primary)
}

func sortedMembers(members []Member) []Member {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.ServerID, b.ServerID) })
	return members
}

func sameRule(a, b Sync) bool {
	return a.Acks == b.Acks && a.Async == b.Async && slices.Equal(a.Members, b.Members)
}

// latestVersion is the highest version that was given to a rule.
func (s State) latestVersion() uint64 {
	if s.Next != nil {
		return s.Next.Version
	}
	return s.Sync.Version
}

// withdraw drops Next, and makes its version one that was used: a late ConfirmOp for it must not confirm another.
func (s *State) withdraw() {
	if s.Next == nil {
		return
	}
	s.Sync.Version = s.Next.Version + 1
	s.Next = nil
}

func (s State) next(op NextOp) (State, []Event, error) {
	if err := s.reigns(op.Epoch); err != nil {
		return s, nil, err
	}
	if len(op.Next.Members) == 0 {
		return s.withdrawn(op)
	}
	next := op.Next
	next.Version, next.Members = op.Version+1, sortedMembers(next.Members)
	if s.Next != nil {
		if s.Sync.Version == op.Version && sameRule(*s.Next, next) {
			return s, nil, nil
		}
		return s, nil, refuse("another change of the members is under way: withdraw it first")
	}
	if err := s.current(op.Version); err != nil {
		return s, nil, err
	}
	if err := s.reachable(next); err != nil {
		return s, nil, err
	}
	s.Next = &next
	return s, s.tell(EventSync, s.Primary, "the members are to become %s", next.describe()), nil
}

func (s State) withdrawn(op NextOp) (State, []Event, error) {
	if s.Next == nil {
		return s, nil, nil
	}
	if err := s.current(op.Version); err != nil {
		return s, nil, err
	}
	s.withdraw()
	return s, s.tell(EventSync, s.Primary, "the members stay %s", s.Sync.describe()), nil
}

// current refuses what was proposed for another version of Sync.
func (s State) current(version uint64) error {
	if s.Sync.Version != version {
		return refuse("the members have changed: version %d was meant, and it is %d", version, s.Sync.Version)
	}
	return nil
}

// reachable refuses a rule that the primary can't go to in one step.
func (s State) reachable(next Sync) error {
	now, _ := MemberOf(s.Sync, s.Primary)
	if m, ok := MemberOf(next, s.Primary); !ok || m != now || m.Lost {
		return refuse("the members can't become %s: the primary, server %s, must be one of them as it is",
			next.describe(), s.Primary)
	}
	for _, m := range s.Sync.Members {
		if same, ok := MemberOf(next, m.ServerID); ok && m.Lost && same.Memory == m.Memory {
			return refuse("server %s lost the copy of the data that is to be a member", m.ServerID)
		}
	}
	if sameRule(s.Sync, next) {
		return refuse("the members are %s already", next.describe())
	}
	if !Implies(s.Sync, next, s.Primary) && !Implies(next, s.Sync, s.Primary) {
		return refuse("the members can't go from %s to %s at once, since a commit could satisfy the one and not the other: go in smaller steps",
			s.Sync.describe(), next.describe())
	}
	return nil
}

func (s State) confirm(op ConfirmOp) (State, []Event, error) {
	if err := s.reigns(op.Epoch); err != nil {
		return s, nil, err
	}
	if s.Next == nil && s.Sync.Version == op.Version {
		return s, nil, nil
	}
	if s.Next == nil || s.Next.Version != op.Version {
		return s, nil, refuse("the change of the members to version %d was withdrawn", op.Version)
	}
	s.Sync, s.Next = *s.Next, nil
	return s, s.tell(EventSync, s.Primary, "the members are %s", s.Sync.describe()), nil
}

func (s State) shrink(op ShrinkOp) (State, []Event, error) {
	if err := s.reigns(op.Epoch); err != nil {
		return s, nil, err
	}
	if s.Next == nil && len(s.Sync.Members) == 1 {
		return s, nil, nil
	}
	if err := s.current(op.Version); err != nil {
		return s, nil, err
	}
	m, ok := MemberOf(s.Sync, s.Primary)
	if !ok || m.Lost {
		return s, nil, refuse("the primary, server %s, can't go on alone: its copy of the data does not count", s.Primary)
	}
	s.Sync = Sync{Version: s.latestVersion() + 1, Members: []Member{m}, Async: s.Sync.Async}
	s.Next = nil
	return s, s.tell(EventSync, s.Primary, "the members are %s", s.Sync.describe()), nil
}

// describe says the rule in words.
func (r Sync) describe() string {
	names := make([]string, len(r.Members))
	for i, m := range r.Members {
		names[i] = "server " + m.ServerID
	}
	rule := fmt.Sprintf("%d of the others confirm each commit", r.Acks)
	if r.Async {
		rule = "no commit waits for the others"
	}
	return fmt.Sprintf("%s (%s)", strings.Join(names, ", "), rule)
}
