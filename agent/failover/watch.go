package failover

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// Config says what a Watch works with. All fields are required but the last ones.
type Config struct {
	Self string // server id
	// State returns what is agreed, and adds to ws a channel that is closed when that changes (or its store is replaced).
	State func(ws memdb.WatchSet) primacy.State
	// Servers lists all that the registry or the Raft configuration names, this one too.
	Servers func() []Node
	// View is this node's own, as ServeView gives it to others. It is called several times a second.
	View func() View
	// Eyes look at the other servers.
	Eyes *Eyes
	// Propose returns when the operation is applied on this node, or with the rules' refusal as *api.Error.
	Propose func(ctx context.Context, op primacy.Op) error
	// Obey carries an order out on this node, as ServeOrder does for others.
	Obey func(ctx context.Context, order Order) error
	// TransferLeadership hands Raft's leadership to a server.
	TransferLeadership func(ctx context.Context, serverID string) error

	// Async is what the configuration asks for, nil = no.
	Async func() bool
	// Note is told, without Op, what the history does not have by itself: of each reason to wait or refuse that lasts, and
	// why members changed or a switchover was given up. It must not block long.
	Note   func(Decision)
	Timing Timing // zero = DefaultTiming
	// Busy and Calm are how often the primary is looked at while something is wrong, and while all is well;
	// 0 = 100 ms and 500 ms.
	Busy, Calm time.Duration
	Logger     hclog.Logger
}

// Watch is the leader's eye on the primary. Its methods may be called from any goroutine.
type Watch struct {
	cfg  Config
	wake chan struct{} // look and decide now
	news chan struct{} // decide now

	mu       sync.Mutex      // guards all below; never held across a look or a proposal
	round    *round          // of the present Run, nil when not leading
	waiting  []Decision      // what the latest plan gave
	idle     []*reason       // those of them that do nothing
	out      map[string]bool // see Scene.Out
	transfer transferTimes
	secret   string
	aborted  string // why the latest switchover was given up
}

// round is what one leadership remembers.
type round struct {
	since time.Time
	board *board
	seen  primacy.State
	// Since when seen's parts are so; w.mu guards these.
	phase, handover, next time.Time
	trouble               time.Time // since when something is wrong, zero = all is well
	retry                 time.Time // no proposal before
}

// New returns a Watch that does nothing until Run.
func New(cfg Config) *Watch {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	cfg.Busy, cfg.Calm = cmp.Or(cfg.Busy, 100*time.Millisecond), cmp.Or(cfg.Calm, 500*time.Millisecond)
	cfg.Timing = cfg.Timing.withDefaults()
	return &Watch{
		cfg: cfg, wake: make(chan struct{}, 1), news: make(chan struct{}, 1), out: map[string]bool{}, secret: rand.Text(),
	}
}

// Poke asks for a look at everything, and a decision, at once: gossip lost sight of a server, or the controller beside
// this agent saw its PostgreSQL end. It never blocks.
func (w *Watch) Poke() { signal(w.wake) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Waiting returns what the latest plan said, the reasons for which nothing is done among it; nil when not leading.
func (w *Watch) Waiting() []Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.waiting)
}

// Leading reports whether Run runs.
func (w *Watch) Leading() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.round != nil
}

// Run watches and decides until ctx ends, which the agent makes it do when leadership is lost.
func (w *Watch) Run(ctx context.Context) {
	now := time.Now()
	r := &round{since: now, board: newBoard(), phase: now}
	w.enter(r)
	defer w.enter(nil)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { w.watchState(ctx) })

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(w.look(ctx, &wg, r, false))
		case <-w.wake:
			timer.Reset(w.look(ctx, &wg, r, true))
		case <-w.news:
		}
		w.decide(ctx, &wg, r)
	}
}

func (w *Watch) enter(r *round) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.round, w.waiting, w.idle = r, nil, nil
	clear(w.out)
}

// watchState asks for a decision with each change of what is agreed.
func (w *Watch) watchState(ctx context.Context) {
	for {
		ws := memdb.NewWatchSet()
		w.cfg.State(ws)
		signal(w.news)
		if ws.WatchCtx(ctx) != nil {
			return
		}
	}
}

// tireless is for how long something that is wrong is looked at more often.
const tireless = 30 * time.Second

