package controller

import (
	"fmt"

	"github.com/pgraft/pgraft/fsm/primacy"
)

// planFenced cuts the copy off and tells how far it reaches. It holds, too, while another was chosen and is not ready.
func planFenced(in Inputs) Step {
	switch {
	case in.Running && in.Live == nil && in.Files.Standby:
		return soon("PostgreSQL is starting")
	case in.Running && (in.Live == nil || !in.Live.InRecovery):
		return Step{Do: Stop, Why: fmt.Sprintf("it is the primary no more: epoch %d has begun", in.State.Epoch)}
	case in.Running && (in.Cut == nil || in.Live.Receiving):
		return Step{Do: CutOff, Why: fmt.Sprintf("epoch %d has begun", in.State.Epoch)}
	case in.Running || in.inOrder():
		return planReport(in)
	case in.Local.Work != nil || in.Files.Empty || in.Files.Partial:
		return wait("there is no primary to copy from yet")
	case in.State.Phase != primacy.PhaseFenced || !in.counts():
		return wait("there is no primary to follow yet")
	case !in.Files.Standby && in.Since < shyFor && in.State.Sync.Acks > 0:
		return soon("it crashed as primary: the others may be enough to count")
	}
	return Step{Do: StartStandby, Conf: in.cutConf(), Why: "how far its WAL reaches must be counted"}
}

func planReport(in Inputs) Step {
	at, _ := in.position()
	timeline := in.Files.Timeline
	if in.Cut != nil {
		timeline = in.Cut.Timeline
	}
	report := primacy.Report{ServerID: in.Self, Memory: in.Local.Memory, Position: at, Timeline: timeline}
	switch {
	case in.State.Phase != primacy.PhaseFenced:
		return wait("another node was chosen and is not ready yet")
	case !in.counts():
		return wait("its copy of the data does not count")
	case at.Epoch == 0:
		return wait(fmt.Sprintf("nobody knows which epoch began its timeline %d, so that it can't be counted", timeline))
	}
	for _, r := range in.State.Reports {
		if r == report {
			return wait("fenced and reported")
		}
	}
	return Step{Do: Propose, Op: primacy.ReportOp{Epoch: in.State.Epoch, Report: report},
		Why: fmt.Sprintf("its WAL ends at %s of epoch %d", at.LSN, at.Epoch)}
}

// planFollowing is for a server that is to follow another one.
func planFollowing(in Inputs) Step {
	if in.Asked.Reinit {
		return in.destroy(Step{Do: Clone, Why: "an operator asked for it"})
	}
	if in.Running {
		return planRunning(in)
	}
	work := in.Local.Work
	switch {
	case work != nil && work.Copied && work.Epoch == in.State.Epoch:
		return Step{Do: StartStandby, Conf: in.followConf(), Why: "the copy of the primary's data is complete"}
	case work != nil && work.Why != "":
		return in.clone(Step{Do: Clone, Why: work.Why})
	case work != nil:
		return in.clone(Step{Do: Clone, Why: fmt.Sprintf("the %s was cut short", work.Kind)})
	case in.Local.Spoiled != "":
		return in.clone(Step{Do: Clone, Why: in.Local.Spoiled})
	case in.Files.Empty || in.Files.Partial:
		return in.clone(Step{Do: Clone, Why: "there is no data here"})
	}
	return in.rejoining(in.copyOfFiles())
}

// planRunning is for a PostgreSQL that runs and is to follow another one.
func planRunning(in Inputs) Step {
	work := in.Local.Work
	switch {
	case in.Live == nil && !in.Files.Standby:
		return Step{Do: Stop, Why: fmt.Sprintf("it is the primary no more: epoch %d has begun", in.State.Epoch)}
	case in.Local.Spoiled != "":
		return in.clone(Step{Do: Clone, Why: in.Local.Spoiled})
	case work != nil && (!work.Copied || work.Epoch != in.State.Epoch):
		return Step{Do: Stop, Why: "its data is not whole"}
	case in.Live == nil && in.Gone != "":
		return Step{Do: Spoil, Why: in.Gone}
	case in.Live == nil:
		return soon("PostgreSQL is starting")
	case !in.Live.InRecovery:
		return Step{Do: Stop, Why: fmt.Sprintf("it is the primary no more: epoch %d has begun", in.State.Epoch)}
	case work != nil:
		return Step{Do: Settle, Why: "the copy is consistent"}
	case in.Local.Following == in.State.Epoch:
		return planStreaming(in)
	case in.Cut == nil || in.Live.Receiving:
		return Step{Do: CutOff, Why: fmt.Sprintf("epoch %d has another primary", in.State.Epoch)}
	}
	return in.rejoining(in.copyCut())
}

