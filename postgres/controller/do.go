package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// How long steps may take. A start that takes longer goes on, and is looked at again.
const (
	proposeTime = 2 * time.Second
	startTime   = 10 * time.Second
	shortTime   = 5 * time.Second
	settleTime  = 100 * time.Millisecond
	// settledAfter is how long after a promotion those who follow have connected.
	settledAfter = 30 * time.Second
	maxTries     = 3 // to have the epoch ended after the primary died, before it is started again
)

// perform does a step and logs how long it took.
func (c *Controller) perform(ctx context.Context, in *Inputs, step Step) error {
	began := time.Now()
	err := c.act(ctx, in, step)
	c.memo.filesAt = time.Time{} // whatever was done, look again
	if step.Do == Clone || step.Do == Rewind {
		c.memo.ended = nil
	}
	if c.memo.pid == 0 || step.Do == Clone || step.Do == Rewind || step.Do == InitDB || step.Do == PromoteSelf {
		c.memo.filesFor = -1
	}
	if err != nil {
		return err
	}
	name := string(step.Do)
	if step.Op != nil {
		name = opName(step.Op)
	}
	log := c.logger.Info
	if _, often := step.Op.(primacy.AckedOp); often || step.Do == Housekeep || step.Do == Terminate {
		log = c.logger.Debug
	}
	log("step done", "step", name, "why", step.Why, "epoch", in.State.Epoch, "took_ms", ms(time.Since(began)))
	return nil
}

func (c *Controller) act(ctx context.Context, in *Inputs, step Step) error {
	switch step.Do {
	case Promise:
		err := c.amend(func(l *Local) { l.Promised = max(l.Promised, in.State.Epoch) })
		c.memo.noPromise = err != nil
		return err
	case Renew:
		return c.doRenew()
	case Spoil:
		c.event("lost", "%s can't go on with its copy of the data: "+step.Why, nil)
		return c.amend(func(l *Local) { l.Spoiled = step.Why })
	case Propose:
		return c.propose(ctx, in, step)
	case InitDB:
		return c.doInit(ctx, in)
	case Adopt:
		return c.doAdopt(in)
	case StartPrimary:
		return c.doStartPrimary(ctx, in, step)
	case StartStandby:
		return c.doStartStandby(ctx, in, step)
	case Stop:
		return c.stop(ctx, in)
	case CutOff:
		return c.doCutOff(ctx, in)
	case PromoteSelf:
		return c.doPromote(ctx, in, step)
	case Ready:
		return c.doReady(ctx, in)
	case Follow:
		return c.doFollow(ctx, in, step)
	}
	return c.actMore(ctx, in, step)
}

func (c *Controller) actMore(ctx context.Context, in *Inputs, step Step) error {
	switch step.Do {
	case Settle:
		return c.doSettle(in)
	case Clone:
		return c.doClone(ctx, in, step)
	case Rewind:
		return c.doRewind(ctx, in, step)
	case Configure:
		return c.doConfigure(ctx, in, step)
	case Terminate:
		c.memo.endedAt = time.Now()
		return c.cfg.Postgres.TerminateClients(ctx, true)
	case SetBarrier:
		return c.doBarrier(ctx, in)
	case HandOver:
		return c.doHandOver(ctx, in)
	case Restart:
		return c.doRestart(ctx, in)
	case Housekeep:
		return c.doHousekeep(ctx, in)
	}
	return fmt.Errorf("do %q: no such action", step.Do)
}

// amend changes the record.
func (c *Controller) amend(change func(*Local)) error {
	local := c.memo.local.clone()
	change(&local)
	return c.save(local)
}

// reached notes a position that the copy will reach again, if it is further than the one before.
func (l *Local) reached(at primacy.Position) {
	if at.Epoch != 0 && at.LSN != 0 && at.Compare(l.Position) > 0 {
		l.Position = at
	}
}

// setTimeline notes which epoch began a timeline of this copy.
func (l *Local) setTimeline(timeline wal.Timeline, epoch uint64) {
	if l.Timelines == nil {
		l.Timelines = map[wal.Timeline]uint64{}
	}
	l.Timelines[timeline] = epoch
}

