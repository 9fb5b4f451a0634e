package fsm

import (
	"context"
	"fmt"
)

// applierStep is what a session does next.
type applierStep int

const (
	stepIdle  applierStep = iota // nothing to do, or not known yet what
	stepApply                    // apply what the feed holds
	stepDiff                     // write the difference to the store
)

// applierView is what the decision for the next step rests on.
type applierView struct {
	server     position
	storeIndex uint64
	reaches    bool   // the feed continues from the server's index
	term       uint64 // of the store's entry at the server's index, 0 = not known
	pending    int    // changes in the feed above the server's index
	caught     bool   // the store has caught up with the leader
}

// planStep decides the next step. The server's rows are the state at its position; whether that is a place in the history
// that the store knows is what matters.
func planStep(v applierView) applierStep {
	switch {
	case !v.reaches:
		return stepDiff
	case v.server.index > v.storeIndex && v.caught:
		return stepDiff // ahead of everything that there is: the history was rewritten
	case v.server.index > v.storeIndex:
		return stepIdle // a restarted agent replays its log: PostgreSQL remembers more
	case v.term != 0 && v.term != v.server.term:
		return stepDiff
	case v.pending > 0:
		return stepApply
	}
	return stepIdle
}

// follow keeps the rows at the store's state until something fails.
func (s *applierSession) follow(ctx context.Context) error {
	for {
		next, changes := s.look()
		var err error
		switch next {
		case stepApply:
			err = s.apply(ctx, changes)
		case stepDiff:
			err = s.diff(ctx)
		case stepIdle:
			err = s.idle(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// look gathers what planStep needs. Caught is asked first: what the store has when it had caught up, it has now.
func (s *applierSession) look() (applierStep, []Change) {
	v := applierView{server: s.at, caught: s.cfg.Caught()}
	v.storeIndex = s.cfg.FSM.Store().Index()
	feed := s.cfg.FSM.Feed()
	changes, reaches := feed.Since(s.at.index, applierMaxRows)
	v.reaches, v.pending = reaches, len(changes)
	v.term = feed.termAt(s.at.index)
	return planStep(v), changes
}

// idle waits for something to do and makes sure that the server is still there and its rows where we left them.
func (s *applierSession) idle(ctx context.Context) error {
	s.status.success()
	if err := s.waitChange(ctx, max(s.at.index, s.cfg.FSM.Store().Index())); err != nil {
		return err
	}
	if _, pending := s.look(); len(pending) > 0 {
		return nil // the guard in the transaction checks better
	}
	m, err := readMeta(ctx, s.conn)
	if err != nil {
		return err
	}
	if m.at != s.at || m.cluster != s.cluster || s.cfg.FSM.Store().ClusterID() != s.cluster {
		return fmt.Errorf("pgraft.meta says index %d of cluster %q where %d was written: somebody else writes to the database",
			m.at.index, m.cluster, s.at.index)
	}
	return nil
}

// apply writes changes, which continue from s.at, in one transaction: a pipeline with one Sync is one.
func (s *applierSession) apply(ctx context.Context, changes []Change) error {
	changes = limitBytes(changes, applierMaxBytes)
	last := changes[len(changes)-1]
	to := position{last.Index, last.Term}
	rows := coalesce(changes)
	if err := s.send(ctx, writeRows(rows).guard(s.at, to, s.cluster)); err != nil {
		return fmt.Errorf("apply entries %d to %d: %w", changes[0].Index, to.index, err)
	}
	s.at = to
	s.reached(to)
	s.status.change(func(c *ApplierStatus) {
		c.Entries += uint64(len(changes))
		c.Rows += uint64(len(rows))
		c.Batches++
	})
	s.status.success()
	return nil
}

func (s *applierSession) send(ctx context.Context, w *rowWriter) error {
	ctx, cancel := context.WithTimeout(ctx, applierStepTimeout)
	defer cancel()
	return s.conn.SendBatch(ctx, w.batch()).Close()
}

// limitBytes returns the first changes that hold limit bytes or less, and at least one.
func limitBytes(changes []Change, limit int) []Change {
	size := 0
	for i, c := range changes {
		for _, r := range c.Rows {
			size += r.size()
		}
		if size > limit && i > 0 {
			return changes[:i]
		}
	}
	return changes
}

// coalesce returns the last row of each key. Rows of different keys don't depend on each other's order.
func coalesce(changes []Change) []Row {
	type id struct {
		table Table
		key   string
	}
	place := map[id]int{}
	var rows []Row
	for _, c := range changes {
		for _, r := range c.Rows {
			if i, ok := place[id{r.Table, r.Key}]; ok {
				rows[i] = r
				continue
			}
			place[id{r.Table, r.Key}] = len(rows)
			rows = append(rows, r)
		}
	}
	return rows
}
