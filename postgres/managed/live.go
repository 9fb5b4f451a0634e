package managed

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres/wal"
)

// Live is what a running server says of itself at one moment.
type Live struct {
	Version    int // server_version_num, 150018
	InRecovery bool
	// Timeline is a primary's own. A standby's is the one that it receives, or else the last one that it noted on
	// disk, which can be behind: FencedPosition tells exactly.
	Timeline wal.Timeline

	// Of a primary. Flushed is durable here.
	Inserted, Flushed wal.LSN
	// Of a standby. Received counts for the postmaster's life only and can be below Replayed after a restart: see
	// Reach. It is 0 until WAL was asked for.
	Received, Replayed wal.LSN
	ReplayPaused       bool      // an operator paused replay, or asked for it
	ReplayedAt         time.Time // when the last replayed transaction committed on the primary; zero: none was
	Startup            Wait      // what the process that replays waits for
	Receiver           *Receiver // nil: the standby receives from nobody

	ReadOnly        bool // default_transaction_read_only
	SyncNames       string
	PrimaryConninfo string // it may hold a secret, if not of our writing
	PrimarySlot     string
	LoadedAt        time.Time // when the configuration was read
	PendingRestart  []Pending // settings that the files have changed and that wait for a restart

	Standbys []Standby // who receives from this server
}

// Pending is a setting that waits for a restart: what it is, and what it will be.
type Pending struct{ Name, Now, Wanted string }

// Wait is what a process of the server waits for, in PostgreSQL's words. Both are empty for one that works.
type Wait struct{ Type, Event string }

// waitsForWAL is the startup process's wait after it has found no more WAL anywhere.
const waitsForWAL = "RecoveryRetrieveRetryInterval"

// conflict reports whether the startup process waits for a query on the standby to end.
func (w Wait) conflict() bool {
	switch w.Event {
	case "RecoveryConflictSnapshot", "RecoveryConflictTablespace":
		return true
	}
	return w.Type == "Lock" || w.Type == "BufferPin"
}

// Reach is how far a standby's WAL reaches, as far as the server tells: the received position starts from a segment's
// beginning after a restart, and the replayed one can lag behind it.
func (l *Live) Reach() wal.LSN { return max(l.Received, l.Replayed) }

// Receiver is the process that receives WAL.
type Receiver struct {
	PID         int
	Status      string       // streaming, waiting …; "" while it connects
	Timeline    wal.Timeline // being received
	Flushed     wal.LSN
	LastMessage time.Time // from the sender; zero: none yet
	Host        string
	Port        int
	Slot        string
}

// Standby is a connection that WAL is sent to.
type Standby struct {
	PID                            int
	Name                           string // application_name, see StandbyName
	Address                        string // "" for a Unix socket
	State                          string // startup, catchup, streaming, backup
	SyncState                      string // quorum, sync, potential, async
	Sent, Written, Flushed, Replay wal.LSN
	ReplayLag                      time.Duration // 0: unknown or none
	RepliedAt                      time.Time
}

// The view pg_stat_activity reads system tables, on which a lock may be held for long; the functions below it do not.
const (
	observeSQL = `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
	CASE WHEN pg_is_in_recovery()
	     THEN greatest((SELECT received_tli FROM pg_stat_get_wal_receiver()),
	                   (SELECT timeline_id FROM pg_control_checkpoint()),
	                   (SELECT min_recovery_end_timeline FROM pg_control_recovery()))::int8
	     ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8 END,
	CASE WHEN pg_is_in_recovery() THEN '0/0' ELSE pg_current_wal_insert_lsn() END,
	CASE WHEN pg_is_in_recovery() THEN '0/0' ELSE pg_current_wal_flush_lsn() END,
	coalesce(pg_last_wal_receive_lsn(), '0/0'), coalesce(pg_last_wal_replay_lsn(), '0/0'),
	pg_is_in_recovery() AND pg_get_wal_replay_pause_state() <> 'not paused', pg_last_xact_replay_timestamp(),
	coalesce(a.wait_event_type, ''), coalesce(a.wait_event, ''),
	current_setting('default_transaction_read_only')::bool, current_setting('synchronous_standby_names'),
	current_setting('primary_conninfo'), current_setting('primary_slot_name'), pg_conf_load_time()
	FROM (VALUES (1)) one LEFT JOIN pg_stat_get_activity(NULL) a ON a.backend_type = 'startup'`

	receiverSQL = `SELECT a.pid, coalesce(w.status, ''), coalesce(w.received_tli, 0)::int8,
	coalesce(w.flushed_lsn, '0/0'), w.last_msg_receipt_time, coalesce(w.sender_host, ''),
	coalesce(w.sender_port, 0), coalesce(w.slot_name, '')
	FROM pg_stat_get_activity(NULL) a LEFT JOIN pg_stat_get_wal_receiver() w ON w.pid = a.pid
	WHERE a.backend_type = 'walreceiver'`

	standbysSQL = `SELECT w.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''), coalesce(w.state, ''),
	coalesce(w.sync_state, ''), coalesce(w.sent_lsn, '0/0'), coalesce(w.write_lsn, '0/0'),
	coalesce(w.flush_lsn, '0/0'), coalesce(w.replay_lsn, '0/0'), coalesce(w.replay_lag, '0'::interval), w.reply_time
	FROM pg_stat_get_wal_senders() w JOIN pg_stat_get_activity(NULL) a ON a.pid = w.pid ORDER BY 2, 1`

	pendingSQL = `SELECT s.name, coalesce(s.setting, ''), coalesce((SELECT f.setting FROM pg_show_all_file_settings() f
	WHERE lower(f.name) = lower(s.name) ORDER BY f.seqno DESC LIMIT 1), s.boot_val, '')
	FROM pg_show_all_settings() s WHERE s.pending_restart ORDER BY 1`
)

