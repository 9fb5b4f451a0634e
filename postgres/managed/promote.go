package managed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres/wal"
)

// conflictPatience is how long a promotion waits for queries that keep the standby from replaying its last WAL, before
// it ends the sessions.
const conflictPatience = 50 * time.Millisecond

// Switch is the beginning of a timeline: the parent's WAL up to LSN is part of it.
type Switch struct {
	Timeline wal.Timeline
	Parent   wal.Timeline // 0: none, and LSN is 0
	LSN      wal.LSN
}

// Promote makes the standby a primary and returns where its timeline begins. It replays all that the standby has
// received, paused or not; a query that stands in the way loses its session. A server that is primary already is left
// as it is. A standby that receives WAL is not promoted: ErrNotCutOff.
func (s *Server) Promote(ctx context.Context) (Switch, error) {
	var tli wal.Timeline
	err := s.withKeptLong(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		_, err = readCutOff(ctx, conn)
		if err == nil {
			err = promote(ctx, conn, s.endConflicts)
		}
		if err != nil && !errors.Is(err, ErrNotStandby) {
			return err
		}
		tli, err = ownTimeline(ctx, conn)
		return err
	})
	if err != nil {
		return Switch{}, fmt.Errorf("promote PostgreSQL: %w", err)
	}
	return s.beginning(tli)
}

// promote returns ErrNotStandby at the end, as that is what it waits for.
func promote(ctx context.Context, conn *pgx.Conn, endConflicts func(context.Context, *pgx.Conn, Wait) error) error {
	// A promotion ends a pause, but the process that sleeps in it looks for one only each second.
	_, err := conn.Exec(ctx, "SELECT pg_wal_replay_resume() WHERE pg_is_wal_replay_paused()")
	if err == nil {
		// pg_promote(true) looks only every 100 ms whether it is done.
		_, err = conn.Exec(ctx, "SELECT pg_promote(false)")
	}
	if err != nil && !hasCode(err, "55000") { // under way already
		return err
	}
	asked := time.Now()
	return poll(ctx, "the promotion is done", func() (bool, error) {
		state, err := readStandby(ctx, conn)
		if err == nil && state.startup.conflict() && time.Since(asked) > conflictPatience {
			err = endConflicts(ctx, conn, state.startup)
			asked = time.Now()
		}
		return false, err
	})
}

func (s *Server) endConflicts(ctx context.Context, conn *pgx.Conn, wait Wait) error {
	n, err := terminate(ctx, conn, false)
	if err == nil && n > 0 {
		s.log.Warn("ended sessions: a query kept the standby from replaying its last WAL before its promotion",
			"sessions", n, "wait_event", wait.Event)
	}
	return err
}

// ownTimeline returns the timeline that a primary writes.
func ownTimeline(ctx context.Context, conn *pgx.Conn) (tli wal.Timeline, err error) {
	err = conn.QueryRow(ctx,
		"SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8").Scan(&tli)
	if err != nil {
		return 0, fmt.Errorf("read timeline: %w", err)
	}
	return tli, nil
}

// beginning reads from the data directory where timeline tli begins.
func (s *Server) beginning(tli wal.Timeline) (Switch, error) {
	if tli == 1 {
		return Switch{Timeline: tli}, nil
	}
	history, err := s.History(tli)
	if err != nil {
		return Switch{}, err
	}
	if len(history) == 0 {
		return Switch{}, fmt.Errorf("read history of timeline %d: it names no parent", tli)
	}
	last := history[len(history)-1]
	return Switch{Timeline: tli, Parent: last.Timeline, LSN: last.End}, nil
}

// Ended is a timeline in the history of another one, which left it at End.
type Ended struct {
	Timeline wal.Timeline
	End      wal.LSN
}