// look puts the questions that are due, and returns when the next will be. With force all are that are not under way.
func (w *Watch) look(ctx context.Context, wg *sync.WaitGroup, r *round, force bool) (next time.Duration) {
	s := w.scene(r, true)
	interval := w.cfg.Calm
	if !r.trouble.IsZero() && s.Now.Sub(r.trouble) < tireless {
		interval = w.cfg.Busy
	}
	due := interval - interval/4 // a timer that comes a little early is the one that is meant
	if force {
		due = 0
	}
	there := make(map[string]bool, len(s.Servers))
	for _, v := range s.Servers {
		there[v.ID] = true
	}
	for q, ask := range w.questions(&s, !r.trouble.IsZero()) {
		if r.board.begin(q, s.Now, due) {
			wg.Go(func() { w.put(ctx, r, q, ask) })
		}
	}
	r.board.forget(there)
	return interval
}

// asker puts one question and returns how to keep the answer, nil for none.
type asker func(ctx context.Context, begun time.Time) func(*sighting)

// questions lists what is to be looked at: every agent, the primary's port, and when this leader does not reach the
// primary's agent, what the other voters see of it.
func (w *Watch) questions(s *Scene, trouble bool) map[question]asker {
	all := make(map[question]asker)
	primary := s.server(s.State.Primary)
	led := primary.ID != "" && s.State.Phase != primacy.PhaseFenced
	suspect := led && primary.ID != s.Self && primary.Agent.Reach != ReachAlive
	for _, v := range s.Servers {
		if v.ID == s.Self {
			continue
		}
		all[question{v.ID, questionView}] = w.askView(v.ID)
		if suspect && v.Voter && v.ID != primary.ID {
			all[question{v.ID, questionSees}] = w.askSees(v.ID, primary.ID)
		}
	}
	if led {
		all[question{primary.ID, questionPostgres}] = w.askPostgres(primary.ID, trouble || primary.View == nil)
	}
	return all
}

func (w *Watch) put(ctx context.Context, r *round, q question, ask asker) {
	begun := time.Now()
	keep := ask(ctx, begun)
	if time.Since(begun) > 3*w.cfg.Eyes.timeout() {
		keep = nil // this process stood still, which says nothing of others
	}
	if ctx.Err() == nil {
		r.board.end(q, keep)
		signal(w.news)
	}
}

func (w *Watch) askView(id string) asker {
	return func(ctx context.Context, begun time.Time) func(*sighting) {
		view, reach, _ := w.cfg.Eyes.View(ctx, id) // what the error would say, reach does
		return func(v *sighting) { v.noteView(view, reach, begun, time.Now()) }
	}
}

func (w *Watch) askSees(asked, about string) asker {
	return func(ctx context.Context, begun time.Time) func(*sighting) {
		sight, err := w.cfg.Eyes.Ask(ctx, asked, about)
		if err != nil {
			return nil
		}
		return func(v *sighting) { v.sees, v.seesOf, v.seesAt = &sight, about, begun }
	}
}

func (w *Watch) askPostgres(id string, deep bool) asker {
	return func(ctx context.Context, begun time.Time) func(*sighting) {
		reach := w.cfg.Eyes.Postgres(ctx, id, deep)
		return func(v *sighting) { v.postgres.note(reach, begun, time.Now()) }
	}
}

