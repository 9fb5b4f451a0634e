package controller

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// planFounding makes the cluster's first data here, or takes what is here for it.
func planFounding(in Inputs) Step {
	ours := in.Local.Fingerprint != "" && !in.Replaced && in.Local.Work == nil && (in.Running || !in.Files.Empty)
	switch {
	case !in.counts():
		return planUnfit(in, "the node that is to begin the cluster's data has lost it")
	case in.Running && in.Live == nil:
		return soon("PostgreSQL is starting")
	case in.Running && in.Live.InRecovery:
		return Step{Do: Wait, Problem: true, Why: "the data that the cluster is to begin with is a standby's: promote it by hand, or choose another node"}
	case !ours && in.State.Found == primacy.FoundInit:
		return planInit(in)
	case !ours && !in.Running && in.Files.Empty:
		return Step{Do: Wait, Problem: true, Why: "the data that the cluster is to begin with is gone"}
	case !ours && !in.Running && in.Files.Standby:
		return Step{Do: Wait, Problem: true, Why: "the data that the cluster is to begin with is a standby's: remove its standby.signal, or choose another node"}
	case !ours:
		return Step{Do: Adopt, Why: "the leader chose this node's data for the cluster's"}
	case !in.Running:
		return Step{Do: StartPrimary, Conf: in.primaryConf(), Why: "the cluster's first data is here"}
	}
	if conf := in.primaryConf(); in.differs(conf) {
		return Step{Do: Configure, Conf: conf, Why: "before the first client comes"}
	}
	return Step{Do: Ready, Why: "the first primary runs"}
}

func planInit(in Inputs) Step {
	begun := in.Local.Work != nil && in.Local.Work.Kind == WorkInit
	if in.Running || !in.Files.Empty && !in.Files.Partial && !begun {
		return Step{Do: Wait, Problem: true, Why: "the leader chose this node to make the cluster's first data, and its data directory is not empty"}
	}
	return Step{Do: InitDB, Why: "no node has data, and the leader chose this one to make it"}
}

// planChosen promotes the copy here. It is cut off since the fence, and still is when it is promoted.
func planChosen(in Inputs) Step {
	switch {
	case !in.counts() || in.Local.Work != nil:
		return planUnfit(in, "the chosen node's copy of the data is lost")
	case !in.Running:
		return Step{Do: StartStandby, Conf: in.cutConf(), Why: "chosen: to be promoted it must run"}
	case in.Live == nil && !in.Files.Standby:
		return Step{Do: Stop, Why: "it runs as the primary of an epoch that is over"}
	case in.Live == nil:
		return soon("PostgreSQL is starting")
	case !in.Live.InRecovery && in.epoch(in.Live.Timeline) != in.State.Epoch:
		return Step{Do: Stop, Why: "it runs as the primary of an epoch that is over"}
	case in.Live.InRecovery && (in.Cut == nil || in.Live.Receiving):
		return Step{Do: CutOff, Why: "before it is promoted"}
	}
	if at, _ := in.position(); in.Live.InRecovery && at.Epoch < in.State.Base.Epoch {
		return planUnfit(in, fmt.Sprintf("the chosen node's copy ends in epoch %d, and it was chosen with one of epoch %d", at.Epoch, in.State.Base.Epoch))
	}
	return Step{Do: PromoteSelf, Conf: in.primaryConf(), Why: fmt.Sprintf("chosen for epoch %d", in.State.Epoch)}
}

// planLeading is for the primary of a ready epoch.
func planLeading(in Inputs) Step {
	if !in.counts() {
		return planUnfit(in, "the primary's copy of the data is lost")
	}
	if !in.Running {
		return planDown(in)
	}
	switch {
	case in.Live == nil:
		return soon("PostgreSQL is starting, or does not answer")
	case in.Live.InRecovery:
		return planUnfit(in, "the primary runs as a standby")
	case in.epoch(in.Live.Timeline) != in.State.Epoch:
		return planUnfit(in, fmt.Sprintf("the primary is on timeline %d, which is not its epoch's", in.Live.Timeline))
	}
	if step, ok := planServing(in); ok {
		return step
	}
	return planUpkeep(in)
}

// planUnfit gives the office up: what is here is not what was made primary.
func planUnfit(in Inputs, why string) Step {
	if in.Running {
		return Step{Do: Stop, Why: why}
	}
	if in.counts() {
		return Step{Do: Propose, Op: primacy.LostOp{ServerID: in.Self, Memory: in.Local.Memory}, Why: why}
	}
	return Step{Do: Propose, Op: primacy.FenceOp{Epoch: in.State.Epoch + 1, Reason: why}, Why: why}
}

