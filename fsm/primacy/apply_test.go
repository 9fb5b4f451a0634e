package primacy_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

func member(name string) primacy.Member {
	return primacy.Member{ServerID: name[:1], Memory: "m" + name[1:]}
}

// rule is a Sync of members like "a" and, with its second copy of the data, "a2".
func rule(acks int, names ...string) primacy.Sync {
	r := primacy.Sync{Acks: acks}
	for _, name := range names {
		r.Members = append(r.Members, member(name))
	}
	return r
}

func report(name string, epoch uint64, lsn wal.LSN) primacy.Report {
	m := member(name)
	return primacy.Report{ServerID: m.ServerID, Memory: m.Memory, Position: primacy.Position{Epoch: epoch, LSN: lsn}, Timeline: 1}
}

func reported(r primacy.Report) primacy.ReportOp { return primacy.ReportOp{Epoch: 2, Report: r} }

func lost(name string) primacy.LostOp {
	return primacy.LostOp{ServerID: member(name).ServerID, Memory: member(name).Memory}
}

var (
	founded = primacy.FoundOp{Epoch: 1, ServerID: "a", Memory: "m", How: primacy.FoundInit, Secret: "secret"}
	opened  = primacy.ReadyOp{Epoch: 1, ServerID: "a", SystemID: "77", Major: 15, Timeline: 1, Switch: 10}
	fenced  = primacy.FenceOp{Epoch: 2, Reason: "gone"}
	opens   = primacy.ReadyOp{Epoch: 2, ServerID: "b", SystemID: "77", Major: 15, Timeline: 2, Switch: 100}
)

// run applies operations that must succeed.
func run(t *testing.T, s primacy.State, ops ...primacy.Op) primacy.State {
	t.Helper()
	for _, op := range ops {
		next, events, err := primacy.Apply(s, op)
		if err != nil {
			t.Fatalf("%T: %v", op, err)
		}
		for _, e := range events {
			if strings.Contains(fmt.Sprint(e), "secret") {
				t.Fatalf("%T tells the secret: %v", op, e)
			}
		}
		s = next
	}
	return s
}

// alone is a cluster of one member, three one of three.
func alone(t *testing.T) primacy.State { t.Helper(); return run(t, primacy.State{}, founded, opened) }

func three(t *testing.T) primacy.State {
	t.Helper()
	return run(t, alone(t), primacy.NextOp{Epoch: 1, Version: 1, Next: rule(1, "c", "a", "b")}, primacy.ConfirmOp{Epoch: 1, Version: 2})
}

