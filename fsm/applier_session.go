package fsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How often an idle session asks whether its server is still what it was, and a standby is asked how far it is.
const (
	applierIdleCheck   = time.Second
	applierStandbyPoll = 200 * time.Millisecond
)

// RefusedError says that the database is not the applier's to write. It is definite: nothing was changed, and only a
// person can resolve it.
type RefusedError struct {
	Message string
	Hint    string // what to do
}

// Error returns the message with the hint behind it.
func (e *RefusedError) Error() string { return e.Message + " (" + e.Hint + ")" }

func isRefused(err error) bool {
	_, ok := errors.AsType[*RefusedError](err)
	return ok
}

// errRoleChanged ends a session whose server was promoted or became a standby.
var errRoleChanged = errors.New("the server changed its role")

// The session writes without waiting for the disk (the Raft log is the durable copy), waits for no lock for ever, and
// dies on the server soon after we do, so that its lock does not keep the next one out.
const applierSetup = `
SET synchronous_commit = off; SET lock_timeout = '10s'; SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0; SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off; SET search_path = pg_catalog, pg_temp;
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3`

// The advisory lock that keeps a second applier out of the database: two integers that only pgraft uses.
const applierLock = "1885827942, 1"

// applierSession is the applier's work on one connection to a writable server.
type applierSession struct {
	*Applier
	conn    *pgx.Conn
	cluster string   // ours
	at      position // what the server's rows are current to
}

// runSession connects and follows the log until something fails.
func (a *Applier) runSession(ctx context.Context) error {
	conn, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer a.disconnect(conn)
	a.status.change(func(c *ApplierStatus) { c.Connected, c.Sessions = true, c.Sessions+1 })
	recovering, err := inRecovery(ctx, conn)
	if err != nil {
		return err
	}
	a.status.change(func(c *ApplierStatus) { c.InRecovery = recovering })
	if recovering {
		return a.watchStandby(ctx, conn)
	}
	s := &applierSession{Applier: a, conn: conn}
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.follow(ctx)
}

func (a *Applier) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, applierConnectWait)
	defer cancel()
	conn, err := a.cfg.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if _, err := conn.Exec(ctx, applierSetup); err != nil {
		a.disconnect(conn)
		return nil, fmt.Errorf("set up session: %w", err)
	}
	_, err = conn.Exec(ctx, "SELECT set_config('application_name', $1, false)", "pgraft applier "+a.cfg.NodeName)
	if err != nil {
		a.disconnect(conn)
		return nil, fmt.Errorf("set up session: %w", err)
	}
	return conn, nil
}

func (a *Applier) disconnect(conn *pgx.Conn) {
	a.status.disconnected()
	ctx, cancel := context.WithTimeout(context.Background(), applierCloseWait)
	defer cancel()
	_ = conn.Close(ctx) // the server drops the session on its own when it does not hear this
}

func inRecovery(ctx context.Context, conn *pgx.Conn) (recovering bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, applierStepTimeout)
	defer cancel()
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovering); err != nil {
		return false, fmt.Errorf("ask for recovery state: %w", err)
	}
	return recovering, nil
}

// open takes the lock and makes sure that the database is ours before anything in it is changed.
func (s *applierSession) open(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	m, err := readMeta(ctx, s.conn)
	if err != nil {
		return err
	}
	if m.cluster != "" { // somebody's rows: not to be touched before we know whose
		if err := s.waitCluster(ctx); err != nil {
			return err
		}
		if err := checkCluster(m, s.cluster); err != nil {
			return err
		}
	}
	if err := s.cfg.Prepare(ctx, s.conn); err != nil {
		return fmt.Errorf("prepare schema: %w", err)
	}
	if err := s.waitCluster(ctx); err != nil {
		return err
	}
	return s.start(ctx)
}

// start reads how far the rows are, claiming a database that is nobody's.
func (s *applierSession) start(ctx context.Context) error {
	m, err := readMeta(ctx, s.conn)
	if err != nil {
		return err
	}
	if !m.found {
		return errors.New("table pgraft.meta has no row: run DROP EXTENSION pgraft CASCADE, the agent creates it again")
	}
	if m.cluster == "" {
		if err := s.claim(ctx); err != nil {
			return err
		}
	} else if err := checkCluster(m, s.cluster); err != nil {
		return err
	}
	s.at = m.at
	s.reached(s.at)
	s.status.change(func(c *ApplierStatus) { c.Writing = true })
	s.cfg.Logger.Info("applying to PostgreSQL", "applied_index", s.at.index, "applied_term", s.at.term)
	return nil
}

