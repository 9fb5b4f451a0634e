package rolelog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
)

const (
	retryAfter = time.Second     // when PostgreSQL could not be asked
	writeFor   = 5 * time.Second // bounds one attempt
)

// Writer brings changes of role to PostgreSQL's log.
type Writer struct {
	connect func(context.Context) (*pgx.Conn, error)
	logger  hclog.Logger
	changed chan struct{} // of capacity 1

	mu   sync.Mutex // guards seen
	seen Role
}

// New returns a writer whose Run uses sessions that connect opens.
func New(connect func(context.Context) (*pgx.Conn, error), logger hclog.Logger) *Writer {
	return &Writer{connect: connect, logger: logger, changed: make(chan struct{}, 1)}
}

// Saw takes note of the node's role. It never waits; any goroutine may call it, as often as it likes.
func (w *Writer) Saw(r Role) {
	w.mu.Lock()
	changed := !w.seen.Same(r)
	w.seen = r
	w.mu.Unlock()
	if changed {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *Writer) role() Role {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	var written Role
	for {
		var retry <-chan time.Time
		if now := w.role(); now.Settled() && !now.Same(written) {
			if err := w.write(ctx, now); err != nil {
				w.logger.Debug("PostgreSQL's log does not tell of the role yet", "error", err)
				retry = time.After(retryAfter)
			} else {
				written = now
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-retry:
		}
	}
}

func (w *Writer) write(ctx context.Context, r Role) error {
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	conn, err := w.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return Tell(ctx, conn, r.Line())
}

// tell logs without the statement and the context that would make three lines of one, where the role's rights allow it.
const tell = `DO $$
BEGIN
	IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		PERFORM set_config('log_min_error_statement', 'panic', true), set_config('log_error_verbosity', 'terse', true);
	END IF;
	RAISE LOG '%', current_setting('pgraft.line');
END $$`

// Tell has PostgreSQL write a line into its log. It works on a standby too, and takes no transaction id.
func Tell(ctx context.Context, conn *pgx.Conn, line string) error {
	if _, err := conn.Exec(ctx, "SELECT set_config('pgraft.line', $1, false)", line); err != nil {
		return fmt.Errorf("give PostgreSQL a line for its log: %w", err)
	}
	if _, err := conn.Exec(ctx, tell); err != nil {
		return fmt.Errorf("have PostgreSQL log a line: %w", err)
	}
	return nil
}