// Observe asks a running server for everything that decisions are made from. It costs about a millisecond.
func (s *Server) Observe(ctx context.Context) (Live, error) {
	var l Live
	err := s.withKept(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var err error
		l, err = observe(ctx, conn)
		if hasCode(err, "55000") { // it was promoted between two functions of one statement
			l, err = observe(ctx, conn)
		}
		if err == nil {
			l.PendingRestart, err = s.live.pending.ask(ctx, conn, l.LoadedAt)
		}
		return err
	})
	if err != nil {
		return Live{}, fmt.Errorf("observe PostgreSQL: %w", err)
	}
	return l, nil
}

// observe sends all questions at once.
func observe(ctx context.Context, conn *pgx.Conn) (Live, error) {
	var l Live
	batch := &pgx.Batch{}
	batch.Queue(observeSQL).QueryRow(func(row pgx.Row) error {
		var replayedAt *time.Time
		err := row.Scan(&l.Version, &l.InRecovery, &l.Timeline, &l.Inserted, &l.Flushed, &l.Received, &l.Replayed,
			&l.ReplayPaused, &replayedAt, &l.Startup.Type, &l.Startup.Event, &l.ReadOnly, &l.SyncNames,
			&l.PrimaryConninfo, &l.PrimarySlot, &l.LoadedAt)
		l.ReplayedAt = orZero(replayedAt)
		return err
	})
	batch.Queue(receiverSQL).Query(func(rows pgx.Rows) error {
		receivers, err := pgx.CollectRows(rows, scanReceiver)
		if len(receivers) > 0 {
			l.Receiver = &receivers[0]
		}
		return err
	})
	batch.Queue(standbysSQL).Query(func(rows pgx.Rows) error {
		var err error
		l.Standbys, err = pgx.CollectRows(rows, scanStandby)
		return err
	})
	return l, conn.SendBatch(ctx, batch).Close()
}

func scanReceiver(row pgx.CollectableRow) (Receiver, error) {
	var r Receiver
	var last *time.Time
	err := row.Scan(&r.PID, &r.Status, &r.Timeline, &r.Flushed, &last, &r.Host, &r.Port, &r.Slot)
	r.LastMessage = orZero(last)
	return r, err
}

func scanStandby(row pgx.CollectableRow) (Standby, error) {
	var b Standby
	var replied *time.Time
	err := row.Scan(&b.PID, &b.Name, &b.Address, &b.State, &b.SyncState, &b.Sent, &b.Written, &b.Flushed, &b.Replay,
		&b.ReplayLag, &replied)
	b.RepliedAt = orZero(replied)
	return b, err
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// pendingRestart remembers the settings that wait for a restart: only reading the files again changes them, and
// looking through all settings is dear. So it is not done right after a change either, when a failover may be under way
// that has no time for it.
type pendingRestart struct {
	backend  uint32 // of which session
	loadedAt time.Time
	settings []Pending
}

// pendingAfter is how long after the files were read PostgreSQL is asked which settings wait for a restart.
const pendingAfter = 500 * time.Millisecond

// ask is called with the kept connection in hand, which guards p.
func (p *pendingRestart) ask(ctx context.Context, conn *pgx.Conn, loadedAt time.Time) ([]Pending, error) {
	backend := conn.PgConn().PID()
	if p.backend != backend || !p.loadedAt.Equal(loadedAt) && time.Since(loadedAt) >= pendingAfter {
		rows, err := conn.Query(ctx, pendingSQL)
		if err != nil {
			return nil, err
		}
		settings, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Pending])
		if err != nil {
			return nil, err
		}
		*p = pendingRestart{backend, loadedAt, settings}
	}
	return p.settings, nil
}