// planDown is for a primary whose PostgreSQL does not run.
func planDown(in Inputs) Step {
	switch {
	case in.Local.Work != nil || in.epoch(in.Files.Timeline) != in.State.Epoch:
		return planUnfit(in, fmt.Sprintf("the primary's data is not of its epoch (timeline %d)", in.Files.Timeline))
	case in.State.Handover != "" && in.State.Handover != in.Self:
		return Step{Do: Propose, Why: "stopped, so that the other can take over", Op: primacy.FenceOp{
			Epoch: in.State.Epoch + 1, Target: in.State.Handover, Reason: "switchover"}}
	case in.Died && in.CanFailover && !in.State.Paused:
		return Step{Do: Propose, Why: "its PostgreSQL ended by itself", Op: primacy.FenceOp{
			Epoch: in.State.Epoch + 1, Reason: "the primary's PostgreSQL ended by itself"}}
	case !in.Proof:
		return wait("the primary is only started when a quorum answers")
	}
	conf := in.primaryConf()
	conf.Gated = in.State.Sync.Acks > 0
	return Step{Do: StartPrimary, Conf: conf, Why: "it is the primary; clients must wait until its WAL is confirmed"}
}

// planServing keeps the running primary as open as it may be.
func planServing(in Inputs) (Step, bool) {
	conf := in.primaryConf()
	switch {
	case in.Local.Unconfirmed && in.confirmed():
		conf.Gated = false
		return Step{Do: Configure, Conf: conf, Why: fmt.Sprintf("its WAL up to %s is confirmed: clients may come", in.Starting)}, true
	case in.differs(conf):
		return Step{Do: Configure, Conf: conf, Why: in.whyConf(conf)}, true
	case !in.Proof:
		return stuck(in, "no quorum answers"), true
	case in.Local.Unconfirmed:
		return soon(fmt.Sprintf("standbys must confirm its WAL up to %s before clients may come", in.Starting)), true
	}
	return Step{}, false
}

// planUpkeep is for a primary that serves.
func planUpkeep(in Inputs) Step {
	switch {
	case in.State.Handover != "" && in.State.Handover != in.Self:
		return planHandover(in)
	case in.State.Next != nil:
		if step, ok := planNext(in); ok {
			return step
		}
	case in.Housekeeping:
		return Step{Do: Housekeep, Why: "roles and slots"}
	case in.Asked.Restart:
		return Step{Do: Restart, Why: "an operator or the leader asked for it"}
	}
	if at := in.acked(); in.ackedDue(at) {
		return Step{Do: Propose, Op: primacy.AckedOp{Epoch: in.State.Epoch, LSN: at}, Why: "so that no promotion goes below it"}
	}
	return wait("it is the primary")
}

// planHandover stops the primary for a switchover, unless its target is not there.
func planHandover(in Inputs) Step {
	target := in.State.Handover
	i := slices.IndexFunc(in.State.Sync.Members, func(m primacy.Member) bool { return m.ServerID == target && !m.Lost })
	if i < 0 {
		return Step{Do: Propose, Op: primacy.HandoverOp{Epoch: in.State.Epoch}, Why: "the switchover's target is no member"}
	}
	if _, ok := in.standby(in.State.Sync.Members[i]); !ok {
		return Step{Do: Propose, Op: primacy.HandoverOp{Epoch: in.State.Epoch}, Why: "the switchover's target does not stream"}
	}
	return Step{Do: HandOver, Why: "switchover"}
}

// planNext brings the rule to come into force, see package primacy.
func planNext(in Inputs) (Step, bool) {
	next := in.State.Next
	if in.Barrier == nil || in.Barrier.Version != next.Version {
		return Step{Do: SetBarrier, Why: "the stricter rule is in force: what comes after it satisfies both"}, true
	}
	flushed := 0
	for _, m := range next.Members {
		s, ok := in.standby(m)
		ok = ok && s.Flush >= in.Barrier.LSN
		isNew := !slices.ContainsFunc(in.State.Sync.Members, func(o primacy.Member) bool { return o.ServerID == m.ServerID && o.Memory == m.Memory })
		if ok {
			flushed++
		} else if isNew && m.ServerID != in.Self {
			return Step{}, false
		}
	}
	if flushed < next.Acks {
		return Step{}, false
	}
	return Step{Do: Propose, Op: primacy.ConfirmOp{Epoch: in.State.Epoch, Version: next.Version},
		Why: fmt.Sprintf("%d members hold its WAL up to %s", flushed, in.Barrier.LSN)}, true
}

// standby returns the stream of a member that is not this server, if it is there.
func (in *Inputs) standby(m primacy.Member) (Standby, bool) {
	if m.ServerID == in.Self || m.Lost || in.Live == nil {
		return Standby{}, false
	}
	name, ok := in.Names(m.ServerID, m.Memory)
	if !ok {
		return Standby{}, false
	}
	i := slices.IndexFunc(in.Live.Standbys, func(s Standby) bool { return s.Name == name && s.State == "streaming" })
	if i < 0 {
		return Standby{}, false
	}
	return in.Live.Standbys[i], true
}

