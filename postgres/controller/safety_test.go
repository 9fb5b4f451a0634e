package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
)

// twists are what may be the case beside a phase and a condition.
func twists() []variant {
	return []variant{
		{"", func(*controller.Inputs) {}},
		{"no proof", func(in *controller.Inputs) { in.Proof, in.Alone = false, time.Minute }},
		{"not fresh", func(in *controller.Inputs) { in.Fresh, in.Alone = false, time.Second }},
		{"promise outstanding", func(in *controller.Inputs) { in.Local.Promised = min(in.Local.Promised, 1) }},
		{"promise can't be written", func(in *controller.Inputs) { in.Local.Promised, in.NoPromise = min(in.Local.Promised, 1), true }},
		{"unconfirmed", func(in *controller.Inputs) {
			if in.Gone == "" { // who follows the primary has noted that it shows only the primary's
				in.Local.Unconfirmed, in.Starting = true, 0x1000
			}
		}},
		{"confirmed", func(in *controller.Inputs) { in.Local.Unconfirmed, in.Starting = true, 0x100 }},
		{"member lost", func(in *controller.Inputs) {
			in.State.Sync.Members = slices.Clone(in.State.Sync.Members)
			for i := range in.State.Sync.Members {
				in.State.Sync.Members[i].Lost = in.State.Sync.Members[i].ServerID == "a"
			}
		}},
		{"no member", func(in *controller.Inputs) {
			in.State.Sync.Members = in.State.Sync.Members[min(1, len(in.State.Sync.Members)):]
		}},
		{"reinit", func(in *controller.Inputs) { in.Asked.Reinit = true }},
		{"handover", func(in *controller.Inputs) { in.State.Handover = "b" }},
		{"in force", func(in *controller.Inputs) {
			in.InForce = &controller.Conf{SyncNames: `ANY 1 ("b_n", "c_o")`, Gated: in.Local.Unconfirmed}
		}},
		{"next", func(in *controller.Inputs) {
			next := primacy.Sync{Version: 4, Acks: 2, Members: in.State.Sync.Members}
			in.State.Next = &next
		}},
	}
}

// TestPlanIsSafe holds every plan, in all combinations, to what must never happen.
func TestPlanIsSafe(t *testing.T) {
	t.Parallel()
	seen := map[controller.Action]int{}
	for _, phase := range phases() {
		for _, condition := range conditions() {
			for _, twist := range twists() {
				for _, twist2 := range twists() {
					in := base()
					phase.apply(&in)
					condition.apply(&in)
					twist.apply(&in)
					twist2.apply(&in)
					step := controller.Plan(in)
					seen[step.Do]++
					if wrong := violation(in, step); wrong != "" {
						t.Errorf("%s, %s, %s, %s: %s\n plan: %s", phase.name, condition.name, twist.name, twist2.name, wrong, render(step))
					}
				}
			}
		}
	}
	for _, action := range []controller.Action{controller.StartPrimary, controller.PromoteSelf, controller.Clone, controller.Rewind,
		controller.Follow, controller.Propose, controller.HandOver, controller.Configure} {
		if seen[action] == 0 {
			t.Errorf("no combination leads to %q: this test shows nothing of it", action)
		}
	}
}

// violation says which rule a step breaks, "" if none.
func violation(in controller.Inputs, step controller.Step) string {
	s := in.State
	self := s.Primary == in.Self
	intact := slices.Contains(s.Sync.Members, primacy.Member{ServerID: in.Self, Memory: in.Local.Memory})
	promised := in.Local.Promised == s.Epoch
	switch step.Do {
	case controller.StartPrimary:
		founding := s.Phase == primacy.PhasePromoting && len(s.Lineage) == 0
		switch {
		case !in.Fresh || !self || !promised || !intact || s.Phase != primacy.PhaseReady && !founding:
			return "started as primary without the right to"
		case !founding && !in.Proof:
			return "started as primary without a quorum"
		case s.Sync.Acks > 0 && !step.Conf.Gated:
			return "a restarted primary is open at once"
		}
	case controller.PromoteSelf:
		if !in.Fresh || !self || !promised || !intact || s.Phase != primacy.PhasePromoting || in.Cut == nil && in.Live.InRecovery || in.Live.Receiving {
			return "promoted without the right to"
		}
	case controller.Clone, controller.Rewind, controller.InitDB:
		for _, m := range s.Sync.Members {
			if m.ServerID == in.Self && !m.Lost && step.Do != controller.InitDB {
				return "a copy that is counted on is destroyed"
			}
		}
		foreign := in.Local.Fingerprint == "" && in.Local.Work == nil && !in.Files.Empty && !in.Files.Partial
		if in.Running || foreign && !in.Asked.Reinit {
			return "data that runs or is foreign is destroyed"
		}
	case controller.Propose:
		return wrongOp(in, step)
	case controller.Follow:
		if !promised || s.Phase != primacy.PhaseReady || self || in.Cut == nil || in.Live.Receiving {
			return "follows somebody who is not the primary, or from where is not known"
		}
	}
	return wrongConf(in, step)
}

func wrongOp(in controller.Inputs, step controller.Step) string {
	switch op := step.Op.(type) {
	case primacy.ReportOp:
		stopped := !in.Running && in.Files.InOrder
		switch {
		case in.Local.Promised != op.Epoch:
			return "reported before the promise"
		case !stopped && (in.Cut == nil || in.Live.Receiving):
			return "reported while WAL may come"
		case op.Report.Position.Epoch == 0:
			return "reported what is not known"
		}
	case primacy.FenceOp:
		if in.State.Primary != in.Self || in.Running {
			return "fenced somebody else, or while it runs"
		}
	case primacy.ConfirmOp:
		if in.Barrier == nil {
			return "confirmed a rule that is not in force"
		}
	}
	return ""
}

func wrongConf(in controller.Inputs, step controller.Step) string {
	c := step.Conf
	if c == nil {
		return ""
	}
	acks := in.State.Sync.Acks
	switch {
	case acks > 0 && !strings.HasPrefix(c.SyncNames, fmt.Sprintf("ANY %d ", acks)) && in.State.Next == nil,
		in.State.Next != nil && in.State.Phase == primacy.PhaseReady && !strings.HasPrefix(c.SyncNames, "ANY 2 "):
		return "the rule is weaker than agreed on"
	case in.Local.Unconfirmed && !c.Gated && step.Do != controller.Follow && step.Do != controller.StartStandby && in.Starting > 0x200:
		return "shows what may never have been acknowledged"
	case c.Follow != 0 && c.Follow != in.State.Epoch:
		return "follows another epoch"
	case !in.Proof && c.Follow == 0 && !c.ReadOnly && in.Live != nil && !in.Live.InRecovery && in.State.Primary == in.Self:
		return "writable without a quorum"
	}
	return ""
}
