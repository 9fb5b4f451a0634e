package controller_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/wal"
)

var update = flag.Bool("update", false, "write the golden files again")

// base is a cluster of a, b and c in epoch 4, whose primary is c, as seen by server "a" with memory "m".
func base() controller.Inputs {
	return controller.Inputs{
		State: primacy.State{
			SystemID: system, Major: 15, Secret: "s", Epoch: 4, Phase: primacy.PhaseReady, Primary: "c", Lineage: lineage(),
			Base: primacy.Position{Epoch: 2, LSN: 0x200},
			Sync: primacy.Sync{Version: 3, Acks: 1, Members: []primacy.Member{
				{ServerID: "a", Memory: "m"}, {ServerID: "b", Memory: "n"}, {ServerID: "c", Memory: "o"}}},
		},
		Fresh: true, Proof: true, Since: 2 * time.Second, Self: "a", CanFailover: true,
		Names:  func(id, memory string) (string, bool) { return id + "_" + memory, true },
		Source: &controller.Source{ServerID: "c", Host: "h", Port: 5432, Slot: "pgraft_1"},
		Local: controller.Local{Memory: "m", Fingerprint: "f", Promised: 4, Following: 2,
			Timelines: map[wal.Timeline]uint64{1: 1, 2: 2}, Position: primacy.Position{Epoch: 2, LSN: 0x180}},
		Files: controller.Files{SystemID: system, Major: 15, Timeline: 2, Checkpoint: 0x190},
	}
}

type variant struct {
	name  string
	apply func(*controller.Inputs)
}

// phases are what the cluster has agreed on.
func phases() []variant {
	return []variant{
		{"none", func(in *controller.Inputs) { in.State = primacy.State{}; in.Local.Promised = 0 }},
		{"founding here by initdb", func(in *controller.Inputs) { found(in, "a", primacy.FoundInit) }},
		{"founding here by adoption", func(in *controller.Inputs) { found(in, "a", primacy.FoundAdopt) }},
		{"founding elsewhere", func(in *controller.Inputs) { found(in, "c", primacy.FoundInit) }},
		{"fenced", func(in *controller.Inputs) { fence(in, "c") }},
		{"fenced, it was primary", func(in *controller.Inputs) { fence(in, "a") }},
		{"chosen", func(in *controller.Inputs) {
			fence(in, "c")
			in.State.Phase, in.State.Primary = primacy.PhasePromoting, "a"
		}},
		{"another chosen", func(in *controller.Inputs) {
			fence(in, "c")
			in.State.Phase, in.State.Primary = primacy.PhasePromoting, "b"
		}},
		{"ready elsewhere", func(*controller.Inputs) {}},
		{"ready here", func(in *controller.Inputs) { leads(in) }},
	}
}

func found(in *controller.Inputs, primary string, how primacy.Found) {
	in.State = primacy.State{Epoch: 1, Phase: primacy.PhasePromoting, Primary: primary, Found: how, Secret: "s",
		Sync: primacy.Sync{Version: 1, Members: []primacy.Member{{ServerID: primary, Memory: "m"}}}}
	in.Local.Promised = 1
}

// fence begins epoch 5, from the state before epoch 4.
func fence(in *controller.Inputs, primary string) {
	in.State.Epoch, in.State.Phase, in.State.Primary, in.State.Lineage = 5, primacy.PhaseFenced, primary, lineage()[:2]
	in.Local.Promised = 5
}

// leads makes a the primary of epoch 2.
func leads(in *controller.Inputs) {
	in.State.Epoch, in.State.Primary, in.State.Lineage = 2, "a", lineage()[:2]
	in.Local.Promised, in.Source = 2, nil
}

