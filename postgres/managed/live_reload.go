package managed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
)

// reloadAgain is after how long without effect the server is asked again to read its files: its clock, by which the
// effect is told, may have been set back.
const reloadAgain = 250 * time.Millisecond

// Reload makes the server read its configuration files and returns when a new session has what they say. By then each
// process of the server has been told; one that is busy may not have looked yet. Files that PostgreSQL refuses are a
// *Problem.
func (s *Server) Reload(ctx context.Context) error {
	conn, err := s.reload(ctx)
	if err != nil {
		return err
	}
	s.live.offer(conn)
	return nil
}

// reload returns the session that has the new configuration.
func (s *Server) reload(ctx context.Context) (*pgx.Conn, error) {
	for {
		pid := s.PID()
		if pid == 0 {
			return nil, fmt.Errorf("reload PostgreSQL: %w", postgres.ErrNotRunning)
		}
		asked := time.Now().Truncate(time.Microsecond)
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			return nil, fmt.Errorf("reload PostgreSQL: signal process %d: %w", pid, err)
		}
		conn, err := s.awaitLoaded(ctx, asked)
		if conn != nil || err != nil {
			return conn, err
		}
	}
}

// awaitLoaded returns a new session whose configuration was read after asked, nil if there is none after a while. The
// postmaster signals its children before it starts the session, so they have been told when it is there.
func (s *Server) awaitLoaded(ctx context.Context, asked time.Time) (conn *pgx.Conn, err error) {
	limit, cancel := context.WithTimeout(ctx, reloadAgain)
	defer cancel()
	err = poll(limit, "PostgreSQL has read its configuration", func() (bool, error) {
		fresh, err := s.dial(ctx)
		if err != nil {
			return false, err
		}
		loaded, err := hasLoaded(ctx, fresh, asked)
		if !loaded {
			hangUp(fresh)
			return false, err
		}
		conn = fresh
		return true, nil
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, nil
	}
	return conn, err
}

func hasLoaded(ctx context.Context, conn *pgx.Conn, asked time.Time) (bool, error) {
	var loaded time.Time
	if err := conn.QueryRow(ctx, "SELECT pg_conf_load_time()").Scan(&loaded); err != nil {
		return false, fmt.Errorf("read time of configuration: %w", err)
	}
	if !loaded.Before(asked) {
		return true, nil
	}
	return false, fileErrors(ctx, conn)
}

// fileErrors returns what keeps PostgreSQL from taking its configuration files over.
func fileErrors(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT sourcefile || ':' || sourceline || ': ' || error FROM pg_show_all_file_settings()
		WHERE error IS NOT NULL AND error <> 'setting could not be applied'`)
	if err != nil {
		return fmt.Errorf("read errors of configuration: %w", err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read errors of configuration: %w", err)
	}
	if len(lines) == 0 {
		return nil
	}
	return &Problem{
		What: "PostgreSQL refuses its configuration: " + strings.Join(lines, "; "),
		Hint: "correct the file; pgraft reloads it by itself",
	}
}

// sourceOf says where the value of a setting comes from.
func sourceOf(ctx context.Context, conn *pgx.Conn, name string) (source string, err error) {
	err = conn.QueryRow(ctx, `SELECT coalesce(sourcefile || ':' || sourceline, source) FROM pg_show_all_settings()
		WHERE name = $1`, name).Scan(&source)
	if err != nil {
		return "", fmt.Errorf("read setting: %w", err)
	}
	return source, nil
}

// reloadAs reloads until name has the wanted value. PostgreSQL reads postgresql.auto.conf last, so what ALTER SYSTEM
// wrote there since the files were written is removed; what else stands against the value is a *Problem.
func (s *Server) reloadAs(ctx context.Context, name, want string) (*pgx.Conn, error) {
	for try := 0; ; try++ {
		conn, err := s.reload(ctx)
		if err != nil {
			return nil, err
		}
		var value string
		err = conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value)
		if err == nil && value == want {
			return conn, nil
		}
		if err == nil {
			err = overrule(ctx, conn, name, try)
		}
		hangUp(conn)
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
}

// overrule removes what stands against pgraft's value of a setting, at the first try, or says where it is.
func overrule(ctx context.Context, conn *pgx.Conn, name string, try int) error {
	if try == 0 {
		_, err := conn.Exec(ctx, "ALTER SYSTEM RESET "+pgx.Identifier{name}.Sanitize())
		return err
	}
	source, err := sourceOf(ctx, conn, name)
	if err != nil {
		return err
	}
	return &Problem{
		What: fmt.Sprintf("%s is not as pgraft needs it: its value comes from %s", name, source),
		Hint: "remove it there",
	}
}

// SyncNamesInForce returns when every commit that begins from now on waits as synchronous_standby_names says in the
// files. Reloading is not enough: a sender that has not read the setting yet releases commits by the former one, and
// whether commits wait at all is decided by the checkpointer. So each sender that counts is seen idle once, which is
// before it reads, and with rising, when commits did not wait before, the checkpointer is made to go round.
func (s *Server) SyncNamesInForce(ctx context.Context, want string, rising bool) error {
	conn, err := s.reloadAs(ctx, "synchronous_standby_names", want)
	if err != nil {
		return err
	}
	defer s.live.offer(conn)
	if err := awaitSenders(ctx, conn); err != nil {
		return err
	}
	if !rising {
		return nil
	}
	// The first one may have been picked up in a round that had looked for signals before ours came.
	for range 2 {
		if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
			return fmt.Errorf("run checkpoint: %w", err)
		}
	}
	return nil
}

// awaitSenders waits until each sender that can release commits has been seen waiting in its main loop, or is gone.
// From there it reads the configuration before it hears its standby.
func awaitSenders(ctx context.Context, conn *pgx.Conn) error {
	seen := map[int]bool{}
	return poll(ctx, "every sender has read the new synchronous_standby_names", func() (bool, error) {
		rows, err := conn.Query(ctx, `SELECT w.pid, coalesce(a.wait_event = 'WalSenderMain', false)
			FROM pg_stat_get_wal_senders() w JOIN pg_stat_get_activity(NULL) a ON a.pid = w.pid
			WHERE w.sync_priority > 0`)
		if err != nil {
			return false, fmt.Errorf("read senders: %w", err)
		}
		all, pid, idle := true, 0, false
		_, err = pgx.ForEachRow(rows, []any{&pid, &idle}, func() error {
			seen[pid] = seen[pid] || idle
			all = all && seen[pid]
			return nil
		})
		if err != nil {
			return false, fmt.Errorf("read senders: %w", err)
		}
		return all, nil
	})
}

// Checkpoint writes a checkpoint, as a new primary needs before anybody rewinds to it: until then pg_rewind before 16
// believes that there is nothing to rewind.
func (s *Server) Checkpoint(ctx context.Context) error {
	return s.withNew(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
			return fmt.Errorf("run checkpoint: %w", err)
		}
		return nil
	})
}