func checkCluster(m metaRow, ours string) error {
	if m.cluster == ours {
		return nil
	}
	return &RefusedError{
		Message: fmt.Sprintf("the database holds the rows of another cluster, %s; this one is %s", m.cluster, ours),
		Hint: "point the agent to a database of its own, or, to give this one to the agent's cluster, " +
			"run DROP EXTENSION pgraft CASCADE (without the extension: DROP SCHEMA pgraft CASCADE) in it first",
	}
}

// claim makes an empty database this cluster's.
func (s *applierSession) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, applierStepTimeout)
	defer cancel()
	var empty bool
	err := s.conn.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM pgraft.kv) AND NOT EXISTS (SELECT FROM pgraft.node)
		AND NOT EXISTS (SELECT FROM pgraft.setting) AND NOT EXISTS (SELECT FROM pgraft.event)`).Scan(&empty)
	if err != nil {
		return fmt.Errorf("look for rows: %w", err)
	}
	if !empty {
		return &RefusedError{
			Message: "the tables of schema pgraft hold rows, but not whose they are",
			Hint:    "if they may go, run DROP EXTENSION pgraft CASCADE; the agent creates it again and fills it",
		}
	}
	if _, err := s.conn.Exec(ctx, "SELECT pgraft.advance(0, 0, 0, $1)", s.cluster); err != nil {
		return fmt.Errorf("claim database: %w", err)
	}
	return nil
}

// waitCluster waits until the store knows its cluster, which a new one does with its first entry.
func (s *applierSession) waitCluster(ctx context.Context) error {
	for {
		if s.cluster = s.cfg.FSM.Store().ClusterID(); s.cluster != "" {
			return nil
		}
		if err := s.waitChange(ctx, s.cfg.FSM.Store().Index()); err != nil {
			return err
		}
		if _, err := inRecovery(ctx, s.conn); err != nil {
			return err
		}
		s.status.success()
	}
}

// waitChange waits for a change above index, but not longer than until the server is to be asked again.
func (s *applierSession) waitChange(ctx context.Context, index uint64) error {
	waitCtx, cancel := context.WithTimeout(ctx, applierIdleCheck)
	defer cancel()
	if err := s.cfg.FSM.Feed().Wait(waitCtx, index); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

func (s *applierSession) lock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, applierStepTimeout)
	defer cancel()
	var got bool
	if err := s.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock("+applierLock+")").Scan(&got); err != nil {
		return fmt.Errorf("take applier's lock: %w", err)
	}
	if got {
		return nil
	}
	var pid int
	var name, client string
	err := s.conn.QueryRow(ctx, `SELECT a.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local')
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
		AND (l.classid::bigint, l.objid::bigint, l.objsubid) = (`+applierLock+`, 2)`).Scan(&pid, &name, &client)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("look for the holder of the applier's lock: %w", err)
	}
	return fmt.Errorf("another agent applies to this database: process %d, %q, from %s "+
		"(each agent needs a database of its own; an agent's own earlier session ends by itself)", pid, name, client)
}

// metaRow is what pgraft.meta says.
type metaRow struct {
	found   bool
	cluster string
	at      position
}

const metaQuery = "SELECT cluster_id, applied_index, applied_term FROM pgraft.meta"

// readMeta reads pgraft.meta. A missing table or row is no error.
func readMeta(ctx context.Context, conn *pgx.Conn) (metaRow, error) {
	ctx, cancel := context.WithTimeout(ctx, applierStepTimeout)
	defer cancel()
	m, err := scanMeta(conn.QueryRow(ctx, metaQuery))
	var pgErr *pgconn.PgError
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, pgx.ErrNoRows):
		return metaRow{}, nil
	case errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "3F000"): // no such table, no such schema
		return metaRow{}, nil
	}
	return metaRow{}, fmt.Errorf("read pgraft.meta: %w", err)
}

func scanMeta(row pgx.Row) (metaRow, error) {
	m := metaRow{found: true}
	err := row.Scan(&m.cluster, (*bigint)(&m.at.index), (*bigint)(&m.at.term))
	return m, err
}

// watchStandby follows the index that arrives by WAL until the server is promoted.
func (a *Applier) watchStandby(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(applierStandbyPoll)
	defer tick.Stop()
	for {
		if err := a.lookAtStandby(ctx, conn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (a *Applier) lookAtStandby(ctx context.Context, conn *pgx.Conn) error {
	m, err := readMeta(ctx, conn)
	if err != nil {
		return err
	}
	recovering, err := inRecovery(ctx, conn)
	if err != nil {
		return err
	}
	if !recovering {
		a.cfg.Logger.Info("PostgreSQL was promoted", "applied_index", m.at.index)
		return errRoleChanged
	}
	if ours := a.cfg.FSM.Store().ClusterID(); m.cluster != "" && ours != "" {
		if err := checkCluster(m, ours); err != nil {
			return err
		}
	}
	a.reached(m.at)
	a.status.success()
	return nil
}
