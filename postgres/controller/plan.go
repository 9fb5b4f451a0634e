package controller

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// Action is one thing that the executor can do.
type Action string

// The actions.
const (
	Wait         Action = "wait"
	Promise      Action = "promise"       // write down that no WAL of older epochs is accepted
	Renew        Action = "renew"         // give the copy a new memory
	Spoil        Action = "spoil"         // write down that the copy is not what it was
	Propose      Action = "propose"       // Step.Op
	InitDB       Action = "initdb"        // make the cluster's first data
	Adopt        Action = "adopt"         // take what is here for the cluster's first data
	StartPrimary Action = "start primary" //
	StartStandby Action = "start standby" // with Step.Conf
	Stop         Action = "stop"          //
	CutOff       Action = "cut off"       // accept no WAL
	PromoteSelf  Action = "promote"       // and tell when ready
	Ready        Action = "ready"         // tell that the founding primary is ready
	Follow       Action = "follow"        // stream from Step.Conf's source
	Settle       Action = "settle"        // note that a copied server is consistent
	Clone        Action = "clone"         //
	Rewind       Action = "rewind"        //
	Configure    Action = "configure"     // bring Step.Conf into force
	Terminate    Action = "terminate"     // end the sessions that wait for standbys
	SetBarrier   Action = "barrier"       // write WAL after a change of the rule
	HandOver     Action = "hand over"     // stop in order, so that State.Handover can take over
	Restart      Action = "restart"       //
	Housekeep    Action = "housekeep"     // roles and slots
)

// Step is what is to be done next, and why.
type Step struct {
	Do      Action
	Why     string
	Op      primacy.Op // for Propose
	Conf    *Conf      // for StartPrimary, StartStandby, Follow, Configure, PromoteSelf
	Verdict *Verdict   // for Follow, Clone and Rewind
	// Problem tells that only a person can change what Why says.
	Problem bool
	// Soon tells that what is waited for comes within milliseconds.
	Soon bool
}

// unsureFor is how long a primary taken over by an agent that knows nothing yet may stay writable. Raft elects a leader
// well within it, when all agents have been restarted at once.
const unsureFor = 10 * time.Second

// restFor is how long a copy that is to be thrown away is left alone after a primary has taken over: what is done to it,
// and read from the primary for it, would be in the way of the first commits.
const restFor = time.Second

// shyFor is how long a deposed primary that crashed leaves the counting to the others, who need not recover.
const shyFor = time.Second

// plan decides the one next step. It is pure.
func plan(in Inputs) Step {
	switch {
	case in.Problem != "":
		return Step{Do: Wait, Why: in.Problem, Problem: true}
	case !in.Fresh:
		return planUnsure(in)
	case in.State.Epoch < in.Local.Promised:
		return Step{Do: Wait, Problem: true, Why: fmt.Sprintf(
			"the cluster's state is of epoch %d and this node promised epoch %d: it was put back to an older one", in.State.Epoch, in.Local.Promised)}
	case in.State.Phase == primacy.PhaseNone:
		return Step{Do: Wait, Why: "the cluster has no data yet: the leader decides where it is made"}
	}
	if step, ok := planForeign(in); ok {
		return step
	}
	if step, ok := planLost(in); ok {
		return step
	}
	if in.Local.Promised < in.State.Epoch {
		if step, ok := planUnwritten(in); ok {
			return step
		}
		return Step{Do: Promise, Why: fmt.Sprintf("epoch %d has begun", in.State.Epoch)}
	}
	self := in.State.Primary == in.Self
	switch {
	case in.State.Phase == primacy.PhaseReady && self:
		return planLeading(in)
	case in.State.Phase == primacy.PhaseReady:
		return planFollowing(in)
	case in.State.Phase == primacy.PhasePromoting && self && founding(in.State):
		return planFounding(in)
	case in.State.Phase == primacy.PhasePromoting && self:
		return planChosen(in)
	}
	return planFenced(in)
}

// planUnwritten stops what a new epoch forbids though the promise can't be written, as on a full disk.
func planUnwritten(in Inputs) (Step, bool) {
	if !in.NoPromise || !in.Running || in.foreign() || in.State.Primary == in.Self {
		return Step{}, false
	}
	step := planFenced(in)
	return step, step.Do == Stop || step.Do == CutOff
}

// planUnsure is for an agent that does not know yet what was agreed on while it was away. A PostgreSQL that runs goes
// on as it is, for a while.
func planUnsure(in Inputs) Step {
	if in.Live == nil || in.Live.InRecovery || in.Alone < unsureFor || in.Proof {
		return Step{Do: Wait, Why: "what the cluster agreed on is not known here yet"}
	}
	if in.InForce != nil && in.InForce.ReadOnly {
		return stuck(in, "no quorum answered since the agent started")
	}
	conf := in.primaryConf()
	conf.ReadOnly = true
	return Step{Do: Configure, Conf: conf, Why: fmt.Sprintf("no quorum answered for %s since the agent started", unsureFor)}
}

// stuck ends the commits that wait for standbys in a primary without a quorum. A client can turn read-only off.
func stuck(in Inputs, why string) Step {
	if in.EndWaiting {
		return Step{Do: Terminate, Why: why + ": commits that wait can't be acknowledged"}
	}
	return Step{Do: Wait, Why: why}
}

