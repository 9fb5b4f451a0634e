package managed

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Refused returns a *Problem if the running server does not take the values that its files have for these parameters.
// It reloads the rest all the same, and says so only in its log. One that waits for a restart is not refused.
func (s *Server) Refused(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	lower := make([]string, 0, len(names))
	for _, name := range names {
		lower = append(lower, strings.ToLower(name))
	}
	return s.withNew(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT f.name || ' = ''' || f.setting || '''' FROM pg_show_all_file_settings() f
			WHERE lower(f.name) = ANY ($1) AND f.error IS NOT NULL AND NOT EXISTS (
				SELECT FROM pg_show_all_settings() s WHERE lower(s.name) = lower(f.name) AND s.pending_restart)
			ORDER BY 1`, lower)
		if err != nil {
			return fmt.Errorf("read settings that are refused: %w", err)
		}
		refused, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("read settings that are refused: %w", err)
		}
		if len(refused) == 0 {
			return nil
		}
		return &Problem{What: "PostgreSQL refuses " + strings.Join(refused, ", "), Hint: "correct the setting"}
	})
}
