package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// How often the primary is asked what has become of a stream that does not come, and after how long.
const (
	goneAfter = 3 * time.Second
	goneEvery = 5 * time.Second
	goneTime  = 2 * time.Second
	// lostAfter is how long a standby may get nothing from a primary that answers, keeps its slot and has its WAL.
	lostAfter = 60 * time.Second
)

// goneCheck is the latest question to the primary.
type goneCheck struct {
	epoch   uint64
	at      time.Time
	running bool
	why     string
}

// goneWhy says why the primary can't give what a standby here needs, "" if that is not known. It never waits.
func (c *Controller) goneWhy(ctx context.Context, in *Inputs, now time.Time) string {
	m := &c.memo
	following := in.State.Phase == primacy.PhaseReady && in.Local.Following == in.State.Epoch && in.Source != nil && in.Running
	if !following || in.Live != nil && in.Live.Streaming {
		m.streamed = now
		c.mu.Lock()
		defer c.mu.Unlock()
		c.gone.why = ""
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.epoch != in.State.Epoch {
		c.gone.why = ""
	}
	if !c.gone.running && now.Sub(m.streamed) > goneAfter && now.Sub(c.gone.at) > goneEvery {
		c.gone.running, c.gone.at, c.gone.epoch = true, now, in.State.Epoch
		waited, conninfo, slot := now.Sub(m.streamed), c.conninfo(*in.Source, ""), in.Source.Slot
		timeline, at := m.needed(in)
		c.wg.Go(func() { c.askGone(ctx, conninfo, slot, timeline, at, waited) })
	}
	return c.gone.why
}

// needed is the WAL that a standby here asks for next, 0 if that is not known.
func (m *memo) needed(in *Inputs) (wal.Timeline, wal.LSN) {
	if in.Live == nil {
		return 0, 0
	}
	return in.Live.Timeline, in.Live.LSN
}

func (c *Controller) askGone(ctx context.Context, conninfo, slot string, timeline wal.Timeline, at wal.LSN, waited time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	why, err := askPrimary(ctx, conninfo, slot, timeline, at)
	if err != nil {
		c.logger.Debug("primary does not say why it sends nothing", "error", err)
	} else if why == "" && waited > lostAfter {
		why = fmt.Sprintf("the primary answers and has sent nothing for %s", waited.Round(time.Second))
	}
	c.mu.Lock()
	c.gone.running, c.gone.why = false, why
	c.mu.Unlock()
	c.Wake()
}

// askPrimary asks the primary whether it still has the WAL that a standby needs. The history of a timeline begins with
// the segment in which it was begun, so that the segment may carry the name of an older one.
func askPrimary(ctx context.Context, conninfo, slot string, timeline wal.Timeline, at wal.LSN) (string, error) {
	conn, err := dialPrimary(ctx, conninfo)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing was changed
	var lost bool
	err = conn.QueryRow(ctx, `SELECT coalesce(bool_or(wal_status = 'lost'), false) FROM pg_replication_slots WHERE slot_name = $1`, slot).Scan(&lost)
	if err != nil {
		return "", err
	}
	if lost {
		return "the primary has thrown away the WAL that its slot was to keep", nil
	}
	if timeline == 0 || at == 0 {
		return "", nil
	}
	var segment int64
	if err := conn.QueryRow(ctx, `SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'`).Scan(&segment); err != nil || segment <= 0 {
		return "", fmt.Errorf("read wal_segment_size: %w", err)
	}
	number := uint64(at) / uint64(segment)
	perID := uint64(1<<32) / uint64(segment)
	suffix := fmt.Sprintf("%08X%08X", number/perID, number%perID)
	var there bool
	err = conn.QueryRow(ctx, `SELECT count(*) > 0 FROM pg_ls_dir('pg_wal', true, false) f WHERE length(f) = 24 AND right(f, 16) = $1`, suffix).Scan(&there)
	if err != nil {
		return "", err
	}
	if !there {
		return fmt.Sprintf("the primary has no WAL from %s any more", at), nil
	}
	return "", nil
}

// sourceReady makes sure that the primary is there before anything is destroyed for a copy of it. For a rewind it must
// have written a checkpoint in its epoch: before version 16, pg_rewind takes the timeline from there, and finds nothing
// to do with that of the epoch before.
func (c *Controller) sourceReady(ctx context.Context, in *Inputs, rewind bool) error {
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	chain := primacy.Chain(in.State.Lineage, in.State.Epoch)
	if len(chain) == 0 {
		return errors.New("the primary's epoch has no place in the lineage")
	}
	conn, err := dialPrimary(ctx, c.conninfo(*in.Source, ""))
	if err != nil {
		return fmt.Errorf("reach the primary: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }() // nothing was changed
	var timeline wal.Timeline
	if err := conn.QueryRow(ctx, `SELECT timeline_id FROM pg_control_checkpoint()`).Scan(&timeline); err != nil {
		return fmt.Errorf("ask the primary for its timeline: %w", err)
	}
	if want := chain[len(chain)-1].Timeline; rewind && timeline != want {
		return fmt.Errorf("the primary's latest checkpoint is of timeline %d, and it must be of %d", timeline, want)
	}
	return nil
}

// dialPrimary logs in with libpq's form of an address, of which pgx would take some words for the server's settings.
func dialPrimary(ctx context.Context, conninfo string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(conninfo)
	if err != nil {
		return nil, errors.New("read the primary's address: it is malformed") // the parser's error may show the password
	}
	for name := range cfg.RuntimeParams {
		if name != "application_name" {
			delete(cfg.RuntimeParams, name)
		}
	}
	return pgx.ConnectConfig(ctx, cfg)
}
