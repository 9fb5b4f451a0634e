package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// doStartStandby starts a standby. One that led shows nothing to clients until it follows.
func (c *Controller) doStartStandby(ctx context.Context, in *Inputs, step Step) error {
	if step.Conf.Gated && !c.memo.local.Unconfirmed {
		if err := c.amend(func(l *Local) { l.Unconfirmed = true }); err != nil {
			return err
		}
	}
	if err := c.cfg.Postgres.Standby(true); err != nil {
		return err
	}
	if err := c.configure(ctx, step.Conf, false); err != nil {
		return err
	}
	began := time.Now()
	err := c.start(ctx, in, step.Conf)
	c.took("start", began)
	return err
}

// doCutOff ends the stream, for good, and finds out how far the copy reaches.
func (c *Controller) doCutOff(ctx context.Context, in *Inputs) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	c.memo.inForce = nil
	conf := in.cutConf()
	err := c.cfg.Postgres.CutOff(ctx, c.settings(conf))
	if err != nil && c.distrust(conf, err) {
		err = c.cfg.Postgres.CutOff(ctx, c.settings(conf))
	}
	if err != nil {
		return fmt.Errorf("cut off: %w", err)
	}
	began = c.lap("cut", began)
	cut, err := c.cfg.Postgres.Position(ctx)
	if err != nil {
		return fmt.Errorf("find position: %w", err)
	}
	c.lap("position", began)
	c.memo.cut = &cut
	return nil
}

// doFollow makes a standby stream from the primary. That it does is on disk before the first byte comes.
func (c *Controller) doFollow(ctx context.Context, in *Inputs, step Step) error {
	if err := c.still(in); err != nil {
		return err
	}
	fingerprint, err := c.cfg.Postgres.Fingerprint()
	if err != nil {
		return err
	}
	cut := *in.Cut
	err = c.amend(func(l *Local) {
		l.setTimeline(cut.Timeline, step.Verdict.Epoch)
		l.Following, l.Promoting, l.Unconfirmed, l.Fingerprint = in.State.Epoch, 0, false, fingerprint
		l.reached(primacy.Position{Epoch: step.Verdict.Epoch, LSN: cut.Boundary})
	})
	if err != nil {
		return err
	}
	began := time.Now()
	c.memo.cut, c.memo.streamed, c.memo.repointed = nil, began, began.Add(-in.Since)
	err = c.configure(ctx, step.Conf, true)
	c.took("repoint", began)
	return err
}

// begin notes that the copy is about to be destroyed and another made in its place.
func (c *Controller) begin(in *Inputs, kind WorkKind, why string) error {
	local := c.memo.local.clone()
	if local.Work == nil || local.Work.Kind != kind {
		if err := local.renew(); err != nil {
			return err
		}
	}
	c.memo.seen = 0
	local.Following = in.State.Epoch
	local.Work = &Work{Kind: kind, Epoch: in.State.Epoch, Why: why}
	return c.save(local)
}

// copied notes that the files are those of the primary.
func (c *Controller) copied(ctx context.Context, in *Inputs) error {
	files, err := c.cfg.Postgres.Inspect(ctx)
	if err != nil {
		return err
	}
	chain := primacy.Chain(in.State.Lineage, in.State.Epoch)
	if files.SystemID != in.State.SystemID || len(chain) == 0 {
		return fmt.Errorf("the copy has system identifier %s and the cluster %s", files.SystemID, in.State.SystemID)
	}
	fingerprint, err := c.cfg.Postgres.Fingerprint()
	if err != nil {
		return err
	}
	return c.amend(func(l *Local) {
		l.Timelines = make(map[wal.Timeline]uint64, len(chain))
		for _, b := range chain {
			l.Timelines[b.Timeline] = b.Epoch
		}
		l.Fingerprint, l.Work.Copied = fingerprint, true
	})
}

// doClone copies the primary's data. What was here is gone then; the plan has made sure that nobody counts on it.
func (c *Controller) doClone(ctx context.Context, in *Inputs, step Step) error {
	if err := c.still(in); err != nil {
		return err
	}
	ctx, cancel := c.whileEpoch(ctx, in)
	defer cancel()
	if err := c.sourceReady(ctx, in, false); err != nil {
		return err
	}
	c.discarded(ctx, in, step)
	if c.memo.failures == 0 {
		c.event("clone", "%s copies the primary's data: "+step.Why, nil)
	}
	if err := c.begin(in, WorkClone, step.Why); err != nil {
		return err
	}
	c.answered()
	if err := c.cfg.Postgres.Wipe(ctx); err != nil {
		return fmt.Errorf("empty data directory: %w", err)
	}
	began := time.Now()
	if err := c.cfg.Postgres.Clone(ctx, c.conninfo(*in.Source, ""), in.Source.Slot, c.progress); err != nil {
		return fmt.Errorf("copy the primary's data: %w", err)
	}
	c.took("clone", began)
	return c.copied(ctx, in)
}

// answered drops the request for what is done now.
func (c *Controller) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = Asked{}
}

// progress shows how much of a clone is done.
func (c *Controller) progress(done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Done, c.status.Total = done, total
}

// doRewind takes the copy back to where it left the primary's history. Failing that, it is cloned.
func (c *Controller) doRewind(ctx context.Context, in *Inputs, step Step) error {
	if err := c.still(in); err != nil {
		return err
	}
	if err := c.sourceReady(ctx, in, true); err != nil {
		return err
	}
	c.discarded(ctx, in, step)
	c.event("rewind", "%s is rewound: "+step.Why, nil)
	if err := c.begin(in, WorkRewind, ""); err != nil {
		return err
	}
	began := time.Now()
	if err := c.cfg.Postgres.Rewind(ctx, c.conninfo(*in.Source, "")); err != nil {
		c.logger.Warn("rewind failed: cloning instead", "error", err)
		why := fmt.Sprintf("it could not be rewound: %v", err)
		return c.amend(func(l *Local) { l.Work.Why = why })
	}
	c.took("rewind", began)
	return c.copied(ctx, in)
}

// discarded tells the history which WAL goes. It was never acknowledged.
func (c *Controller) discarded(ctx context.Context, in *Inputs, step Step) {
	v := step.Verdict
	if v == nil || v.From == 0 {
		return
	}
	timeline := in.Files.Timeline
	to := max(v.From, in.Local.Position.LSN, in.Local.Seen.LSN, in.Files.Checkpoint, c.memo.seen, c.walEnd(ctx, timeline, v.From))
	c.event("discarded", fmt.Sprintf("%%s throws away WAL from %s to at least %s of timeline %d, which was never acknowledged", v.From, to, timeline),
		map[string]string{"from": v.From.String(), "to": to.String(), "timeline": fmt.Sprint(timeline)})
}

// walEnd looks for what nobody saw, as when the agent died with its PostgreSQL. Nothing depends on it.
func (c *Controller) walEnd(ctx context.Context, timeline wal.Timeline, from wal.LSN) wal.LSN {
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	end, err := c.cfg.Postgres.WALEnd(ctx, timeline, from)
	if err != nil {
		c.logger.Warn("how much WAL is thrown away is not known for sure", "error", err)
	}
	return end
}

// doSettle notes that a copied server has become consistent: from here on it is a standby like any other.
func (c *Controller) doSettle(in *Inputs) error {
	kind := in.Local.Work.Kind
	if err := c.amend(func(l *Local) { l.Work = nil }); err != nil {
		return err
	}
	c.memo.streamed = time.Now()
	c.event(string(kind), fmt.Sprintf("%%s is a standby again (%s done)", kind), c.memo.took)
	return nil
}
