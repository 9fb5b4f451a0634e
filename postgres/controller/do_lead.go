package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// doInit makes the cluster's first data. Cut short, it is done again from the beginning.
func (c *Controller) doInit(ctx context.Context, in *Inputs) error {
	err := c.amend(func(l *Local) { l.Work = &Work{Kind: WorkInit, Epoch: in.State.Epoch} })
	if err != nil {
		return err
	}
	if err := c.cfg.Postgres.Wipe(ctx); err != nil {
		return fmt.Errorf("empty data directory of an initdb that was cut short: %w", err)
	}
	if err := c.cfg.Postgres.InitDB(ctx); err != nil {
		return fmt.Errorf("make data: %w", err)
	}
	files, err := c.cfg.Postgres.Inspect(ctx)
	if err != nil {
		return err
	}
	return c.own(in, files.Timeline)
}

// doAdopt makes what is here the cluster's first data.
func (c *Controller) doAdopt(in *Inputs) error { return c.own(in, in.Files.Timeline) }

// own notes that the data here is the cluster's.
func (c *Controller) own(in *Inputs, timeline wal.Timeline) error {
	fingerprint, err := c.cfg.Postgres.Fingerprint()
	if err != nil {
		return err
	}
	return c.amend(func(l *Local) {
		l.Work, l.Fingerprint, l.Following = nil, fingerprint, in.State.Epoch
		l.Timelines = map[wal.Timeline]uint64{timeline: in.State.Epoch}
	})
}

// doReady tells that the first primary runs.
func (c *Controller) doReady(ctx context.Context, in *Inputs) error {
	timeline := in.Live.Timeline
	if err := c.own(in, timeline); err != nil {
		return err
	}
	if err := c.cfg.Postgres.EnsureRole(ctx, in.State.Secret); err != nil {
		return fmt.Errorf("make replication role: %w", err)
	}
	if err := c.cfg.Postgres.EnsureSlots(ctx, strings.Fields(c.slots())[1:], false); err != nil {
		return fmt.Errorf("make replication slots: %w", err)
	}
	if in.State.Found == primacy.FoundAdopt {
		c.event("found", "%s keeps its data and settings, but for what pgraft needs", map[string]string{"changes": strings.Join(c.memo.changes, "; ")})
	}
	op := primacy.ReadyOp{
		Epoch: in.State.Epoch, ServerID: in.Self, SystemID: in.Files.SystemID, Major: in.Files.Major, Timeline: timeline,
	}
	return c.propose(ctx, in, Step{Op: op})
}

// doStartPrimary starts a primary of an epoch that is its own already. Where others acknowledge its commits, clients
// wait until those have confirmed what it holds: that this is due is on disk before it runs.
func (c *Controller) doStartPrimary(ctx context.Context, in *Inputs, step Step) error {
	if err := c.still(in); err != nil {
		return err
	}
	if step.Conf.Gated {
		if err := c.amend(func(l *Local) { l.Unconfirmed = true }); err != nil {
			return err
		}
	}
	if err := c.cfg.Postgres.Standby(false); err != nil {
		return err
	}
	if err := c.configure(ctx, step.Conf, false); err != nil {
		return err
	}
	c.memo.died = false
	return c.start(ctx, in, step.Conf)
}

// doPromote promotes a standby that is cut off, and tells when it is ready. Every part of it may have been done before.
func (c *Controller) doPromote(ctx context.Context, in *Inputs, step Step) error {
	began := time.Now()
	if err := c.still(in); err != nil {
		return err
	}
	if err := c.amend(func(l *Local) { l.Promoting, l.Spoiled = in.State.Epoch, "" }); err != nil {
		return err
	}
	// Before the first commit, so that none is acknowledged by a weaker rule.
	if err := c.configure(ctx, step.Conf, true); err != nil {
		return err
	}
	began = c.lap("configure", began)
	pctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	timeline, at, err := c.cfg.Postgres.Promote(pctx)
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	began = c.lap("promote", began)
	if err := c.amend(func(l *Local) { l.setTimeline(timeline, in.State.Epoch) }); err != nil {
		return err
	}
	history, err := c.cfg.Postgres.History(timeline)
	if err != nil {
		return err
	}
	if err := c.slotsForFollowers(ctx); err != nil {
		return err
	}
	c.lap("slots", began)
	c.memo.keptAt = time.Now() // the rest of it can wait for the first commits
	c.wg.Go(func() { c.checkpoint(ctx) })
	op := primacy.ReadyOp{
		Epoch: in.State.Epoch, ServerID: in.Self, SystemID: in.Files.SystemID, Major: in.Files.Major,
		Timeline: timeline, Switch: at, Unready: unready(in, c.memo.local.Timelines, history),
	}
	return c.propose(ctx, in, Step{Op: op})
}

