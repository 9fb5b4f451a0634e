package primacy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The types of Event.
const (
	EventFound    = "found"
	EventFence    = "fence"
	EventReport   = "report"
	EventPromote  = "promote"
	EventReady    = "ready"
	EventLost     = "lost"
	EventSync     = "sync"
	EventHandover = "handover"
	EventPause    = "pause"
)

// Event is a line for the cluster's history. It never holds the secret. Servers are named "server ID" in Message.
type Event struct {
	Type     string
	Message  string
	ServerID string // whom it is about, "" = none
	Data     map[string]string
}

// Refusal is why an operation changes nothing. It is the same on every server.
type Refusal struct{ Message string }

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(format string, args ...any) error { return &Refusal{Message: fmt.Sprintf(format, args...)} }

// Apply returns the state after op, and what to tell of it. An error is always a *Refusal, and the state is then the
// same as before. An operation that was applied already, and is still in force, changes nothing and is no error.
func Apply(s State, op Op) (State, []Event, error) {
	if err := Check(op); err != nil {
		return s, nil, err
	}
	next, events, err := apply(s, op)
	if err != nil {
		return s, nil, err
	}
	return next, events, nil
}

func apply(s State, op Op) (State, []Event, error) {
	switch op := op.(type) {
	case FoundOp:
		return s.found(op)
	case FenceOp:
		return s.fence(op)
	case ReportOp:
		return s.report(op)
	case PromoteOp:
		return s.promote(op)
	case ReadyOp:
		return s.ready(op)
	case LostOp:
		return s.lost(op)
	case NextOp:
		return s.next(op)
	case ConfirmOp:
		return s.confirm(op)
	case ShrinkOp:
		return s.shrink(op)
	case AckedOp:
		return s.acked(op)
	case HandoverOp:
		return s.handover(op)
	default:
		return s.pause(op.(PauseOp))
	}
}

func (s State) found(op FoundOp) (State, []Event, error) {
	if s.Epoch == op.Epoch && s.Phase != PhaseFenced && s.Primary == op.ServerID && s.Found == op.How &&
		s.Secret == op.Secret && slices.Equal(s.Sync.Members, []Member{{ServerID: op.ServerID, Memory: op.Memory}}) {
		return s, nil, nil
	}
	if len(s.Lineage) != 0 {
		return s, nil, refuse("the cluster has a PostgreSQL already: server %s was its primary in epoch %d",
			s.Lineage[len(s.Lineage)-1].ServerID, s.Lineage[len(s.Lineage)-1].Epoch)
	}
	if op.Epoch != s.Epoch+1 {
		return s, nil, refuse("epoch %d can't be founded: the next epoch is %d", op.Epoch, s.Epoch+1)
	}
	s = State{
		Secret: op.Secret, Epoch: op.Epoch, Phase: PhasePromoting, Primary: op.ServerID, Found: op.How, Paused: s.Paused,
		Sync: Sync{
			Version: s.latestVersion() + 1, Async: op.Async,
			Members: []Member{{ServerID: op.ServerID, Memory: op.Memory}},
		},
	}
	return s, s.tell(EventFound, op.ServerID, "server %s begins the cluster's PostgreSQL (%s)", op.ServerID, op.How), nil
}

func (s State) fence(op FenceOp) (State, []Event, error) {
	if s.Epoch == op.Epoch && s.Phase == PhaseFenced && s.Target == op.Target && s.Replace == op.Replace && s.Reason == op.Reason {
		return s, nil, nil
	}
	if s.Phase == PhaseNone {
		return s, nil, refuse("there is no primary to fence: the cluster has no PostgreSQL yet")
	}
	if op.Epoch != s.Epoch+1 {
		return s, nil, refuse("epoch %d can't begin: epoch %d has begun, and the next is %d", op.Epoch, s.Epoch, s.Epoch+1)
	}
	s.withdraw()
	s.Epoch, s.Phase, s.Target, s.Replace, s.Reason = op.Epoch, PhaseFenced, op.Target, op.Replace, op.Reason
	s.Handover, s.Reports, s.Base, s.DataLoss = "", nil, Position{}, false
	return s, s.tell(EventFence, s.Primary, "server %s is primary no more: %s", s.Primary, op.Reason), nil
}