// propose puts an operation to the cluster, and gives its effect a moment to arrive here.
func (c *Controller) propose(ctx context.Context, in *Inputs, step Step) error {
	op := step.Op
	began := time.Now()
	pctx, cancel := context.WithTimeout(ctx, proposeTime)
	defer cancel()
	if in.Proof && in.Live != nil && !in.Live.InRecovery {
		// A primary has no time for it once it has no quorum.
		c.until(pctx, c.memo.proven, cancel)
	}
	err := c.cfg.Raft.Propose(pctx, op)
	if _, fence := op.(primacy.FenceOp); fence && err != nil && c.memo.died {
		if c.memo.tries++; c.memo.tries >= maxTries {
			c.memo.died = false
			c.logger.Warn("nobody takes over: starting PostgreSQL here again", "error", err)
		}
	}
	if err != nil {
		return fmt.Errorf("propose %s: %w", opName(op), err)
	}
	c.took("propose", began)
	c.tell(in, op)
	if _, ok := op.(primacy.ReportOp); ok && in.Cut != nil {
		// From here on, a copy that reaches less far is another one.
		at := primacy.Position{Epoch: in.epoch(in.Cut.Timeline), LSN: in.Cut.Boundary}
		if err := c.amend(func(l *Local) { l.reached(at) }); err != nil {
			return err
		}
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-c.memo.changed:
	case <-timer.C:
	}
	return nil
}

// until ends something when a channel is closed.
func (c *Controller) until(ctx context.Context, closed <-chan struct{}, end context.CancelFunc) {
	c.wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-closed:
			end()
		}
	})
}

// tell puts the times of the steps that led to an operation into the history.
func (c *Controller) tell(in *Inputs, op primacy.Op) {
	switch op := op.(type) {
	case primacy.AckedOp:
		c.memo.acked, c.memo.ackedAt = op.LSN, time.Now()
	case primacy.ReportOp:
		c.event("report", fmt.Sprintf("%%s told in %s ms that its WAL ends at %s", ms(time.Since(c.memo.since)), op.Report.Position), c.memo.took)
	case primacy.ReadyOp:
		c.event("ready", fmt.Sprintf("%%s was ready %s ms after it was chosen", ms(time.Since(c.memo.since))), c.memo.took)
	}
}

// took adds to the time that steps of this epoch took.
func (c *Controller) took(step string, began time.Time) {
	c.memo.took[step+"_ms"] = ms(time.Since(began))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// opName names an operation in the log.
func opName(op primacy.Op) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", op), "primacy.")
	return strings.ToLower(strings.TrimSuffix(name, "Op"))
}

// event tells the history about this server, which %s in the message stands for.
func (c *Controller) event(kind, message string, data map[string]string) {
	if c.cfg.OnEvent == nil {
		return
	}
	all := map[string]string{"epoch": fmt.Sprint(c.memo.state.Epoch), "server": c.cfg.ServerID}
	for k, v := range data {
		all[k] = v
	}
	c.cfg.OnEvent(Event{Type: kind, Message: strings.ReplaceAll(message, "%s", "server "+c.cfg.ServerID), Data: all})
}

// still reports an error if the state has moved on since the step was planned.
func (c *Controller) still(in *Inputs) error {
	now, _ := c.cfg.Raft.State()
	if now.Epoch != in.State.Epoch || now.Phase != in.State.Phase || now.Primary != in.State.Primary {
		return fmt.Errorf("the cluster has moved on to epoch %d: %w", now.Epoch, context.Canceled)
	}
	return nil
}