// slotsForFollowers makes the slots that the others ask for as soon as they hear of the promotion, unless it was done
// while this was a standby.
func (c *Controller) slotsForFollowers(ctx context.Context) error {
	names := strings.Fields(c.slots())[1:]
	if kept := strings.Fields(c.memo.kept); len(kept) > 0 && slices.Equal(kept[1:], names) {
		return nil
	}
	if err := c.cfg.Postgres.EnsureSlots(ctx, names, false); err != nil {
		return fmt.Errorf("make replication slots: %w", err)
	}
	return nil
}

// lap adds a step's time to this epoch's and returns when the next one begins.
func (c *Controller) lap(step string, began time.Time) time.Time {
	c.took(step, began)
	return time.Now()
}

// checkpointAfter is how long after a promotion its checkpoint is written, so that it does not hold the first commits up:
// all of them need the same disk. A copy that must be rewound waits longer, see restFor.
const checkpointAfter = restFor / 2

// checkpoint makes pg_rewind see a promotion: before version 16 it looks at the latest checkpoint's timeline.
func (c *Controller) checkpoint(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(checkpointAfter):
	}
	if err := c.cfg.Postgres.Checkpoint(ctx); err != nil {
		c.logger.Warn("no checkpoint after promotion: rewinds must wait for the next one", "error", err)
	}
}

// unready are the epochs in this copy's history that the cluster does not know of: those of primaries that were promoted
// here and never got ready.
func unready(in *Inputs, epochs map[wal.Timeline]uint64, history []managed.Ended) []primacy.Branch {
	var branches []primacy.Branch
	for i := 1; i < len(history); i++ {
		before, this := history[i-1], history[i]
		epoch, parent := epochs[this.Timeline], epochs[before.Timeline]
		known := slices.ContainsFunc(in.State.Lineage, func(b primacy.Branch) bool { return b.Epoch == epoch })
		if epoch != 0 && epoch < in.State.Epoch && parent != 0 && parent < epoch && !known {
			branches = append(branches, primacy.Branch{
				Epoch: epoch, Parent: parent, ServerID: in.Self, Timeline: this.Timeline, Switch: before.End,
			})
		}
	}
	return branches
}

// doConfigure brings a configuration into force. What it allows is on disk before, what it forbids is carried through.
func (c *Controller) doConfigure(ctx context.Context, in *Inputs, step Step) error {
	before, conf := c.memo.inForce, step.Conf
	if c.memo.local.Unconfirmed && !conf.Gated && in.Live != nil && !in.Live.InRecovery {
		if err := c.amend(func(l *Local) { l.Unconfirmed = false }); err != nil {
			return err
		}
		c.event("writable", "%s lets clients in again: its WAL is confirmed", nil)
	}
	if err := c.configure(ctx, conf, true); err != nil {
		return err
	}
	switch {
	case conf.ReadOnly && (before == nil || !before.ReadOnly):
		c.event("read-only", "%s is read-only: "+step.Why, nil)
		return c.cfg.Postgres.TerminateClients(ctx, false)
	case !conf.ReadOnly && before != nil && before.ReadOnly:
		c.event("writable", "%s is writable again", nil)
	}
	return nil
}

// doHandOver stops the primary in order. With the checkpoint before, the one at the end is short.
func (c *Controller) doHandOver(ctx context.Context, in *Inputs) error {
	cctx, cancel := c.whileEpoch(ctx, in)
	defer cancel()
	if err := c.clean(cctx); err != nil {
		return err
	}
	if err := c.still(in); err != nil {
		return err
	}
	if now, _ := c.cfg.Raft.State(); now.Handover != in.State.Handover {
		return nil // it was withdrawn
	}
	if err := c.stop(ctx, in); err != nil {
		return err
	}
	c.event("handover", "%s has stopped, so that server "+in.State.Handover+" can take over", c.memo.took)
	return nil
}

// A checkpoint that takes this long has let much become dirty again meanwhile, so that another one follows, for so many.
const (
	longCheckpoint = 100 * time.Millisecond
	maxCheckpoints = 3
	// cleanTime bounds when another one begins: a switchover is given up when it takes too long.
	cleanTime = 2 * time.Second
)

// clean leaves little to write to the checkpoint at the end of a stop, in which nobody can commit.
func (c *Controller) clean(ctx context.Context) error {
	all := time.Now()
	for range maxCheckpoints {
		began := time.Now()
		if err := c.cfg.Postgres.Checkpoint(ctx); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		if time.Since(began) < longCheckpoint || time.Since(all) > cleanTime {
			break
		}
	}
	c.took("checkpoint", all)
	return nil
}

// doRestart stops PostgreSQL; the plan starts it again. It is asked for once.
func (c *Controller) doRestart(ctx context.Context, in *Inputs) error {
	if !in.Live.InRecovery {
		if err := c.clean(ctx); err != nil {
			return err
		}
	}
	if err := c.stop(ctx, in); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked.Restart = false
	return nil
}
