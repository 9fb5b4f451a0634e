package failover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// Outcome is what an operator's failover or switchover led to.
type Outcome struct {
	ServerID, Name string // of the new primary
	Epoch          uint64
	// Warning says what may be lost, "" = nothing that was acknowledged.
	Warning string
}

const (
	// commandTimeout bounds a command whose context has no nearer end.
	commandTimeout = time.Minute
	// lossPatience is how long servers have to report before an operator's failover goes on with those that did.
	lossPatience = 3 * time.Second
)

// Switchover makes a server the primary without losing anything: the one with this server id, or the best with "". It
// returns when the new primary is ready, and works while failover is paused.
func (w *Watch) Switchover(ctx context.Context, target string) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	s, err := w.fresh(ctx, "switch over")
	if err != nil {
		return Outcome{}, err
	}
	target, err = switchoverTarget(&s, target)
	if err != nil {
		return Outcome{}, err
	}
	if err := w.cfg.Propose(ctx, primacy.HandoverOp{Epoch: s.State.Epoch, Target: target}); err != nil {
		return Outcome{}, fmt.Errorf("begin switchover: %w", err)
	}
	return w.awaitPrimary(ctx, s.State.Epoch)
}

// switchoverTarget returns who is to take over, or why nobody can.
func switchoverTarget(s *Scene, target string) (string, error) {
	state := &s.State
	primary, ok := s.current(state.Primary)
	switch {
	case state.Phase != primacy.PhaseReady:
		return "", fail(api.CodeUnavailable, "wait until there is one: see pgraft status", "cannot switch over: there is no primary now")
	case state.Handover != "":
		return "", fail(api.CodeConflict, "wait for its end", "cannot switch over: a switchover to %s is under way", s.name(state.Handover))
	case !ok || !primary.Running:
		return "", fail(api.CodeUnavailable, "start its agent, or let another server take over by: pgraft failover",
			"cannot switch over: the agent of the primary, %s, does not answer for a running PostgreSQL", s.name(state.Primary))
	}
	live := s.live(primary)
	if target != "" {
		if err := s.unfit(target, live); err != nil {
			return "", err
		}
		return target, nil
	}
	var fit []*Server
	var why []string
	for _, m := range state.Sync.Members {
		if m.ServerID == state.Primary {
			continue
		}
		if err := s.unfit(m.ServerID, live); err != nil {
			why = append(why, err.Message)
			continue
		}
		fit = append(fit, s.server(m.ServerID))
	}
	if len(fit) == 0 {
		return "", fail(api.CodeUnavailable, "see pgraft status", "cannot switch over: no server can take over: %s",
			cmp.Or(strings.Join(why, "; "), "there is no standby that commits are counted on"))
	}
	return slices.MinFunc(fit, func(a, b *Server) int {
		return cmp.Or(cmp.Compare(b.priority(), a.priority()), b.View.Position.Compare(a.View.Position), strings.Compare(a.label(), b.label()))
	}).ID, nil
}

// unfit says why a server can't take over from a healthy primary, nil if it can.
func (s *Scene) unfit(id string, live map[string]liveStandby) *api.Error {
	if err := s.unsuited(id); err != nil {
		return err
	}
	v, name := s.server(id), s.name(id)
	view, ok := s.view(id)
	member, counts := s.member(id)
	row, streams := live[id]
	switch {
	case !ok:
		return fail(api.CodeUnavailable, "start the agent there", "%s can't take over: its agent is %s", name, state(v.Agent.Reach))
	case !view.Running:
		return fail(api.CodeUnavailable, "see the agent's log there", "%s can't take over: its PostgreSQL is down", name)
	case !streams:
		return fail(api.CodeUnavailable, "see pgraft status", "%s can't take over: it does not stream from the primary", name)
	case !row.near:
		return fail(api.CodeUnavailable, "try again when it has caught up", "%s can't take over: it lags behind the primary", name)
	case !counts || member.Lost || !acknowledges(live, member):
		return fail(api.CodeUnavailable, "try again in a moment", "%s can't take over: it is not among those that commits are counted on yet", name)
	}
	return nil
}