// planStreaming is for a standby that has been told to follow the present primary.
func planStreaming(in Inputs) Step {
	conf := in.followConf()
	switch {
	case in.Source != nil && in.differs(conf):
		return Step{Do: Configure, Conf: conf, Why: in.whyConf(conf)}
	case in.Gone != "":
		return Step{Do: Spoil, Why: in.Gone} // so that it is known when it has stopped, when nobody asks the primary
	case in.Housekeeping:
		return Step{Do: Housekeep, Why: "slots, for the case that it is promoted"}
	case in.Asked.Restart:
		return Step{Do: Restart, Why: "an operator or the leader asked for it"}
	case !in.Live.Streaming:
		return wait("its primary sends nothing yet")
	}
	return wait("it follows the primary")
}

// rejoining does what the verdict about a copy says.
func (in *Inputs) rejoining(c Copy) Step {
	v := rejoin(in.State.Lineage, in.State.Epoch, in.State.SystemID, c)
	switch v.How {
	case RejoinRefuse:
		return Step{Do: Wait, Problem: true, Why: v.Why}
	case RejoinClone:
		return in.clone(Step{Do: Clone, Why: v.Why, Verdict: &v})
	case RejoinRewind:
		return in.clone(Step{Do: Rewind, Why: v.Why, Verdict: &v})
	}
	switch {
	case !in.Running && !in.Files.Standby && in.Since < restFor && in.spare():
		return wait("the new primary has just taken over, and others acknowledge its commits")
	case !in.Running:
		return Step{Do: StartStandby, Conf: in.cutConf(), Why: v.Why}
	case in.Source == nil:
		return wait("the primary's address is not known here yet")
	}
	return Step{Do: Follow, Conf: in.followConf(), Verdict: &v, Why: v.Why}
}

// spare reports whether a primary elsewhere has enough members that acknowledge without this one.
func (in *Inputs) spare() bool {
	others := 0
	for _, m := range primacy.Acknowledging(primacy.Rule(in.State), in.State.Primary) {
		if m.ServerID != in.Self && !m.Lost {
			others++
		}
	}
	return others >= primacy.Rule(in.State).Acks
}

// clone is destroy, but only with a source that is known.
func (in *Inputs) clone(step Step) Step {
	if in.Source == nil {
		return wait("the primary's address is not known here yet")
	}
	return in.destroy(step)
}

// copyOfFiles is what is known of a copy in which no server runs.
func (in *Inputs) copyOfFiles() Copy {
	c := in.copy()
	c.Timeline, c.LSN = in.Files.Timeline, in.Files.Checkpoint
	if in.Ended != nil {
		c.Timeline, c.LSN, c.Exact = in.Ended.Timeline, in.Ended.LSN, true
	}
	c.Epoch = in.epoch(c.Timeline)
	c.Led = !in.Files.Standby
	c.Shutdown = in.inOrder()
	c.Exact = c.Exact || c.Shutdown
	if c.Shutdown && !c.Foreign {
		c.Led = false // where a primary ended in order is known, so that it is like any other copy
	}
	return c
}

// copyCut is what is known of a standby that runs cut off.
func (in *Inputs) copyCut() Copy {
	c := in.copy()
	c.Timeline, c.LSN, c.Exact = in.Cut.Timeline, in.Cut.LSN, true
	c.Epoch = in.epoch(c.Timeline)
	return c
}

func (in *Inputs) copy() Copy {
	return Copy{
		SystemID:  in.Files.SystemID,
		Foreign:   in.foreign(),
		Timelines: in.Local.Timelines,
	}
}

// followConf is the configuration of a standby here that follows the primary.
func (in *Inputs) followConf() *Conf {
	conf := &Conf{SyncNames: in.syncNames(), Wanted: in.Wanted}
	if in.Source != nil {
		conf.Follow, conf.Source = in.State.Epoch, *in.Source
		conf.Name, _ = in.Names(in.Self, in.Local.Memory)
	}
	return conf
}