func (s State) report(op ReportOp) (State, []Event, error) {
	if s.Epoch != op.Epoch || s.Phase != PhaseFenced {
		return s, nil, refuse("a report for epoch %d is of no use: %s", op.Epoch, s.where())
	}
	r := op.Report
	if r.Position.Epoch >= s.Epoch {
		return s, nil, refuse("a report of WAL of epoch %d can't be true: epoch %d has no primary yet", r.Position.Epoch, s.Epoch)
	}
	i, there := slices.BinarySearchFunc(s.Reports, r.ServerID, func(have Report, id string) int {
		return strings.Compare(have.ServerID, id)
	})
	if there && s.Reports[i] == r {
		return s, nil, nil
	}
	s.Reports = slices.Clone(s.Reports)
	if there {
		s.Reports[i] = r
	} else {
		s.Reports = slices.Insert(s.Reports, i, r)
	}
	events := s.tell(EventReport, r.ServerID, "server %s has WAL up to %s", r.ServerID, r.Position)
	events[0].Data["lsn"] = r.Position.LSN.String()
	events[0].Data["wal_epoch"] = strconv.FormatUint(r.Position.Epoch, 10)
	events[0].Data["counts"] = strconv.FormatBool(s.counts(r))
	return s, events, nil
}

func (s State) promote(op PromoteOp) (State, []Event, error) {
	if s.Epoch == op.Epoch && s.Primary == op.ServerID && (s.Phase == PhasePromoting || s.Phase == PhaseReady) {
		return s, nil, nil
	}
	if s.Epoch != op.Epoch || s.Phase != PhaseFenced {
		return s, nil, refuse("no primary can be chosen for epoch %d: %s", op.Epoch, s.where())
	}
	report, err := s.eligible(op.ServerID)
	if err != nil && !op.AllowDataLoss {
		return s, nil, err
	}
	message := "server %s becomes primary: its WAL reaches up to %s, and so all that was acknowledged"
	if err != nil {
		var ok bool
		if report, ok = ReportOf(s.Reports, op.ServerID); !ok {
			return s, nil, refuse("server %s can't be chosen: it has not reported what it has", op.ServerID)
		}
		s = s.acceptLoss(report)
		message = "server %s becomes primary by an operator's decision, though commits may be lost: its WAL reaches up to %s"
	}
	s.Phase, s.Primary, s.Base, s.Reports = PhasePromoting, op.ServerID, report.Position, nil
	events := s.tell(EventPromote, op.ServerID, message, op.ServerID, report.Position)
	events[0].Data["lsn"] = report.Position.LSN.String()
	events[0].Data["data_loss"] = strconv.FormatBool(s.DataLoss)
	if err != nil {
		events[0].Data["reason"] = err.Error()
	}
	return s, events, nil
}

// acceptLoss makes the server that gave the report all that counts.
func (s State) acceptLoss(r Report) State {
	s.DataLoss = true
	s.Sync = Sync{
		Version: s.Sync.Version + 1, Async: s.Sync.Async,
		Members: []Member{{ServerID: r.ServerID, Memory: r.Memory}},
	}
	if r.Position.Compare(s.Acked) < 0 {
		s.Acked = r.Position
	}
	return s
}

func (s State) ready(op ReadyOp) (State, []Event, error) {
	branch := Branch{
		Epoch: op.Epoch, Parent: s.Base.Epoch, ServerID: op.ServerID, Timeline: op.Timeline, Switch: op.Switch,
	}
	if s.Epoch == op.Epoch && s.Phase == PhaseReady && slices.Contains(s.Lineage, branch) {
		return s, nil, nil
	}
	if s.Epoch != op.Epoch || s.Phase != PhasePromoting || s.Primary != op.ServerID {
		return s, nil, refuse("server %s can't be the primary of epoch %d: %s", op.ServerID, op.Epoch, s.where())
	}
	if m, ok := MemberOf(s.Sync, op.ServerID); !ok || m.Lost {
		return s, nil, refuse("server %s can't be the primary of epoch %d: the copy of the data that was chosen is lost", op.ServerID, op.Epoch)
	}
	if s.SystemID != "" && (s.SystemID != op.SystemID || s.Major != op.Major) {
		return s, nil, refuse("server %s has another PostgreSQL (system identifier %s, version %d) than the cluster (%s, %d)",
			op.ServerID, op.SystemID, op.Major, s.SystemID, s.Major)
	}
	s.SystemID, s.Major, s.Phase = op.SystemID, op.Major, PhaseReady
	s.Lineage = grow(s.Lineage, append(slices.Clone(op.Unready), branch))
	events := s.tell(EventReady, op.ServerID, "server %s takes writes on timeline %d from %s", op.ServerID, op.Timeline, op.Switch)
	events[0].Data["lsn"] = op.Switch.String()
	events[0].Data["timeline"] = strconv.FormatUint(uint64(op.Timeline), 10)
	return s, events, nil
}

