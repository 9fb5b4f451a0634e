package managed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres/wal"
)

// EnsureReplicationRole makes ReplicationRole with the secret as its password and the rights that a standby, a clone
// and a rewind need, on a primary. What is right already is not written again.
func (s *Server) EnsureReplicationRole(ctx context.Context, secret string) error {
	err := s.withNew(ctx, func(conn *pgx.Conn) error {
		role, err := readRole(ctx, conn)
		if err != nil {
			return err
		}
		statements, err := role.statements(secret)
		if err != nil || len(statements) == 0 {
			return err
		}
		// The server may be read-only for its clients. Our session waits for no standby: see liveParams.
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
			for _, sql := range statements {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("make role %s: %w", ReplicationRole, err)
	}
	return nil
}

// rewindFunctions are what pg_rewind calls on the server that it reads from.
func rewindFunctions() []string {
	return []string{
		"pg_catalog.pg_ls_dir(text, boolean, boolean)",
		"pg_catalog.pg_stat_file(text, boolean)",
		"pg_catalog.pg_read_binary_file(text)",
		"pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
	}
}

// roleState is what there is of the replication role.
type roleState struct {
	exists, fit bool // fit: it may log in and replicate, for ever, and is no superuser
	verifier    string
	lacks       []string // functions that it may not call
}

func readRole(ctx context.Context, conn *pgx.Conn) (roleState, error) {
	var role roleState
	err := conn.QueryRow(ctx, `SELECT rolcanlogin AND rolreplication AND NOT rolsuper
		AND coalesce(rolvaliduntil, 'infinity') = 'infinity' AND rolconnlimit = -1, coalesce(rolpassword, '') FROM pg_authid WHERE rolname = $1`, ReplicationRole).
		Scan(&role.fit, &role.verifier)
	if errors.Is(err, pgx.ErrNoRows) {
		role.lacks = rewindFunctions()
		return role, nil
	}
	if err != nil {
		return role, err
	}
	role.exists = true
	rows, err := conn.Query(ctx, `SELECT f FROM unnest($2::text[]) f WHERE NOT has_function_privilege($1, f, 'EXECUTE')`,
		ReplicationRole, rewindFunctions())
	if err != nil {
		return role, err
	}
	role.lacks, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return role, err
}

// statements returns what makes the role as it must be.
func (r roleState) statements(secret string) ([]string, error) {
	var statements []string
	if !r.exists {
		statements = append(statements, "CREATE ROLE "+ReplicationRole)
	}
	if !r.fit {
		statements = append(statements, "ALTER ROLE "+ReplicationRole+
			" LOGIN REPLICATION NOSUPERUSER CONNECTION LIMIT -1 VALID UNTIL 'infinity'")
	}
	if !scramMatches(r.verifier, secret) {
		verifier, err := scramVerifier(secret)
		if err != nil {
			return nil, err
		}
		statements = append(statements, "ALTER ROLE "+ReplicationRole+" PASSWORD '"+verifier+"'")
	}
	for _, function := range r.lacks {
		statements = append(statements, "GRANT EXECUTE ON FUNCTION "+function+" TO "+ReplicationRole)
	}
	return statements, nil
}

// slotState is one of pgraft's replication slots.
type slotState struct {
	name           string
	active         bool
	lost, reserved bool // WAL that it needs is gone; it keeps WAL
}

// EnsureSlots makes the slots that are wanted (see SlotName), and drops what other slots of pgraft nobody uses. On a
// primary a slot keeps WAL from the moment that it is made. On a standby it keeps none until it is used, as nothing
// would move it on. A slot that a promotion inherited keeps none either: with settled, when the standbys have had time
// to connect, those that nobody uses are made again, so that they keep WAL for whom they are.
func (s *Server) EnsureSlots(ctx context.Context, want []string, settled bool) error {
	err := s.withNew(ctx, func(conn *pgx.Conn) error {
		inRecovery, slots, err := readSlots(ctx, conn)
		if err != nil {
			return err
		}
		drop, create := planSlots(slots, want, inRecovery, settled)
		for _, name := range drop {
			_, err := conn.Exec(ctx, "SELECT pg_drop_replication_slot($1)", name)
			if err != nil && !hasCode(err, "55006") && !hasCode(err, "42704") { // in use again; gone already
				return fmt.Errorf("drop %s: %w", name, err)
			}
		}
		for _, name := range create {
			_, err := conn.Exec(ctx, "SELECT pg_create_physical_replication_slot($1, $2)", name, !inRecovery)
			if err != nil && !hasCode(err, "42710") { // there already
				return fmt.Errorf("create %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make replication slots: %w", err)
	}
	return nil
}

func readSlots(ctx context.Context, conn *pgx.Conn) (inRecovery bool, slots []slotState, err error) {
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&inRecovery); err != nil {
		return false, nil, err
	}
	rows, err := conn.Query(ctx, `SELECT slot_name, active, coalesce(wal_status = 'lost', false), restart_lsn IS NOT NULL
		FROM pg_get_replication_slots() WHERE slot_type = 'physical' AND NOT temporary ORDER BY 1`)
	if err != nil {
		return false, nil, err
	}
	slots, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (slot slotState, err error) {
		err = row.Scan(&slot.name, &slot.active, &slot.lost, &slot.reserved)
		return slot, err
	})
	return inRecovery, slots, err
}

// planSlots returns which slots to drop and which to make. One that is dropped and wanted is made again.
func planSlots(slots []slotState, want []string, inRecovery, settled bool) (drop, create []string) {
	there := map[string]bool{}
	for _, slot := range slots {
		if !strings.HasPrefix(slot.name, namePrefix) {
			continue
		}
		stale := slot.lost || inRecovery && slot.reserved || !inRecovery && settled && !slot.reserved
		if !slot.active && (stale || !slices.Contains(want, slot.name)) {
			drop = append(drop, slot.name)
			continue
		}
		there[slot.name] = true
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(want))) {
		if !there[name] {
			create = append(create, name)
		}
	}
	return drop, create
}

// FlushedLSN returns how far the WAL of a primary is durable here at this moment: every commit that any client was
// told of before is below it.
func (s *Server) FlushedLSN(ctx context.Context) (lsn wal.LSN, err error) {
	err = s.withKept(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()").Scan(&lsn)
	})
	if hasCode(err, "55000") {
		err = fmt.Errorf("%w: %w", ErrNotPrimary, err)
	}
	if err != nil {
		return 0, fmt.Errorf("read flushed position: %w", err)
	}
	return lsn, nil
}

// WaitFlushed waits until that many of the standbys named have flushed WAL up to lsn, or ctx ends.
func (s *Server) WaitFlushed(ctx context.Context, names []string, lsn wal.LSN, acks int) error {
	return poll(ctx, fmt.Sprintf("%d of %d standbys have flushed %s", acks, len(names), lsn), func() (bool, error) {
		var have int
		err := s.withKept(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `SELECT count(DISTINCT a.application_name)
				FROM pg_stat_get_wal_senders() w JOIN pg_stat_get_activity(NULL) a ON a.pid = w.pid
				WHERE a.application_name = ANY ($1::text[]) AND w.flush_lsn >= $2`, names, uint64(lsn)).Scan(&have)
		})
		if err != nil {
			return false, fmt.Errorf("wait for standbys: %w", err)
		}
		return have >= acks, nil
	})
}