// TestRefusals applies operations of which the last one must be refused, and change nothing.
func TestRefusals(t *testing.T) {
	promote := primacy.PromoteOp{Epoch: 2, ServerID: "b"}
	next := func(version uint64, r primacy.Sync) primacy.NextOp {
		return primacy.NextOp{Epoch: 1, Version: version, Next: r}
	}
	for _, tc := range []struct {
		name, want string
		ops        []primacy.Op
	}{
		{"found where there is a primary", "has a PostgreSQL already", []primacy.Op{primacy.FoundOp{Epoch: 2, ServerID: "b", Memory: "m", How: primacy.FoundInit, Secret: "x"}}},
		{"fence an epoch too far", "the next is 2", []primacy.Op{primacy.FenceOp{Epoch: 3}}},
		{"fence late", "the next is 3", []primacy.Op{fenced, primacy.FenceOp{Epoch: 2, Reason: "another"}}},
		{"report without a fence", "is the primary", []primacy.Op{primacy.ReportOp{Epoch: 1, Report: report("b", 1, 5)}}},
		{"report late", "epoch 3 counts", []primacy.Op{fenced, primacy.FenceOp{Epoch: 3}, reported(report("b", 1, 5))}},
		{"report from the future", "can't be true", []primacy.Op{fenced, reported(report("b", 2, 5))}},
		{"promote with too few", "1 of the 3 members have reported what they have, and it takes 2", []primacy.Op{fenced, reported(report("b", 1, 5)), promote}},
		{"promote by one report twice", "1 of the 3", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("b", 1, 6)), promote}},
		{"promote by another copy's report", "1 of the 3", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("c2", 1, 5)), promote}},
		{"promote by a stranger's report", "1 of the 3", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("x", 1, 5)), promote}},
		{"promote by a report of what was lost since", "1 of the 3", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)), lost("c"), promote}},
		{"promote by a report of what was lost before", "1 of the 3", []primacy.Op{lost("c"), fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)), promote}},
		{"promote who is behind", "server c reaches further", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("c", 1, 6)), promote}},
		{"promote who is longer in an older epoch", "server c reaches further", []primacy.Op{fenced, reported(report("b", 0, 9)), reported(report("c", 1, 6)), promote}},
		{"promote who did not report", "is not among the members", []primacy.Op{fenced, reported(report("a", 1, 5)), reported(report("c", 1, 5)), promote}},
		{"promote below what was acknowledged", "was acknowledged", []primacy.Op{primacy.AckedOp{Epoch: 1, LSN: 7}, fenced, reported(report("b", 1, 5)), reported(report("c", 1, 6)), promote}},
		{"promote with loss who did not report", "has not reported", []primacy.Op{fenced, primacy.PromoteOp{Epoch: 2, ServerID: "b", AllowDataLoss: true}}},
		{"promote again another", "server b is being promoted", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)), promote, primacy.PromoteOp{Epoch: 2, ServerID: "c"}}},
		{"ready who was not chosen", "can't be the primary", []primacy.Op{fenced, opens}},
		{"ready late", "epoch 2 counts", []primacy.Op{fenced, opened}},
		{"ready with another system identifier", "has another PostgreSQL", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)), promote, primacy.ReadyOp{Epoch: 2, ServerID: "b", SystemID: "78", Major: 15, Timeline: 2}}},
		{"ready with a lost copy", "is lost", []primacy.Op{fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)), promote, lost("b"), opens}},
		{"next of an old epoch", "epoch 1 has no ready primary now", []primacy.Op{fenced, next(2, rule(1, "a", "b"))}},
		{"next of an old version", "version 1 was meant, and it is 2", []primacy.Op{next(1, rule(1, "a", "b"))}},
		{"next over another", "withdraw it first", []primacy.Op{next(2, rule(1, "a", "b")), next(2, rule(1, "a", "c"))}},
		{"next as it is", "already", []primacy.Op{next(2, rule(1, "a", "b", "c"))}},
		{"next without the primary", "must be one of them", []primacy.Op{next(2, rule(1, "b", "c"))}},
		{"next with another copy of the primary", "must be one of them", []primacy.Op{next(2, rule(1, "a2", "b", "c"))}},
		{"next with a lost copy", "lost the copy", []primacy.Op{lost("c"), next(2, rule(1, "a", "b", "c"))}},
		{"next too far", "at once", []primacy.Op{next(2, rule(1, "a", "b", "d"))}},
		{"next with a copy replaced that is not lost", "at once", []primacy.Op{next(2, rule(1, "a", "b", "c2"))}},
		{"next with too many acknowledgements", "can't be asked for", []primacy.Op{next(2, rule(3, "a", "b", "c"))}},
		{"next with a server twice", "twice", []primacy.Op{next(2, rule(1, "a", "b", "b2"))}},
		{"confirm what was withdrawn", "was withdrawn", []primacy.Op{next(2, rule(1, "a", "b")), next(2, primacy.Sync{}), primacy.ConfirmOp{Epoch: 1, Version: 3}}},
		{"confirm another than was meant", "was withdrawn", []primacy.Op{next(2, rule(1, "a", "b")), next(2, primacy.Sync{}), next(4, rule(1, "a", "c")), primacy.ConfirmOp{Epoch: 1, Version: 3}}},
		{"confirm with a member lost since", "was withdrawn", []primacy.Op{next(2, rule(2, "a", "b", "c")), lost("b"), primacy.ConfirmOp{Epoch: 1, Version: 3}}},
		{"confirm late", "epoch 1 has no ready primary now", []primacy.Op{next(2, rule(1, "a", "b")), fenced, primacy.ConfirmOp{Epoch: 1, Version: 3}}},
		{"shrink of an old version", "version 1 was meant", []primacy.Op{primacy.ShrinkOp{Epoch: 1, Version: 1}}},
		{"shrink to a lost copy", "can't go on alone", []primacy.Op{lost("a"), primacy.ShrinkOp{Epoch: 1, Version: 2}}},
		{"acknowledged late", "no ready primary", []primacy.Op{fenced, primacy.AckedOp{Epoch: 1, LSN: 7}}},
		{"hand over to itself", "already", []primacy.Op{primacy.HandoverOp{Epoch: 1, Target: "a"}}},
		{"hand over to a stranger", "can't take over", []primacy.Op{primacy.HandoverOp{Epoch: 1, Target: "x"}}},
		{"hand over to a lost copy", "can't take over", []primacy.Op{lost("b"), primacy.HandoverOp{Epoch: 1, Target: "b"}}},
		{"no operation", "no operation", []primacy.Op{nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			last := len(tc.ops) - 1
			s := run(t, three(t), tc.ops[:last]...)
			before := fmt.Sprintf("%+v %+v", s, s.Next)
			after, events, err := primacy.Apply(s, tc.ops[last])
			var refusal *primacy.Refusal
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, tc.want) {
				t.Fatalf("got %v, want something with %q", err, tc.want)
			}
			if len(events) != 0 || fmt.Sprintf("%+v %+v", after, after.Next) != before || fmt.Sprintf("%+v %+v", s, s.Next) != before {
				t.Errorf("a refused operation changed %s into %+v, or told %v", before, after, events)
			}
		})
	}
}

