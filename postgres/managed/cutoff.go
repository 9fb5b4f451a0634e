package managed

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres/wal"
)

// cutOffAgain is how long after the first look the second one for a receiver is taken.
const cutOffAgain = 2 * time.Millisecond

// CutOff ends the standby's reception of WAL, for good: settings are written without a primary, and when it returns
// nil no process receives and none will be started until the files say otherwise. A stopped server's files are
// written too, and the error is postgres.ErrNotRunning. With any error the standby may still acknowledge commits.
//
// The configuration alone does not do it: the startup process, which ends the receiver for a changed primary_conninfo,
// may be held up, by a paused replay or by a query that conflicts with it, and the receiver then goes on to
// acknowledge. So the receiver is ended by a signal. It must not be started again either, with an address that the
// startup process had read before. Therefore that process has to be seen, after it was told to read the configuration,
// at a point from which it reads it before it asks for a receiver; and then a session is opened, which the postmaster
// does after it has done what it was asked before.
func (s *Server) CutOff(ctx context.Context, settings Settings) error {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	settings.PrimaryConninfo, settings.PrimarySlot = "", ""
	if _, err := s.WriteConfig(ctx, settings); err != nil {
		return fmt.Errorf("cut the standby off: %w", err)
	}
	if err := s.cutOff(ctx); err != nil {
		return fmt.Errorf("cut the standby off: %w", err)
	}
	return nil
}

func (s *Server) cutOff(ctx context.Context) error {
	conn, err := s.reloadAs(ctx, "primary_conninfo", "")
	if err != nil {
		return err
	}
	err = awaitCutOff(ctx, conn, &startupWatch{})
	hangUp(conn)
	if err != nil {
		return err
	}
	return s.withNew(ctx, func(conn *pgx.Conn) error {
		settled := &startupWatch{settled: true}
		if err := awaitCutOff(ctx, conn, settled); err != nil {
			return err
		}
		select {
		case <-time.After(cutOffAgain):
		case <-ctx.Done():
		}
		return awaitCutOff(ctx, conn, settled)
	})
}

// awaitCutOff ends each receiver that it sees, until there is none and the startup process has settled.
func awaitCutOff(ctx context.Context, conn *pgx.Conn, watch *startupWatch) error {
	ended := map[int]bool{}
	return poll(ctx, "the receiver is gone", func() (bool, error) {
		state, err := readStandby(ctx, conn)
		if err != nil {
			return false, err
		}
		for _, pid := range state.receivers {
			if ended[pid] {
				continue
			}
			// pg_terminate_backend does not end this kind of process.
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return false, fmt.Errorf("end the receiver, process %d: %w", pid, err)
			}
			ended[pid] = true
		}
		return watch.look(state) && len(state.receivers) == 0, nil
	})
}

// startupWatch finds out whether the startup process, told to read its configuration before the first look, does so
// before it next asks for a receiver. It reads it after each record, and in each round of waiting. So it settled when
// it was seen waiting, or when it has finished one record and then another.
type startupWatch struct {
	settled  bool
	looked   bool
	replayed wal.LSN
	moves    int
}

func (w *startupWatch) look(state standbyState) bool {
	if w.looked && state.replayed != w.replayed {
		w.moves++
	}
	w.looked, w.replayed = true, state.replayed
	w.settled = w.settled || state.startup.Event != "" || w.moves >= 2
	return w.settled
}

// standbyState is what cutting off and promoting look at again and again.
type standbyState struct {
	inRecovery         bool
	received, replayed wal.LSN
	startup            Wait
	receivers          []int
}

const standbySQL = `SELECT pg_is_in_recovery(), coalesce(pg_last_wal_receive_lsn(), '0/0'),
	coalesce(pg_last_wal_replay_lsn(), '0/0'),
	coalesce(max(a.wait_event_type) FILTER (WHERE a.backend_type = 'startup'), ''),
	coalesce(max(a.wait_event) FILTER (WHERE a.backend_type = 'startup'), ''),
	coalesce(array_agg(a.pid) FILTER (WHERE a.backend_type = 'walreceiver'), '{}')
	FROM pg_stat_get_activity(NULL) a`