// History returns the timelines before tli, oldest first, from the data directory; none for timeline 1.
func (s *Server) History(tli wal.Timeline) ([]Ended, error) {
	if tli <= 1 {
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(s.cfg.DataDir, "pg_wal", fmt.Sprintf("%08X.history", tli)))
	if err != nil {
		return nil, fmt.Errorf("read history of timeline %d: %w", tli, err)
	}
	history, err := ParseHistory(string(text))
	if err != nil {
		return nil, fmt.Errorf("read history of timeline %d: %w", tli, err)
	}
	return history, nil
}

// ParseHistory reads PostgreSQL's timeline history file.
func ParseHistory(text string) ([]Ended, error) {
	var history []Ended
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("line %q has no position", strings.TrimSpace(line))
		}
		tli, err := parseTimeline(fields[0], 10)
		if err != nil {
			return nil, err
		}
		end, err := wal.ParseLSN(fields[1])
		if err != nil {
			return nil, err
		}
		if n := len(history); n > 0 && (history[n-1].Timeline >= tli || history[n-1].End > end) {
			return nil, fmt.Errorf("timeline %d at %s follows timeline %d at %s", tli, end, history[n-1].Timeline, history[n-1].End)
		}
		history = append(history, Ended{tli, end})
	}
	return history, nil
}

func parseTimeline(text string, base int) (wal.Timeline, error) {
	tli, err := strconv.ParseUint(text, base, 32)
	if err != nil || tli == 0 {
		return 0, fmt.Errorf("%q is no timeline", text)
	}
	return wal.Timeline(tli), nil
}

// withReceived adds what was received beyond the position that the replayed timeline reaches. It is on a later
// timeline, whose switch is not replayed yet and whose number the server does not tell: its files do.
func (s *Server) withReceived(f Fenced, received wal.LSN) (Fenced, error) {
	if received <= f.LSN {
		return f, nil
	}
	entries, err := os.ReadDir(filepath.Join(s.cfg.DataDir, "pg_wal"))
	if err != nil {
		return Fenced{}, fmt.Errorf("look for received WAL: %w", err)
	}
	var latest wal.Timeline
	for _, entry := range entries {
		if tli, ok := historyOf(entry.Name()); ok && tli > max(latest, f.ReplayTimeline) && s.follows(tli, f, received) {
			latest = tli
		}
	}
	if latest == 0 {
		return Fenced{}, &Problem{
			What: fmt.Sprintf("the standby received WAL up to %s and no timeline after %d has it", received, f.ReplayTimeline),
			Hint: "let replay go on (SELECT pg_wal_replay_resume()), or clone the server again",
		}
	}
	f.Timeline, f.LSN = latest, received
	return f, nil
}

// historyOf returns the timeline whose history file has that name.
func historyOf(name string) (wal.Timeline, bool) {
	number, ok := strings.CutSuffix(name, ".history")
	if !ok || len(number) != 8 {
		return 0, false
	}
	tli, err := parseTimeline(number, 16)
	return tli, err == nil
}

// follows reports whether timeline tli continues what f has replayed and has WAL on disk up to received.
func (s *Server) follows(tli wal.Timeline, f Fenced, received wal.LSN) bool {
	history, err := s.History(tli)
	if err != nil {
		return false
	}
	for _, ended := range history {
		if ended.Timeline == f.ReplayTimeline && ended.End >= f.Replayed && ended.End <= received {
			return s.hasSegment(tli, received)
		}
	}
	return false
}

// hasSegment reports whether a file of timeline tli holds the last byte before lsn, whatever the segments' size.
func (s *Server) hasSegment(tli wal.Timeline, lsn wal.LSN) bool {
	const smallest, largest = 1 << 20, 1 << 30
	for size := uint64(smallest); size <= largest; size *= 2 {
		segment, perID := uint64(lsn-1)/size, (1<<32)/size
		name := fmt.Sprintf("%08X%08X%08X", tli, segment/perID, segment%perID)
		info, err := os.Stat(filepath.Join(s.cfg.DataDir, "pg_wal", name))
		if err == nil && info.Size() == int64(size) {
			return true
		}
	}
	return false
}