func (s State) lost(op LostOp) (State, []Event, error) {
	isIt := func(m Member) bool { return m.ServerID == op.ServerID && m.Memory == op.Memory && !m.Lost }
	if i := slices.IndexFunc(s.Reports, func(r Report) bool {
		return r.ServerID == op.ServerID && r.Memory == op.Memory
	}); i >= 0 {
		s.Reports = slices.Delete(slices.Clone(s.Reports), i, i+1)
		if len(s.Reports) == 0 {
			s.Reports = nil // as a snapshot has it
		}
	}
	i := slices.IndexFunc(s.Sync.Members, isIt)
	inNext := s.Next != nil && slices.ContainsFunc(s.Next.Members, isIt)
	if i < 0 && !inNext {
		return s, nil, nil
	}
	if i >= 0 {
		s.Sync.Members = slices.Clone(s.Sync.Members)
		s.Sync.Members[i].Lost = true
	}
	if inNext {
		s.withdraw()
	}
	return s, s.tell(EventLost, op.ServerID, "server %s lost its copy of the data", op.ServerID), nil
}

func (s State) acked(op AckedOp) (State, []Event, error) {
	if err := s.reigns(op.Epoch); err != nil {
		return s, nil, err
	}
	if s.Sync.Async {
		return s, nil, refuse("nothing is known to be acknowledged by members: the cluster is asynchronous")
	}
	if at := Position(op); at.Compare(s.Acked) > 0 {
		s.Acked = at
	}
	return s, nil, nil
}

func (s State) handover(op HandoverOp) (State, []Event, error) {
	if err := s.reigns(op.Epoch); err != nil {
		return s, nil, err
	}
	if s.Handover == op.Target {
		return s, nil, nil
	}
	if op.Target == "" {
		target := s.Handover
		s.Handover = ""
		return s, s.tell(EventHandover, s.Primary, "the handover to server %s was given up", target), nil
	}
	member, ok := MemberOf(s.Sync, op.Target)
	switch {
	case op.Target == s.Primary:
		return s, nil, refuse("server %s is the primary already", op.Target)
	case !ok || member.Lost:
		return s, nil, refuse("server %s can't take over: it is not one of those that commits are counted on", op.Target)
	}
	s.Handover = op.Target
	return s, s.tell(EventHandover, s.Primary, "server %s is to hand over to server %s", s.Primary, op.Target), nil
}

func (s State) pause(op PauseOp) (State, []Event, error) {
	if s.Paused == op.Paused {
		return s, nil, nil
	}
	s.Paused = op.Paused
	if op.Paused {
		return s, s.tell(EventPause, "", "automatic failover is off"), nil
	}
	return s, s.tell(EventPause, "", "automatic failover is on"), nil
}

// reigns refuses what only the ready primary's epoch allows.
func (s State) reigns(epoch uint64) error {
	if s.Epoch != epoch || s.Phase != PhaseReady {
		return refuse("epoch %d has no ready primary now: %s", epoch, s.where())
	}
	return nil
}

// where says how far the state has come, for refusals.
func (s State) where() string {
	switch s.Phase {
	case PhaseNone:
		return "the cluster has no PostgreSQL yet"
	case PhaseFenced:
		return fmt.Sprintf("epoch %d counts what the servers have", s.Epoch)
	case PhasePromoting:
		return fmt.Sprintf("in epoch %d server %s is being promoted", s.Epoch, s.Primary)
	default:
		return fmt.Sprintf("in epoch %d server %s is the primary", s.Epoch, s.Primary)
	}
}

// tell makes the event of an operation.
func (s State) tell(kind, serverID, format string, args ...any) []Event {
	return []Event{{
		Type: kind, ServerID: serverID, Message: fmt.Sprintf(format, args...),
		Data: map[string]string{"epoch": strconv.FormatUint(s.Epoch, 10)},
	}}
}