// unsuited says why a server can be no primary, or is it already; nil if neither.
func (s *Scene) unsuited(id string) *api.Error {
	v, name := s.server(id), s.name(id)
	switch {
	case v.Name == "" && !v.Voter && v.View == nil:
		return fail(api.CodeNotFound, "see pgraft members", "no server %q in this cluster", id)
	case id == s.State.Primary && s.State.Phase != primacy.PhaseFenced:
		return fail(api.CodeConflict, "", "%s is the primary already", name)
	case v.Witness:
		return fail(api.CodeConflict, "name a server that has a PostgreSQL", "%s can't be primary: it is a witness", name)
	case !v.carries():
		return fail(api.CodeConflict, "name a server that has a vote", "%s can't be primary: it has no vote", name)
	}
	return nil
}

// Failover ends the present epoch, whatever the primary's state, and returns when the next primary is ready: the server
// with this id if none has more than it, or the best with "". With allowDataLoss it goes on with those that can be
// counted, should they be too few.
func (w *Watch) Failover(ctx context.Context, target string, allowDataLoss bool) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	s, err := w.fresh(ctx, "fail over")
	if err != nil {
		return Outcome{}, err
	}
	if err := failoverBar(&s, target, allowDataLoss); err != nil {
		return Outcome{}, err
	}
	epoch := s.State.Epoch
	if s.State.Phase != primacy.PhaseFenced || target != "" && target != s.State.Target {
		op := primacy.FenceOp{Epoch: epoch + 1, Target: target, Replace: true, Reason: "failover by an operator"}
		if err := w.cfg.Propose(ctx, op); err != nil {
			return Outcome{}, fmt.Errorf("begin failover: %w", err)
		}
	} else {
		epoch-- // what is waited for is this epoch's own primary
	}
	warning := ""
	if allowDataLoss {
		if warning, err = w.promoteAnyway(ctx, epoch+1, target); err != nil {
			return Outcome{}, err
		}
	}
	outcome, err := w.awaitPrimary(ctx, epoch)
	outcome.Warning = warning
	return outcome, err
}

// failoverBar says why an operator's failover can't be begun, nil if it can.
func failoverBar(s *Scene, target string, allowDataLoss bool) error {
	if s.State.Phase == primacy.PhaseNone {
		return fail(api.CodeUnavailable, "see pgraft status", "cannot fail over: the cluster has no PostgreSQL yet")
	}
	if target != "" {
		if err := s.unsuited(target); err != nil {
			return err
		}
		if _, ok := s.view(target); !ok {
			return fail(api.CodeUnavailable, "start the agent there", "%s can't take over: its agent is %s",
				s.name(target), state(s.server(target).Agent.Reach))
		}
	}
	without := s.State.Primary
	if s.State.Phase == primacy.PhaseFenced {
		without = ""
	}
	if enough, missing := s.survivors(without); !enough && !allowDataLoss {
		return fail(api.CodeUnavailable, "bring back what is missing, or go on without by -allow-data-loss", "cannot fail over: %s", missing)
	}
	return nil
}

// promoteAnyway waits for the reports of a fenced epoch, and when they stay too few, promotes the best of those that
// are there. It returns what may be lost.
func (w *Watch) promoteAnyway(ctx context.Context, epoch uint64, target string) (warning string, err error) {
	patient, cancel := context.WithTimeout(ctx, lossPatience)
	defer cancel()
	fenced := func(s primacy.State) bool { return s.Epoch == epoch && s.Phase == primacy.PhaseFenced }
	state, err := w.await(patient, func(s primacy.State) bool { return !fenced(s) })
	if err == nil || !fenced(state) {
		return "", ctx.Err()
	}
	s := w.snapshot()
	best, ok := bestOf(state.Reports, target)
	if !ok {
		return "", fail(api.CodeUnavailable, "start an agent whose server has the cluster's data", "cannot fail over: no server has reported what it has%s", s.missing())
	}
	warning = fmt.Sprintf("commits that were acknowledged may be lost: %s has WAL up to %s, %d of %d reports that are needed%s",
		s.name(best.ServerID), best.Position, len(primacy.Countable(state)), primacy.Needed(state.Sync), s.missing())
	if state.Acked != (primacy.Position{}) {
		warning += fmt.Sprintf("; acknowledged at least up to %s", state.Acked)
	}
	op := primacy.PromoteOp{Epoch: epoch, ServerID: best.ServerID, AllowDataLoss: true}
	if err := w.cfg.Propose(ctx, op); err != nil {
		return "", fmt.Errorf("promote %s: %w", s.name(best.ServerID), err)
	}
	return warning, nil
}

