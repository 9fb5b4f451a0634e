package health

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ReadSlots asks a PostgreSQL whether it is a primary, and for its replication slots if it is.
func ReadSlots(ctx context.Context, conn *pgx.Conn) (primary bool, slots []Slot, err error) {
	if err := conn.QueryRow(ctx, "SELECT NOT pg_is_in_recovery()").Scan(&primary); err != nil {
		return false, nil, fmt.Errorf("ask whether PostgreSQL is a primary: %w", err)
	}
	if !primary {
		return false, nil, nil
	}
	rows, err := conn.Query(ctx, `SELECT slot_name, active, greatest(coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0), 0)::bigint,
		coalesce(safe_wal_size, -1), coalesce(wal_status, '') FROM pg_replication_slots WHERE NOT temporary ORDER BY 1`)
	if err != nil {
		return true, nil, fmt.Errorf("read replication slots: %w", err)
	}
	slots, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Slot])
	if err != nil {
		return true, nil, fmt.Errorf("read replication slots: %w", err)
	}
	return true, slots, nil
}

// ReadDataDir asks a PostgreSQL where its data is.
func ReadDataDir(ctx context.Context, conn *pgx.Conn) (string, error) {
	var dir string
	err := conn.QueryRow(ctx, "SELECT current_setting('data_directory')").Scan(&dir)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42501" {
		return "", errors.New("the agent's role may not read data_directory: GRANT pg_read_all_settings TO it")
	}
	if err != nil {
		return "", fmt.Errorf("ask for data_directory: %w", err)
	}
	return dir, nil
}