// whileEpoch is ctx until the state is of another epoch.
func (c *Controller) whileEpoch(ctx context.Context, in *Inputs) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	c.wg.Go(func() {
		for {
			now, changed := c.cfg.Raft.State()
			if now.Epoch != in.State.Epoch || now.Phase != in.State.Phase {
				cancel()
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	})
	return ctx, cancel
}

// configure writes a configuration and, where something runs, brings it into force.
func (c *Controller) configure(ctx context.Context, conf *Conf, running bool) error {
	c.memo.inForce = nil
	err := c.write(ctx, conf, running)
	if err != nil && c.distrust(conf, err) {
		err = c.write(ctx, conf, running)
	}
	if err == nil {
		c.memo.inForce = conf
	}
	return err
}

func (c *Controller) write(ctx context.Context, conf *Conf, running bool) error {
	changes, err := c.cfg.Postgres.Configure(ctx, c.settings(conf))
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	for _, change := range changes {
		c.logger.Info("configuration changed", "change", change)
	}
	if c.memo.state.Phase == primacy.PhasePromoting {
		c.memo.changes = append(c.memo.changes, changes...)
	}
	if !running || len(changes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	if err := c.cfg.Postgres.Reload(ctx); err != nil {
		return fmt.Errorf("reload configuration: %w", err)
	}
	return c.askRefused(ctx, conf)
}

func (c *Controller) settings(conf *Conf) Settings {
	if len(c.memo.bad) > 0 && !maps.Equal(c.memo.bad, conf.Wanted) {
		c.memo.bad, c.memo.badWhy = nil, ""
	}
	wanted := conf.Wanted
	if len(c.memo.bad) > 0 {
		wanted = nil
	}
	s := Settings{Cluster: wanted, SyncNames: conf.SyncNames, ReadOnly: conf.ReadOnly, Gated: conf.Gated}
	if conf.Follow != 0 {
		s.Conninfo, s.Slot = c.conninfo(conf.Source, conf.Name), conf.Source.Slot
	}
	return s
}

// conninfo reaches a primary and nothing else: at its address may be a standby by now, whose WAL is of another epoch.
func (c *Controller) conninfo(s Source, name string) string {
	return managed.Conninfo(managed.Target{
		Host: s.Host, Port: s.Port, Secret: c.memo.state.Secret, AppName: name, TLS: c.cfg.TLS,
	}) + " target_session_attrs=primary"
}

// launch starts PostgreSQL. One that takes long is left to go on.
func (c *Controller) launch(ctx context.Context, in *Inputs) error {
	if err := c.still(in); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ctx, cancelEpoch := c.whileEpoch(ctx, in)
	defer cancelEpoch()
	if err := c.mark(); err != nil {
		return err
	}
	err := c.cfg.Postgres.Start(ctx)
	if err != nil && ctx.Err() != nil && c.cfg.Postgres.PID() != 0 {
		return nil // it is on its way
	}
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	return nil
}

// stop stops PostgreSQL, which is no death.
func (c *Controller) stop(ctx context.Context, in *Inputs) error {
	c.memo.led, c.memo.died, c.memo.cut = false, false, nil
	began := time.Now()
	if err := c.cfg.Postgres.Stop(ctx); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	if in.Cut != nil && in.Live != nil && in.Live.InRecovery && !in.Live.Receiving {
		c.memo.ended = in.Cut
	}
	c.took("stop", began)
	return nil
}

func (c *Controller) doRenew() error {
	memory, err := newMemory()
	if err != nil {
		return err
	}
	fingerprint, err := c.cfg.Postgres.Fingerprint()
	if err != nil {
		fingerprint = "" // there is nothing
	}
	return c.amend(func(l *Local) {
		l.Memory = memory
		if l.Fingerprint != "" {
			l.Fingerprint = fingerprint
		}
	})
}

func (c *Controller) doBarrier(ctx context.Context, in *Inputs) error {
	if err := c.cfg.Postgres.SyncNamesInForce(ctx, in.InForce.SyncNames, in.State.Sync.Acks == 0); err != nil {
		return fmt.Errorf("wait until the stricter rule is in force: %w", err)
	}
	at, err := c.cfg.Postgres.FlushedLSN(ctx)
	if err != nil {
		return fmt.Errorf("find out what is to be confirmed: %w", err)
	}
	c.memo.barrier = &Barrier{Version: in.State.Next.Version, LSN: at}
	return nil
}

func (c *Controller) doHousekeep(ctx context.Context, in *Inputs) error {
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	wanted := c.slots()
	var err error
	if !in.Live.InRecovery {
		err = c.cfg.Postgres.EnsureRole(ctx, in.State.Secret)
	}
	settled := in.Since > settledAfter
	err = errors.Join(err, c.cfg.Postgres.EnsureSlots(ctx, strings.Fields(wanted)[1:], settled))
	c.memo.kept, c.memo.keptAt = wanted, time.Now()
	if err != nil {
		// It must not keep the server from anything else: it is tried again in a while.
		c.memo.kept = strings.Fields(wanted)[0]
		c.logger.Warn("roles and slots are not as they should be", "error", err)
	}
	return nil
}
