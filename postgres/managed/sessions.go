package managed

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// TerminateClients ends the sessions of clients, all or only those whose commit waits for standbys, and returns how
// many it told. A commit that waits is ended with a warning and the end of its connection, so that its client takes it
// for in doubt. Sessions of pgraft, and those that WAL is sent to, stay.
func (s *Server) TerminateClients(ctx context.Context, onlyWaiting bool) (int, error) {
	var n int
	err := s.withKept(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		n, err = terminate(ctx, conn, onlyWaiting)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("end client sessions: %w", err)
	}
	return n, nil
}

// terminate takes for pgraft's own what a superuser opened on this machine under such a name.
func terminate(ctx context.Context, conn *pgx.Conn, onlyWaiting bool) (n int, err error) {
	err = conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))
		FROM pg_stat_get_activity(NULL) a
		WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
		AND NOT (a.client_port = -1 AND a.usesysid = (SELECT oid FROM pg_authid WHERE rolname = current_user)
		         AND (a.application_name = 'pgraft' OR a.application_name LIKE 'pgraft %'))
		AND (NOT $1 OR a.wait_event = 'SyncRep')`, onlyWaiting).Scan(&n)
	return n, err
}
