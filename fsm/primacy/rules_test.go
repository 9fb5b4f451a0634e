package primacy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/fsm/primacy"
)

func TestNeeded(t *testing.T) {
	for _, tc := range []struct {
		members, acks int
		async         bool
		want          int
	}{
		{1, 0, false, 1}, {2, 1, false, 1}, {2, 0, false, 2}, {3, 1, false, 2}, {3, 2, false, 1}, {4, 2, false, 2}, {5, 2, false, 3},
		{1, 0, true, 1}, {2, 0, true, 1}, {3, 0, true, 2}, {4, 0, true, 2}, {5, 0, true, 3},
	} {
		got := primacy.Needed(primacy.Sync{Members: make([]primacy.Member, tc.members), Acks: tc.acks, Async: tc.async})
		if got != tc.want {
			t.Errorf("%+v: got %d", tc, got)
		}
	}
}

func TestEligible(t *testing.T) {
	async := func(s primacy.State) primacy.State { s.Sync.Async, s.Sync.Acks = true, 0; return s }
	for _, tc := range []struct {
		name, want string
		start      primacy.State
		reports    []primacy.Report
	}{
		{"furthest", "c", three(t), []primacy.Report{report("b", 1, 5), report("c", 1, 6)}},
		{"furthest by epoch", "b", three(t), []primacy.Report{report("b", 1, 5), report("c", 0, 6)}},
		{"as far as two of three", "a c", three(t), []primacy.Report{report("a", 1, 7), report("b", 1, 5), report("c", 1, 6)}},
		{"equal", "b c", three(t), []primacy.Report{report("b", 1, 5), report("c", 1, 5)}},
		{"all equal", "a b c", three(t), []primacy.Report{report("c", 1, 5), report("b", 1, 5), report("a", 1, 5)}},
		{"strangers do not count", "b", three(t), []primacy.Report{report("a", 1, 4), report("b", 1, 5), report("c2", 1, 6), report("x", 1, 7)}},
		{"too few", "", three(t), []primacy.Report{report("b", 1, 5), report("x", 1, 7)}},
		{"async: the furthest alone", "a", async(three(t)), []primacy.Report{report("a", 1, 7), report("b", 1, 5), report("c", 1, 6)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := run(t, tc.start, primacy.FenceOp{Epoch: 2})
			for _, r := range tc.reports {
				s = run(t, s, reported(r))
			}
			able, err := primacy.Eligible(s)
			var names []string
			for _, r := range able {
				names = append(names, r.ServerID)
			}
			if got := strings.Join(names, " "); got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	if able, err := primacy.Eligible(three(t)); err == nil {
		t.Errorf("chosen without a fence: %v", able)
	}
}

// TestStricter holds Implies, for rules of up to three others, to all sets of servers that could have a commit.
func TestStricter(t *testing.T) {
	rules := []primacy.Sync{}
	others := []string{"b", "b2", "c", "d"}
	for set := range 1 << len(others) {
		names := []string{"a"}
		for i, other := range others {
			if set>>i&1 == 1 {
				names = append(names, other)
			}
		}
		for acks := range names {
			if set&3 != 3 {
				rules = append(rules, rule(acks, names...))
			}
		}
	}
	satisfied := func(r primacy.Sync, have int) bool {
		count := 0
		for i, other := range others {
			if have>>i&1 == 1 {
				for _, m := range primacy.Acknowledging(r, "a") {
					if m == member(other) {
						count++
					}
				}
			}
		}
		return count >= r.Acks
	}
	for _, a := range rules {
		for _, b := range rules {
			want := true
			for have := range 1 << len(others) {
				want = want && (!satisfied(a, have) || satisfied(b, have))
			}
			if got := primacy.Implies(a, b, "a"); got != want {
				t.Fatalf("%v implies %v: got %t, want %t", a, b, got, want)
			}
			if got := primacy.Stricter(a, b, "a"); want && !primacy.Implies(got, a, "a") {
				t.Fatalf("of %v and %v the stricter is not %v", a, b, got)
			}
		}
	}
}

// TestLostCopyIsReplacedAtOnce is the one step that only the loss makes possible.
func TestLostCopyIsReplacedAtOnce(t *testing.T) {
	s := run(t, three(t), lost("c"), primacy.NextOp{Epoch: 1, Version: 2, Next: rule(1, "a", "b", "c2")})
	for _, m := range primacy.Acknowledging(primacy.Rule(s), "a") {
		if m.ServerID == "c" {
			t.Errorf("copy %s of c acknowledges before the other is confirmed, and may be gone", m.Memory)
		}
	}
	s = run(t, s, primacy.ConfirmOp{Epoch: 1, Version: 3})
	if m, _ := primacy.MemberOf(s.Sync, "c"); m != member("c2") {
		t.Errorf("got %+v", s.Sync)
	}
	two := run(t, alone(t), primacy.NextOp{Epoch: 1, Version: 1, Next: rule(1, "a", "b")}, primacy.ConfirmOp{Epoch: 1, Version: 2}, lost("b"))
	run(t, two, primacy.NextOp{Epoch: 1, Version: 2, Next: rule(1, "a", "b2")})
	run(t, two, primacy.NextOp{Epoch: 1, Version: 2, Next: rule(0, "a")})
}

func TestChosenCopy(t *testing.T) {
	s := run(t, three(t), fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)))
	if primacy.Chose(s, "a", "m") {
		t.Error("a deposed primary was chosen")
	}
	s = run(t, s, primacy.PromoteOp{Epoch: 2, ServerID: "b"})
	if !primacy.Chose(s, "b", "m") || primacy.Chose(s, "b", "m2") || primacy.Chose(s, "c", "m") {
		t.Error("not b's first copy was chosen, or more")
	}
	if s = run(t, s, lost("b")); primacy.Chose(s, "b", "m") {
		t.Error("a lost copy was chosen")
	}
}

func TestChain(t *testing.T) {
	s := run(t, three(t), fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)), primacy.PromoteOp{Epoch: 2, ServerID: "b"})
	// b is promoted, never gets ready, and is chosen again.
	s = run(t, s, primacy.FenceOp{Epoch: 3}, primacy.ReportOp{Epoch: 3, Report: report("b", 2, 6)}, primacy.ReportOp{Epoch: 3, Report: report("c", 1, 5)},
		primacy.PromoteOp{Epoch: 3, ServerID: "b"})
	ready := primacy.ReadyOp{Epoch: 3, ServerID: "b", SystemID: "77", Major: 15, Timeline: 3, Switch: 6}
	without := run(t, s, ready)
	ready.Unready = []primacy.Branch{{Epoch: 2, Parent: 1, ServerID: "b", Timeline: 2, Switch: 5}}
	with := run(t, s, ready)
	for _, tc := range []struct {
		lineage []primacy.Branch
		epoch   uint64
		want    string
	}{
		{with.Lineage, 3, "[1<0 2<1 3<2]"},
		{with.Lineage, 1, "[1<0]"},
		{without.Lineage, 3, "[3<2]"},
		{with.Lineage, 4, "[]"},
		{nil, 1, "[]"},
		{[]primacy.Branch{{Epoch: 2, Parent: 2}}, 2, "[2<2]"},
		{[]primacy.Branch{{Epoch: 1}, {Epoch: 2, Parent: 1}, {Epoch: 3, Parent: 1}}, 3, "[1<0 3<1]"},
	} {
		got := []string{}
		for _, b := range primacy.Chain(tc.lineage, tc.epoch) {
			got = append(got, fmt.Sprintf("%d<%d", b.Epoch, b.Parent))
		}
		if fmt.Sprint(got) != tc.want {
			t.Errorf("epoch %d of %v: got %v", tc.epoch, tc.lineage, got)
		}
	}
}

func TestLineageIsBounded(t *testing.T) {
	s := alone(t)
	for epoch := uint64(2); epoch < primacy.MaxLineage+5; epoch++ {
		ready := opened
		ready.Epoch = epoch
		s = run(t, s, primacy.FenceOp{Epoch: epoch}, primacy.ReportOp{Epoch: epoch, Report: report("a", epoch-1, 10)},
			primacy.PromoteOp{Epoch: epoch, ServerID: "a"}, ready)
	}
	if len(s.Lineage) != primacy.MaxLineage || s.Lineage[len(s.Lineage)-1].Epoch != s.Epoch {
		t.Errorf("%d branches", len(s.Lineage))
	}
}