// conditions are what is here.
func conditions() []variant {
	return []variant{
		{"empty, new", func(in *controller.Inputs) {
			in.Files = controller.Files{Empty: true}
			in.Local = controller.Local{Memory: "x", Promised: in.Local.Promised}
		}},
		{"data gone", func(in *controller.Inputs) { in.Files = controller.Files{Empty: true} }},
		{"data replaced", func(in *controller.Inputs) { in.Replaced = true }},
		{"data spoiled and renewed", func(in *controller.Inputs) { in.Local.Spoiled = "it was put back"; in.Local.Memory = "y" }},
		{"foreign standby runs", func(in *controller.Inputs) {
			runsStandby(in, 0x180)
			in.Local = controller.Local{Memory: "x", Promised: in.Local.Promised}
		}},
		{"foreign primary runs", func(in *controller.Inputs) {
			runsPrimary(in)
			in.Local = controller.Local{Memory: "x", Promised: in.Local.Promised}
		}},
		{"another cluster's data", func(in *controller.Inputs) {
			in.Files.SystemID = "42"
			in.Local = controller.Local{Memory: "x", Promised: in.Local.Promised}
		}},
		{"primary stopped in order", func(in *controller.Inputs) { in.Files.InOrder = true }},
		{"primary crashed", func(*controller.Inputs) {}},
		{"primary's postmaster just died", func(in *controller.Inputs) { in.Died = true }},
		{"primary runs", runsPrimary},
		{"primary starts", func(in *controller.Inputs) { in.Running = true }},
		{"standby stopped", func(in *controller.Inputs) { in.Files.Standby = true }},
		{"standby starts", func(in *controller.Inputs) { in.Running, in.Files.Standby = true, true }},
		{"standby streams", func(in *controller.Inputs) {
			runsStandby(in, 0x180)
			in.Live.Receiving, in.Live.Streaming = true, true
		}},
		{"standby follows, WAL gone", func(in *controller.Inputs) { runsStandby(in, 0x180); lacksWAL(in) }},
		{"standby starts, WAL gone", func(in *controller.Inputs) { in.Running, in.Files.Standby = true, true; lacksWAL(in) }},
		{"standby stopped, WAL gone, noted", func(in *controller.Inputs) { in.Files.Standby = true; lacksWAL(in); in.Local.Spoiled = in.Gone }},
		{"standby renewed, WAL gone, noted", func(in *controller.Inputs) {
			runsStandby(in, 0x180)
			lacksWAL(in)
			in.Local.Spoiled, in.Local.Memory = in.Gone, "y"
		}},
		{"standby cut off", func(in *controller.Inputs) {
			runsStandby(in, 0x180)
			in.Cut = &controller.Cut{Timeline: 2, LSN: 0x180, Boundary: 0x180}
		}},
		{"standby cut off, yet receiving", func(in *controller.Inputs) {
			runsStandby(in, 0x180)
			in.Cut, in.Live.Receiving = &controller.Cut{Timeline: 2, LSN: 0x180, Boundary: 0x180}, true
		}},
		{"standby cut off, ahead", func(in *controller.Inputs) {
			runsStandby(in, 0x280)
			in.Cut = &controller.Cut{Timeline: 2, LSN: 0x280, Boundary: 0x280}
		}},
		{"standby cut off, ahead, stopped", func(in *controller.Inputs) {
			in.Files.Standby = true
			in.Ended = &controller.Cut{Timeline: 2, LSN: 0x280, Boundary: 0x280}
		}},
		{"standby cut off, put back", func(in *controller.Inputs) {
			runsStandby(in, 0x170)
			in.Cut = &controller.Cut{Timeline: 2, LSN: 0x170, Boundary: 0x170}
		}},
		{"standby cut off, unknown timeline", func(in *controller.Inputs) {
			runsStandby(in, 0x180)
			in.Cut = &controller.Cut{Timeline: 9, LSN: 0x180, Boundary: 0x180}
		}},
		{"clone cut short", func(in *controller.Inputs) {
			in.Local = controller.Local{Memory: "y", Promised: in.Local.Promised, Work: &controller.Work{Kind: controller.WorkClone, Epoch: 4}}
			in.Files = controller.Files{Partial: true}
		}},
		{"rewind cut short", func(in *controller.Inputs) {
			in.Local = controller.Local{Memory: "y", Promised: in.Local.Promised, Work: &controller.Work{Kind: controller.WorkRewind, Epoch: 4}}
		}},
		{"clone complete", func(in *controller.Inputs) {
			in.Local.Memory, in.Local.Following, in.Files.Standby = "y", in.State.Epoch, true
			in.Local.Work = &controller.Work{Kind: controller.WorkClone, Epoch: in.State.Epoch, Copied: true}
		}},
		{"clone complete, epoch before", func(in *controller.Inputs) {
			in.Local.Memory, in.Files.Standby = "y", true
			in.Local.Work = &controller.Work{Kind: controller.WorkClone, Epoch: 1, Copied: true}
		}},
		{"initdb cut short", func(in *controller.Inputs) {
			in.Local = controller.Local{Memory: "m", Promised: in.Local.Promised, Work: &controller.Work{Kind: controller.WorkInit, Epoch: 1}}
			in.Files = controller.Files{Partial: true}
		}},
		{"not fresh, primary runs", func(in *controller.Inputs) { runsPrimary(in); in.Fresh = false }},
		{"not fresh, primary stopped", func(in *controller.Inputs) { in.Fresh = false }},
		{"not promised yet, standby streams", func(in *controller.Inputs) {
			runsStandby(in, 0x180)
			in.Local.Promised = 0
		}},
		{"promised more", func(in *controller.Inputs) { in.Local.Promised = 99 }},
	}
}

