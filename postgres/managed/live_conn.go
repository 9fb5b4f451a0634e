package managed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgraft/pgraft/postgres"
)

const (
	// liveTimeout bounds what is asked of a running server when the caller's context does not: a frozen one costs no
	// more than this.
	liveTimeout = 2 * time.Second
	// liveEvery is how often a running server is asked for something that it gives no notice of.
	liveEvery = time.Millisecond
)

// pgLSN is the type's number, which pgx does not know. In its binary form it is a number, too.
const pgLSN = 3220

// Errors of the live operations that a caller acts on, together with postgres.ErrNotRunning.
var (
	// ErrNotAccepting tells that the server runs and lets nobody in: it starts, recovers or shuts down.
	ErrNotAccepting = errors.New("PostgreSQL accepts no connections yet, or no more")
	// ErrNotStandby tells that a standby's operation was asked of a primary.
	ErrNotStandby = errors.New("PostgreSQL is not a standby")
	// ErrNotPrimary tells that a primary's operation was asked of a standby.
	ErrNotPrimary = errors.New("PostgreSQL is not a primary")
	// ErrNotCutOff tells that the standby receives WAL although it was cut off, or was not cut off: call CutOff.
	ErrNotCutOff = errors.New("the standby still receives WAL")
)

// liveConns keeps one connection to the server, for the short questions. Its zero value is ready for use.
type liveConns struct {
	once sync.Once
	kept chan *pgx.Conn // holds the kept connection or nil; empty while somebody uses it

	pending pendingRestart // belongs to who holds the kept connection
}

// take waits for the kept connection, nil or closed if there is none now. put must follow.
func (l *liveConns) take(ctx context.Context) (*pgx.Conn, error) {
	l.once.Do(l.init)
	select {
	case conn := <-l.kept:
		return conn, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the connection to PostgreSQL: %w", ctx.Err())
	}
}

func (l *liveConns) init() {
	l.kept = make(chan *pgx.Conn, 1)
	l.kept <- nil
}

func (l *liveConns) put(conn *pgx.Conn) { l.kept <- conn }

// offer makes a new connection the kept one if there is none, and closes it otherwise: an old session knows PostgreSQL's
// tables and our questions, which a new one has to learn, at a time when that is waited for.
func (l *liveConns) offer(conn *pgx.Conn) {
	l.once.Do(l.init)
	select {
	case old := <-l.kept:
		if old != nil && !old.IsClosed() {
			old, conn = conn, old
		}
		l.put(conn)
		hangUp(old)
	default:
		hangUp(conn)
	}
}

// drop closes the kept connection, unless it is in use.
func (l *liveConns) drop() {
	l.once.Do(l.init)
	select {
	case old := <-l.kept:
		l.put(nil)
		hangUp(old)
	default:
	}
}

// hangUp closes a connection without waiting for a server that may not answer.
func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx) // the server notices by itself
}

// Disconnect closes the kept connection. The next operation opens one again.
func (s *Server) Disconnect() { s.live.drop() }

// withKept runs do on the kept connection, and once more on a new one where the kept one turns out to be lost. So do
// must be harmless when repeated.
func (s *Server) withKept(ctx context.Context, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	return s.withKeptLong(ctx, do)
}

// withKeptLong is withKept, bounded by ctx alone.
func (s *Server) withKeptLong(ctx context.Context, do func(context.Context, *pgx.Conn) error) error {
	conn, err := s.live.take(ctx)
	if err != nil {
		return err
	}
	defer func() { s.live.put(conn) }()
	if conn != nil && !conn.IsClosed() {
		if err := do(ctx, conn); err == nil || !conn.IsClosed() || ctx.Err() != nil {
			return err
		}
	}
	if conn, err = s.dial(ctx); err != nil {
		return err
	}
	return do(ctx, conn)
}

// withNew runs do on a connection that was opened for it, bounded by ctx alone.
func (s *Server) withNew(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer s.live.offer(conn)
	return do(conn)
}

// dial opens a superuser's session through the Unix socket.
func (s *Server) dial(ctx context.Context) (*pgx.Conn, error) {
	return s.dialWith(ctx, "")
}

// dialWith opens a session that, with replication "database", understands replication commands too.
func (s *Server) dialWith(ctx context.Context, replication string) (*pgx.Conn, error) {
	dir, port := s.Socket()
	cfg, err := pgx.ParseConfig(fmt.Sprintf(
		"host=%s port=%d user=%s dbname=postgres sslmode=disable target_session_attrs=any connect_timeout=0",
		postgres.QuoteConninfo(dir), port, postgres.QuoteConninfo(s.cfg.Superuser)))
	if err != nil {
		return nil, fmt.Errorf("read address of PostgreSQL's socket: %w", err)
	}
	cfg.RuntimeParams = liveParams()
	if replication != "" {
		cfg.RuntimeParams["replication"] = replication
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", liveError(err))
	}
	conn.TypeMap().RegisterType(&pgtype.Type{Name: "pg_lsn", OID: pgLSN, Codec: pgtype.Uint64Codec{}})
	return conn, nil
}

// liveParams are the parameters of pgraft's own sessions. They win over what is set for the role or the database: our
// sessions wait for no standby, find nothing but PostgreSQL's own functions, and leave the log to the operator.
func liveParams() map[string]string {
	return map[string]string{
		"application_name":                    "pgraft",
		"client_encoding":                     "UTF8",
		"search_path":                         "pg_catalog",
		"synchronous_commit":                  "local",
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"idle_session_timeout":                "0",
		"idle_in_transaction_session_timeout": "0",
		"log_statement":                       "none",
		"log_min_duration_statement":          "-1",
		"jit":                                 "off",
	}
}

// liveError adds the kind of a failed connection, for errors.Is.
func liveError(err error) error {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: %w", postgres.ErrNotRunning, err)
	}
	if hasCode(err, "57P03") { // cannot_connect_now
		return fmt.Errorf("%w: %w", ErrNotAccepting, err)
	}
	return err
}

// hasCode reports whether err is PostgreSQL's error with that SQLSTATE.
func hasCode(err error, code string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code
}

// poll calls done every liveEvery until it says true or fails, or ctx ends: what says then what was waited for.
func poll(ctx context.Context, what string, done func() (bool, error)) error {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