// readStandby returns ErrNotStandby for a primary.
func readStandby(ctx context.Context, conn *pgx.Conn) (standbyState, error) {
	var st standbyState
	err := conn.QueryRow(ctx, standbySQL).Scan(&st.inRecovery, &st.received, &st.replayed, &st.startup.Type,
		&st.startup.Event, &st.receivers)
	if err != nil {
		return st, fmt.Errorf("read the standby's state: %w", err)
	}
	if !st.inRecovery {
		return st, ErrNotStandby
	}
	return st, nil
}

// Fenced is how far the WAL of a standby reaches that was cut off.
type Fenced struct {
	// Timeline and LSN are the end of what it has on disk, and so of what it ever acknowledged. The last record may be
	// incomplete.
	Timeline wal.Timeline
	LSN      wal.LSN
	// Replayed is the end of the last record that was replayed, on ReplayTimeline. Once it has replayed all, LSN beyond
	// it is part of a record at most: no difference from another server's history.
	Replayed       wal.LSN
	ReplayTimeline wal.Timeline
}

// FencedPosition tells how far the WAL of a standby reaches that was cut off. It returns ErrNotCutOff when something
// is received all the same.
//
// PostgreSQL forgets on a restart what it had received, and then tells of a segment's beginning. But it asks for WAL
// only after it has replayed all that it has. So the further of the received and the replayed position is the end if
// WAL was asked for since the start, and else once the startup process has found no more. Replay that an operator or a
// query holds up is waited for in the second case only; for an operator it is a *Problem.
func (s *Server) FencedPosition(ctx context.Context) (Fenced, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	var before, after standbyState
	var fenced Fenced
	err := s.withKept(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		if before, err = awaitPosition(ctx, conn); err != nil {
			return err
		}
		if fenced.ReplayTimeline, fenced.LSN, err = s.identify(ctx); err != nil {
			return err
		}
		after, err = readCutOff(ctx, conn)
		return err
	})
	if err == nil && after.received != before.received {
		err = ErrNotCutOff // one came and went meanwhile
	}
	if err != nil {
		return Fenced{}, fmt.Errorf("find the fenced standby's position: %w", err)
	}
	fenced.Timeline, fenced.Replayed = fenced.ReplayTimeline, before.replayed
	return s.withReceived(fenced, after.received)
}

// readCutOff is readStandby for one that must not receive.
func readCutOff(ctx context.Context, conn *pgx.Conn) (standbyState, error) {
	state, err := readStandby(ctx, conn)
	if err == nil && len(state.receivers) > 0 {
		err = ErrNotCutOff
	}
	return state, err
}

// awaitPosition waits until received and replayed position together are the end of the WAL.
func awaitPosition(ctx context.Context, conn *pgx.Conn) (state standbyState, err error) {
	err = poll(ctx, "the standby has replayed all that it has", func() (bool, error) {
		if state, err = readCutOff(ctx, conn); err != nil {
			return false, err
		}
		if state.startup.Event == "RecoveryPause" && state.received == 0 {
			return false, &Problem{
				What: "replay was paused by an operator before the standby knew how far its WAL reaches",
				Hint: "run SELECT pg_wal_replay_resume() on it",
			}
		}
		return state.received != 0 || state.startup.Event == waitsForWAL, nil
	})
	return state, err
}

// identify asks for the replayed timeline, which only the replication protocol tells, and the further one of the
// position replayed and the one received on that timeline.
func (s *Server) identify(ctx context.Context) (tli wal.Timeline, lsn wal.LSN, err error) {
	conn, err := s.dialWith(ctx, "database")
	if err != nil {
		return 0, 0, err
	}
	defer hangUp(conn)
	results, err := conn.PgConn().Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return 0, 0, fmt.Errorf("identify system: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 3 {
		return 0, 0, errors.New("identify system: unexpected answer")
	}
	row := results[0].Rows[0]
	if lsn, err = wal.ParseLSN(string(row[2])); err != nil {
		return 0, 0, fmt.Errorf("identify system: %w", err)
	}
	if tli, err = parseTimeline(string(row[1]), 10); err != nil {
		return 0, 0, fmt.Errorf("identify system: %w", err)
	}
	return tli, lsn, nil
}