// quorumFlush returns the position that Acks of the members have flushed, and whether there is one.
func (in *Inputs) quorumFlush() (wal.LSN, bool) {
	acks := in.State.Sync.Acks
	if acks == 0 {
		return in.Live.LSN, true
	}
	var flushed []wal.LSN
	for _, m := range in.State.Sync.Members {
		if s, ok := in.standby(m); ok {
			flushed = append(flushed, s.Flush)
		}
	}
	if len(flushed) < acks {
		return 0, false
	}
	slices.Sort(flushed)
	return flushed[len(flushed)-acks], true
}

// confirmed reports whether what a restarted primary shows is on a quorum.
func (in *Inputs) confirmed() bool {
	if !in.Proof || in.Starting == 0 {
		return false
	}
	at, ok := in.quorumFlush()
	return ok && at >= in.Starting
}

// acked returns a position at the end of a record that Sync.Acks members have, 0 if there is none. Only such a position
// is reached again by a server that crashes: the flushed one may be in the middle of a record.
func (in *Inputs) acked() wal.LSN {
	limit, ok := in.quorumFlush()
	if !ok {
		return 0
	}
	at := in.begin()
	for _, m := range in.State.Sync.Members {
		if s, ok := in.standby(m); ok && s.Replay <= limit && s.Replay > at {
			at = s.Replay
		}
	}
	if at == in.begin() {
		return 0
	}
	return at
}

// begin is where the primary's timeline begins. Who has no more than what is below has nothing of this epoch.
func (in *Inputs) begin() wal.LSN {
	if chain := primacy.Chain(in.State.Lineage, in.State.Epoch); len(chain) > 0 {
		return chain[len(chain)-1].Switch
	}
	return 0
}

// ackedStep is how far the acknowledged position must have moved to be recorded within ackedAtLeast. Recording it writes
// an entry, which the applier notes in PostgreSQL: without the step an idle cluster would write for ever because it wrote.
const ackedStep = 64 << 10

// ackedDue reports whether the acknowledged position is to be recorded.
func (in *Inputs) ackedDue(at wal.LSN) bool {
	moved := at > in.Acked && at > in.State.Acked.LSN
	return moved && (in.AckedLate || in.AckedDue && at-max(in.Acked, in.State.Acked.LSN) >= ackedStep)
}

// syncNames is what the commits of a primary here must wait for: by the rule that holds, or the stricter one while
// another is to come. A standby has it too, so that no promotion needs to remember it.
func (in *Inputs) syncNames() string {
	rule := primacy.Rule(in.State)
	var names []string
	for _, m := range primacy.Acknowledging(rule, in.Self) {
		if name, ok := in.Names(m.ServerID, m.Memory); ok {
			names = append(names, name)
		}
	}
	return managed.SyncNames(names, rule.Acks)
}

// primaryConf is the configuration of a primary here.
func (in *Inputs) primaryConf() *Conf {
	return &Conf{SyncNames: in.syncNames(), ReadOnly: !in.Proof, Gated: in.Local.Unconfirmed, Wanted: in.Wanted}
}

// cutConf is the configuration of a standby here that follows nobody.
func (in *Inputs) cutConf() *Conf {
	led := !in.Running && !in.Files.Standby && !in.Files.Empty
	return &Conf{SyncNames: in.syncNames(), Gated: in.Local.Unconfirmed || led, Wanted: in.Wanted}
}

// differs reports whether a configuration is not in force.
func (in *Inputs) differs(conf *Conf) bool {
	now := in.InForce
	return now == nil || !maps.Equal(now.Wanted, conf.Wanted) || !reflect.DeepEqual(now.plain(), conf.plain())
}

func (c Conf) plain() Conf {
	c.Wanted = nil
	return c
}

// whyConf says what a configuration changes.
func (in *Inputs) whyConf(conf *Conf) string {
	now := in.InForce
	switch {
	case now == nil:
		return "the agent is new here, or the certificates are"
	case now.ReadOnly != conf.ReadOnly && conf.ReadOnly:
		return "no quorum answers: read-only until one does"
	case now.ReadOnly != conf.ReadOnly:
		return "a quorum answers again: writable"
	case now.SyncNames != conf.SyncNames:
		return "the rule by which commits are acknowledged has changed"
	case now.Gated != conf.Gated:
		return "who is let in has changed"
	case !maps.Equal(now.Wanted, conf.Wanted):
		return "settings have changed"
	}
	return "whom it follows has changed"
}
