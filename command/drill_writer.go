package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// drillTable is where the drill writes. One fixed name: two drills at a time would measure each other, and one that was
// cut off leaves one table, which the next one names. PostgreSQL and not the key/value store is written to, because what
// a drill has to show is that commits survive, and those of the store don't pass through a primary.
const drillTable = "pgraft_drill"

const (
	drillConnect = 2 * time.Second // for one server to let us in
	drillWrite   = 5 * time.Second // for one write to be acknowledged: then it is tried elsewhere
	drillPause   = 2 * time.Millisecond
	drillRetry   = 10 * time.Millisecond
)

// drillWriter writes numbers over one connection at a time, each once, and remembers which were acknowledged.
type drillWriter struct {
	cfg  *pgx.ConnConfig
	stop context.CancelFunc
	done chan struct{} // closed when run has returned

	mu      sync.Mutex // guards what follows
	journal drillJournal
	last    error // why the latest write or connection failed, nil since one was acknowledged
}

// drillJournal is what the writer was told.
type drillJournal struct {
	Acks   []drillAck
	Failed int // writes with an error or a warning: they may be there or not
}

type drillAck struct {
	Number int64
	At     time.Time
}

// startDrillWriter makes the table and begins to write.
func startDrillWriter(ctx context.Context, dsn string) (*drillWriter, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, advise(fmt.Errorf("read connection string: %w", err), "It looks like: host=10.0.0.11,10.0.0.12 user=app dbname=app")
	}
	cfg.ConnectTimeout = drillConnect
	cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	cfg.RuntimeParams["application_name"] = "pgraft drill"
	w := &drillWriter{cfg: cfg, done: make(chan struct{})}
	if err := w.createTable(ctx); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(ctx)
	go w.run(ctx)
	return w, nil
}

func (w *drillWriter) createTable(ctx context.Context) error {
	err := w.exec(ctx, "CREATE TABLE "+drillTable+" (number bigint PRIMARY KEY)")
	refused, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		return nil
	case ok && refused.Code == "42P07":
		return advise(fmt.Errorf("no drill, and nothing was changed: there is a table %s already", drillTable),
			"Another drill is running, or one was cut off. In the second case: DROP TABLE "+drillTable)
	case ok:
		return advise(fmt.Errorf("no drill, and nothing was changed: create table %s: %w", drillTable, err), "Let the role create tables, or name another with -dsn.")
	}
	// Text only: an error that unwraps to a dialer's would be taken for the agent's.
	return advise(fmt.Errorf("no drill, and nothing was changed: connect to the primary: %s", errorWords(err)), "Say as whom with PGUSER and PGPASSWORD, or how with -dsn.")
}

// run writes until ctx ends.
func (w *drillWriter) run(ctx context.Context) {
	defer close(w.done)
	number := int64(0)
	for ctx.Err() == nil {
		if err := w.session(ctx, &number); err != nil && ctx.Err() == nil {
			w.mu.Lock()
			w.last = err
			w.mu.Unlock()
			pause(ctx, drillRetry)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// session writes over one connection until something fails. The number of a failed write is never tried again.
func (w *drillWriter) session(ctx context.Context, number *int64) error {
	cfg := w.cfg.Copy()
	var warned error // a commit that stopped waiting for the standbys is answered with a warning, and is not acknowledged
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Severity == "WARNING" {
			warned = errors.New(n.Message)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for ctx.Err() == nil {
		*number++
		err := writeNumber(context.WithoutCancel(ctx), conn, *number) // the last one is seen to its end, too
		if err = errors.Join(err, warned); err != nil {
			w.mu.Lock()
			w.journal.Failed++
			w.mu.Unlock()
			return err
		}
		w.mu.Lock()
		w.journal.Acks, w.last = append(w.journal.Acks, drillAck{*number, time.Now()}), nil
		w.mu.Unlock()
		pause(ctx, drillPause)
	}
	return nil
}

// writeNumber commits a number in one round trip. The role's own synchronous_commit must not weaken what is measured.
func writeNumber(ctx context.Context, conn *pgx.Conn, number int64) error {
	ctx, cancel := context.WithTimeout(ctx, drillWrite)
	defer cancel()
	return conn.PgConn().Exec(ctx, fmt.Sprintf("BEGIN; SET LOCAL synchronous_commit TO on; INSERT INTO %s VALUES (%d); COMMIT", drillTable, number)).Close()
}

// waitMore waits until more writes are acknowledged.
func (w *drillWriter) waitMore(ctx context.Context, more int) error {
	ctx, cancel := context.WithTimeout(ctx, drillEnd)
	defer cancel()
	w.mu.Lock()
	want := len(w.journal.Acks) + more
	w.mu.Unlock()
	for {
		w.mu.Lock()
		n, last := len(w.journal.Acks), w.last
		w.mu.Unlock()
		if n >= want {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("only %d of %d writes were acknowledged in time: %s", n-(want-more), more, errorWords(last))
		}
		pause(ctx, drillRetry)
	}
}

// end stops the writes, reads what is in the table and drops it.
func (w *drillWriter) end(ctx context.Context) (journal drillJournal, found map[int64]bool, err error) {
	w.stop()
	<-w.done
	for {
		err = nil
		if found == nil {
			found, err = w.read(ctx)
		}
		if err == nil {
			err = w.exec(ctx, "DROP TABLE IF EXISTS "+drillTable)
		}
		if err == nil {
			return w.journal, found, nil
		}
		if ctx.Err() != nil {
			return w.journal, found, advise(fmt.Errorf("read and drop table %s: %s", drillTable, errorWords(err)), "Look what is in it, then: DROP TABLE IF EXISTS "+drillTable)
		}
		pause(ctx, 10*drillRetry)
	}
}

// read returns the numbers that are in the table.
func (w *drillWriter) read(ctx context.Context) (map[int64]bool, error) {
	conn, err := pgx.ConnectConfig(ctx, w.cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, "SELECT number FROM "+drillTable, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	found, number := map[int64]bool{}, int64(0)
	if _, err := pgx.ForEachRow(rows, []any{&number}, func() error { found[number] = true; return nil }); err != nil {
		return nil, err
	}
	return found, nil
}

func (w *drillWriter) exec(ctx context.Context, sql string) error {
	conn, err := pgx.ConnectConfig(ctx, w.cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

func errorWords(err error) string {
	if err == nil {
		return "the others wait"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