func runsPrimary(in *controller.Inputs) {
	in.Running = true
	in.Live = &controller.Live{PID: 1, Timeline: 2, LSN: 0x200, Standbys: []controller.Standby{
		{Name: "b_n", State: "streaming", Flush: 0x200, Replay: 0x200}, {Name: "c_o", State: "streaming", Flush: 0x1f0, Replay: 0x1e0}}}
}

func runsStandby(in *controller.Inputs, at wal.LSN) {
	in.Running, in.Files.Standby = true, true
	in.Live = &controller.Live{PID: 1, InRecovery: true, Timeline: 2, LSN: at, Boundary: at}
}

// lacksWAL is what a standby has found out that follows the primary of this epoch.
func lacksWAL(in *controller.Inputs) {
	in.Local.Following, in.Gone = in.State.Epoch, "the primary has thrown the WAL away"
	in.InForce = controller.FollowConf(in)
}

// TestPlanGolden shows the plan for each phase and each condition. Read the diff of the file: it is what pgraft does.
func TestPlanGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, phase := range phases() {
		fmt.Fprintf(&b, "# %s\n", phase.name)
		for _, condition := range conditions() {
			in := base()
			phase.apply(&in)
			condition.apply(&in)
			fmt.Fprintf(&b, "%-34s %s\n", condition.name, render(controller.Plan(in)))
		}
		b.WriteString("\n")
	}
	golden(t, "plan.golden", b.String())
}

// render writes a step in one line.
func render(s controller.Step) string {
	text := string(s.Do)
	if s.Op != nil {
		text += fmt.Sprintf(" %s%+v", strings.TrimPrefix(fmt.Sprintf("%T", s.Op), "primacy."), s.Op)
	}
	if c := s.Conf; c != nil {
		text += fmt.Sprintf(" (follow %d, sync %q", c.Follow, c.SyncNames)
		if c.ReadOnly {
			text += ", read-only"
		}
		if c.Gated {
			text += ", gated"
		}
		text += ")"
	}
	if s.Problem {
		text += " PROBLEM"
	}
	return text + ": " + s.Why
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Errorf("%s line %d:\n got %s\nwant %s", name, i+1, gotLines[i], wantLines[i])
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Errorf("%s has %d lines, want %d", name, len(gotLines), len(wantLines))
	}
}