// scene gathers what Plan looks at.
// Only the loop notes how long things are so.
func (w *Watch) scene(r *round, loop bool) Scene {
	s := Scene{Now: time.Now(), Self: w.cfg.Self, Since: r.since, Term: w.cfg.Timing, State: w.cfg.State(nil)}
	s.Async = w.cfg.Async != nil && w.cfg.Async()
	for _, n := range w.cfg.Servers() {
		s.Servers = append(s.Servers, Server{Node: n})
	}
	slices.SortFunc(s.Servers, func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	own := w.cfg.View()
	r.board.end(question{about: w.cfg.Self}, func(v *sighting) { v.noteView(&own, ReachAlive, s.Now, s.Now) })
	r.board.fill(s.Servers, r.since)
	r.board.noteAcks(&s, r.since)

	w.mu.Lock()
	defer w.mu.Unlock()
	if loop {
		r.see(s.State, s.Now)
	}
	s.PhaseSince, s.HandoverSince, s.NextSince = r.phase, r.handover, r.next
	s.Secret, s.TransferAfter = w.secret, w.transfer.after
	s.Out = make(map[string]bool, len(w.out))
	for id := range w.out {
		s.Out[id] = true
	}
	return s
}

// see notes since when the state's parts are as they are.
func (r *round) see(state primacy.State, now time.Time) {
	if state.Epoch != r.seen.Epoch || state.Phase != r.seen.Phase {
		r.phase = now
	}
	if state.Handover == "" {
		r.handover = time.Time{}
	} else if r.handover.IsZero() || state.Handover != r.seen.Handover {
		r.handover = now
	}
	if state.Next == nil {
		r.next = time.Time{}
	} else if r.next.IsZero() || r.seen.Next == nil || state.Next.Version != r.seen.Next.Version {
		r.next = now
	}
	r.seen = state
}

// decide plans and does what comes of it.
func (w *Watch) decide(ctx context.Context, wg *sync.WaitGroup, r *round) {
	if ctx.Err() != nil {
		return
	}
	s := w.scene(r, true)
	decisions := Plan(s)
	if r.watchTrouble(&s) {
		signal(w.wake)
	}
	w.note(decisions, s.Now)
	if len(decisions) == 0 || s.Now.Before(r.retry) {
		return
	}
	switch d := decisions[0]; {
	case d.Op != nil:
		if err := w.propose(ctx, d); err != nil {
			r.retry = time.Now().Add(w.cfg.Busy)
		}
		signal(w.news)
	case d.Kind == KindTransfer:
		w.startTransfer(ctx, wg, d)
	}
}

// watchTrouble remembers since when there is something to look at closely, and reports when that begins.
func (r *round) watchTrouble(s *Scene) (begins bool) {
	well := s.State.Phase == primacy.PhaseNone || s.State.Phase == primacy.PhaseReady && judge(s, s.State.Primary) == health{}
	begins = !well && r.trouble.IsZero()
	switch {
	case well:
		r.trouble = time.Time{}
	case begins:
		r.trouble = s.Now
	}
	return begins
}

// proposeTimeout bounds a proposal: a leader that can't commit in that time is about to be none.
const proposeTimeout = 2 * time.Second

func (w *Watch) propose(ctx context.Context, d Decision) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	err := w.cfg.Propose(ctx, d.Op)
	switch {
	case err == nil:
		if d.Kind == KindAbort {
			w.mu.Lock()
			w.aborted = d.Reason
			w.mu.Unlock()
		}
		w.cfg.Logger.Info("decided", "decision", string(d.Kind), "server_id", d.ServerID, "reason", d.Reason)
		if w.cfg.Note != nil && tellsMore(d.Kind) {
			w.cfg.Note(d.bare())
		}
	case refused(err):
		w.cfg.Logger.Debug("decision was overtaken", "decision", string(d.Kind), "server_id", d.ServerID, "error", err)
	case ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded):
		w.cfg.Logger.Warn("decision could not be committed", "decision", string(d.Kind), "server_id", d.ServerID, "error", err)
	}
	return err
}

// tellsMore reports whether a decision has a reason that its operation does not bring into the history.
func tellsMore(k Kind) bool { return k == KindNext || k == KindShrink || k == KindAbort }

// refused reports whether the rules did not allow what was proposed, as somebody was faster.
func refused(err error) bool {
	var byRules *primacy.Refusal
	var failure *api.Error
	return errors.As(err, &byRules) ||
		errors.As(err, &failure) && (failure.Code == api.CodeConflict || failure.Code == api.CodePrecondition)
}

// noteAfter is how long a reason to wait must last to be worth a line in the history.
const noteAfter = time.Second

// note keeps what was planned, and tells of reasons that nothing is done once they have lasted.
func (w *Watch) note(decisions []Decision, now time.Time) {
	w.mu.Lock()
	idle := make([]*reason, 0, len(decisions))
	var tell []Decision
	for _, d := range decisions {
		if d.Kind != KindWait && d.Kind != KindRefuse {
			continue
		}
		i := slices.IndexFunc(w.idle, func(known *reason) bool { return known.Decision == d })
		known := &reason{Decision: d, since: now}
		if i >= 0 {
			known = w.idle[i]
		}
		idle = append(idle, known)
		if !known.told && (d.Kind == KindRefuse || now.Sub(known.since) >= noteAfter) {
			known.told = true
			tell = append(tell, d)
		}
	}
	w.waiting, w.idle = make([]Decision, 0, len(decisions)), idle
	for _, d := range decisions {
		w.waiting = append(w.waiting, d.bare())
	}
	w.mu.Unlock()
	for _, d := range tell {
		w.cfg.Logger.Info("nothing is decided", "kind", string(d.Kind), "reason", d.Reason)
		if w.cfg.Note != nil {
			w.cfg.Note(d)
		}
	}
}

// reason is why nothing is done.
type reason struct {
	Decision
	since time.Time
	told  bool
}