// TestRepeated applies every operation of two epochs twice.
func TestRepeated(t *testing.T) {
	s := primacy.State{}
	for _, op := range []primacy.Op{
		founded, opened, primacy.NextOp{Epoch: 1, Version: 1, Next: rule(1, "c", "a", "b")}, primacy.ConfirmOp{Epoch: 1, Version: 2},
		primacy.AckedOp{Epoch: 1, LSN: 5}, primacy.HandoverOp{Epoch: 1, Target: "b"}, primacy.PauseOp{Paused: true}, fenced,
		reported(report("b", 1, 6)), reported(report("a", 1, 6)), primacy.PromoteOp{Epoch: 2, ServerID: "b"}, opens, lost("a"),
		primacy.NextOp{Epoch: 2, Version: 2, Next: rule(1, "a2", "b", "c")}, primacy.NextOp{Epoch: 2, Version: 2},
		primacy.ShrinkOp{Epoch: 2, Version: 4}, primacy.PauseOp{},
	} {
		once := run(t, s, op)
		twice, events, err := primacy.Apply(once, op)
		if err != nil || len(events) != 0 || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%T again: %v %v\n%+v\n%+v", op, err, events, once, twice)
		}
		s = once
	}
	if s.Primary != "b" || len(s.Sync.Members) != 1 || s.Sync.Version != 5 || len(s.Lineage) != 2 || s.Handover != "" {
		t.Errorf("it ends with %+v", s)
	}
}

func TestFoundAgain(t *testing.T) {
	other := primacy.FoundOp{Epoch: 2, ServerID: "b", Memory: "m", How: primacy.FoundAdopt, Secret: "x"}
	for name, ops := range map[string][]primacy.Op{"after nothing": {founded}, "after a fence": {founded, fenced}} {
		s := run(t, primacy.State{}, ops...)
		other.Epoch = s.Epoch + 1
		s = run(t, s, other)
		if s.Primary != "b" || s.Phase != primacy.PhasePromoting || s.Sync.Version != 2 {
			t.Errorf("%s: %+v", name, s)
		}
		if _, _, err := primacy.Apply(s, opened); err == nil {
			t.Errorf("%s: the first one got ready", name)
		}
	}
}

func TestFenceKeepsTheRule(t *testing.T) {
	s := three(t)
	want := s.Sync.Members
	s = run(t, s, primacy.NextOp{Epoch: 1, Version: 2, Next: rule(1, "a", "b")}, primacy.HandoverOp{Epoch: 1, Target: "b"}, fenced, reported(report("b", 1, 5)))
	if !reflect.DeepEqual(s.Sync.Members, want) || s.Next != nil || s.Handover != "" {
		t.Errorf("got %+v", s)
	}
	if s = run(t, s, primacy.FenceOp{Epoch: 3}); s.Reports != nil {
		t.Errorf("reports of the epoch before are counted: %v", s.Reports)
	}
}

func TestPromoteWithLoss(t *testing.T) {
	s := run(t, three(t), primacy.AckedOp{Epoch: 1, LSN: 9}, fenced, reported(report("b", 1, 5)))
	s = run(t, s, primacy.PromoteOp{Epoch: 2, ServerID: "b", AllowDataLoss: true})
	if !s.DataLoss || len(s.Sync.Members) != 1 || s.Sync.Members[0] != member("b") || s.Acked.LSN != 5 || s.Sync.Version != 3 {
		t.Errorf("got %+v", s)
	}
	s = run(t, s, primacy.FenceOp{Epoch: 3}, primacy.ReportOp{Epoch: 3, Report: report("b", 1, 5)}, primacy.PromoteOp{Epoch: 3, ServerID: "b"})
	if s.DataLoss {
		t.Error("the next epoch counts as one with loss")
	}

	s = run(t, three(t), fenced, reported(report("b", 1, 5)), reported(report("c", 1, 5)))
	s = run(t, s, primacy.PromoteOp{Epoch: 2, ServerID: "b", AllowDataLoss: true})
	if s.DataLoss || len(s.Sync.Members) != 3 {
		t.Error("a promotion that loses nothing counts as one with loss")
	}
}

func TestLost(t *testing.T) {
	s := run(t, three(t), primacy.NextOp{Epoch: 1, Version: 2, Next: rule(1, "a", "b")}, lost("c"))
	if m, _ := primacy.MemberOf(s.Sync, "c"); !m.Lost || s.Next == nil {
		t.Errorf("a copy that is in Sync only: %+v", s)
	}
	if s = run(t, s, lost("b")); s.Next != nil {
		t.Errorf("a copy that is in both: %+v", s)
	}
	before := three(t)
	if after := run(t, before, lost("c2")); !reflect.DeepEqual(before, after) {
		t.Error("the loss of another copy than the member's changed something")
	}
}