// bestOf returns the report of the target if there is one, else the one that reaches furthest.
func bestOf(reports []primacy.Report, target string) (primacy.Report, bool) {
	if r, ok := primacy.ReportOf(reports, target); ok || len(reports) == 0 {
		return r, ok
	}
	return slices.MaxFunc(reports, func(a, b primacy.Report) int { return a.Position.Compare(b.Position) }), true
}

// Pause turns automatic failover off, Resume on.
func (w *Watch) Pause(ctx context.Context) error {
	return w.cfg.Propose(ctx, primacy.PauseOp{Paused: true})
}

// Resume turns automatic failover on again.
func (w *Watch) Resume(ctx context.Context) error { return w.cfg.Propose(ctx, primacy.PauseOp{}) }

// awaitPrimary returns when an epoch after the given one has a primary that is ready.
func (w *Watch) awaitPrimary(ctx context.Context, epoch uint64) (Outcome, error) {
	state, err := w.await(ctx, func(s primacy.State) bool {
		return s.Epoch > epoch && s.Phase == primacy.PhaseReady || s.Epoch == epoch && s.Phase == primacy.PhaseReady && s.Handover == ""
	})
	switch {
	case err != nil:
		return Outcome{}, fail(api.CodeTimeout, "it goes on by itself: see pgraft status", "no new primary is ready yet: %s", w.reasons())
	case state.Epoch == epoch:
		return Outcome{}, fail(api.CodeUnavailable, "see pgraft events", "the switchover was given up: %s", w.lastAbort())
	}
	outcome := Outcome{ServerID: state.Primary, Epoch: state.Epoch}
	for _, n := range w.cfg.Servers() {
		if n.ID == state.Primary {
			outcome.Name = n.Name
		}
	}
	return outcome, nil
}

// await returns the first state that is as wanted, or the latest with an error when ctx ends before.
func (w *Watch) await(ctx context.Context, wanted func(primacy.State) bool) (primacy.State, error) {
	for {
		ws := memdb.NewWatchSet()
		state := w.cfg.State(ws)
		if wanted(state) {
			return state, nil
		}
		if err := ws.WatchCtx(ctx); err != nil {
			return state, err
		}
	}
}

func (w *Watch) reasons() string {
	var text []string
	for _, d := range w.Waiting() {
		text = append(text, d.Reason)
	}
	return cmp.Or(strings.Join(text, "; "), "nothing is known to be in its way")
}

func (w *Watch) lastAbort() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Or(w.aborted, "it was withdrawn")
}

// fresh looks at every server now, and returns the scene; only the leader can.
func (w *Watch) fresh(ctx context.Context, what string) (Scene, error) {
	w.mu.Lock()
	r := w.round
	w.mu.Unlock()
	if r == nil {
		return Scene{}, fail(api.CodeNotLeader, "ask the leader", "cannot %s: this node is not the leader", what)
	}
	s := w.scene(r, false)
	var wg sync.WaitGroup
	for q, ask := range w.questions(&s, true) {
		if q.kind != questionSees {
			wg.Go(func() { w.put(ctx, r, q, ask) })
		}
	}
	wg.Wait()
	return w.scene(r, false), nil
}

// snapshot is the scene as it is known; without leadership it knows only what is agreed.
func (w *Watch) snapshot() *Scene {
	w.mu.Lock()
	r := w.round
	w.mu.Unlock()
	if r == nil {
		r = &round{board: newBoard()}
	}
	s := w.scene(r, false)
	return &s
}

func fail(code, hint, message string, args ...any) *api.Error {
	return &api.Error{Code: code, Message: fmt.Sprintf(message, args...), Hint: hint}
}