// planForeign leaves alone what is not the cluster's, or may be worth something.
func planForeign(in Inputs) (Step, bool) {
	switch {
	case !in.foreign() || founding(in.State) && in.State.Primary == in.Self:
		return Step{}, false
	case in.State.SystemID == "":
		return wait("another node's data becomes the cluster's; what is here is judged then"), true
	case in.Files.SystemID != in.State.SystemID:
		return Step{Do: Wait, Problem: true, Why: fmt.Sprintf(
			"the data directory holds another cluster's data (system identifier %s, the primary's is %s)", in.Files.SystemID, in.State.SystemID)}, true
	case in.Running && (in.Live != nil && !in.Live.InRecovery || in.Live == nil && !in.Files.Standby):
		return Step{Do: Wait, Problem: true, Why: "a primary runs here that is not the cluster's: it was made without pgraft"}, true
	}
	return Step{}, false
}

// foreign reports whether there is data that pgraft never had a hand in.
func (in *Inputs) foreign() bool {
	return in.Local.Fingerprint == "" && in.Local.Work == nil && !in.Files.Empty && !in.Files.Partial
}

// planLost finds that the copy here is not the one that the cluster counts on.
func planLost(in Inputs) (Step, bool) {
	for _, m := range members(in.State, in.Self) {
		if m.Lost && m.Memory == in.Local.Memory {
			return Step{Do: Renew, Why: "the cluster counts on this copy no more"}, true
		}
		if m.Lost {
			continue
		}
		if why := in.lost(m); why != "" {
			if in.Local.Spoiled == "" && m.Memory == in.Local.Memory && !in.Files.Empty {
				return Step{Do: Spoil, Why: why}, true
			}
			return Step{Do: Propose, Op: primacy.LostOp{ServerID: in.Self, Memory: m.Memory}, Why: why}, true
		}
	}
	return Step{}, false
}

// lost says why the copy that a member stands for is not here, "" if it is.
func (in *Inputs) lost(m primacy.Member) string {
	switch {
	case m.Memory != in.Local.Memory:
		return "the copy that the cluster counts on was replaced by another one"
	case founding(in.State):
		return "" // it is being made
	case in.State.DataLoss && in.State.Primary == in.Self && in.State.Phase == primacy.PhasePromoting:
		return "" // an operator chose it, whatever it is
	case in.Local.Spoiled != "":
		return in.Local.Spoiled
	case in.Replaced:
		return "the data directory was replaced while nobody looked"
	case !in.Running && in.Files.Empty:
		return "the data is gone"
	case !in.Running && in.Local.Work == nil && in.Files.SystemID != in.State.SystemID:
		return fmt.Sprintf("the data directory holds another cluster's data (system identifier %s)", in.Files.SystemID)
	}
	at, known := in.position()
	if known && at.Epoch != 0 && at.Compare(in.Local.Position) < 0 {
		return fmt.Sprintf("the data reaches to %s of epoch %d, and it did reach to %s of epoch %d: it was put back to an older state",
			at.LSN, at.Epoch, in.Local.Position.LSN, in.Local.Position.Epoch)
	}
	return ""
}

// position is how far the copy's WAL reaches, if that is known for sure.
func (in *Inputs) position() (primacy.Position, bool) {
	switch {
	case in.Cut != nil && (in.Live == nil || in.Live.InRecovery):
		return primacy.Position{Epoch: in.epoch(in.Cut.Timeline), LSN: in.Cut.LSN}, true
	case in.Live != nil && !in.Live.InRecovery:
		return primacy.Position{Epoch: in.epoch(in.Live.Timeline), LSN: in.Live.LSN}, true
	case !in.Running && in.inOrder():
		return primacy.Position{Epoch: in.epoch(in.Files.Timeline), LSN: in.Files.Checkpoint}, true
	}
	return primacy.Position{}, false
}

// inOrder reports whether the files are those of a primary that was shut down in order.
func (in *Inputs) inOrder() bool {
	return !in.Files.Empty && !in.Files.Partial && in.Local.Work == nil && in.Files.InOrder && !in.Files.Standby
}

// epoch tells which epoch began a timeline of this copy, 0 if nobody knows.
func (in *Inputs) epoch(timeline wal.Timeline) uint64 {
	if epoch := epochOf(in.Local, in.State.Lineage, timeline); epoch != 0 {
		return epoch
	}
	return in.Local.Promoting // nothing came from elsewhere since: it is what the promotion made
}

func founding(s primacy.State) bool { return s.Phase == primacy.PhasePromoting && len(s.Lineage) == 0 }

// members returns a server's entries in the rule that holds and in the one to come.
func members(s primacy.State, serverID string) []primacy.Member {
	all := slices.Clone(s.Sync.Members)
	if s.Next != nil {
		all = append(all, s.Next.Members...)
	}
	return slices.DeleteFunc(all, func(m primacy.Member) bool { return m.ServerID != serverID })
}

// counts reports whether the copy here is one that the rule counts on.
func (in *Inputs) counts() bool {
	return slices.Contains(in.State.Sync.Members, primacy.Member{ServerID: in.Self, Memory: in.Local.Memory})
}

// destroy returns a step that throws the copy away, or the one that must come first: what is destroyed must not be
// counted on.
func (in *Inputs) destroy(step Step) Step {
	for _, m := range members(in.State, in.Self) {
		switch {
		case m.Lost:
		case in.Since < restFor:
			return wait("the new primary has just taken over; then " + string(step.Do) + ": " + step.Why)
		default:
			return Step{Do: Propose, Op: primacy.LostOp{ServerID: in.Self, Memory: m.Memory}, Why: "about to " + string(step.Do) + ": " + step.Why}
		}
	}
	if in.Running {
		return Step{Do: Stop, Why: step.Why}
	}
	return step
}

func wait(why string) Step { return Step{Do: Wait, Why: why} }

func soon(why string) Step { return Step{Do: Wait, Why: why, Soon: true} }
