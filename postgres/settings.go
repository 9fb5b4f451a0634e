package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// SettingNames are the settings of pgraft that postgresql.conf may hold.
func SettingNames() []string {
	return []string{
		"pgraft.batch_size", "pgraft.max_batch_delay", "pgraft.snapshot_interval",
		"pgraft.max_log_entries", "pgraft.election_timeout", "pgraft.heartbeat_interval",
	}
}

// Setting is the value of one setting and where it comes from: "file:line" where the role may know it, else
// "postgresql.conf".
type Setting struct {
	Value  string
	Source string
}

// ReadSettings returns those of SettingNames that are set on the server, by name. pg_settings does not show them, as
// no library declares them, so they are asked for one by one.
func ReadSettings(ctx context.Context, db Querier) (map[string]Setting, error) {
	settings := map[string]Setting{}
	err := eachPair(ctx, db, func(name, value string) { settings[name] = Setting{value, "postgresql.conf"} },
		`SELECT n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest($1::text[]) n
		  WHERE pg_catalog.current_setting(n, true) <> ''`, SettingNames())
	if err != nil {
		return nil, fmt.Errorf("read pgraft settings: %w", err)
	}
	if len(settings) == 0 {
		return settings, nil
	}
	return settings, addSources(ctx, db, settings)
}

// addSources names file and line of each setting, where the role may ask for them. The last line for a name counts.
func addSources(ctx context.Context, db Querier, settings map[string]Setting) error {
	var may bool
	err := db.QueryRow(ctx, `SELECT pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT')
		AND pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')`).Scan(&may)
	if err != nil {
		return fmt.Errorf("read right to see file settings: %w", err)
	}
	if !may {
		return nil
	}
	err = eachPair(ctx, db, func(name, source string) {
		if s, ok := settings[name]; ok {
			settings[name] = Setting{s.Value, source}
		}
	}, `SELECT name, sourcefile || ':' || sourceline FROM pg_catalog.pg_file_settings
	     WHERE name = ANY ($1::text[]) ORDER BY seqno`, SettingNames())
	if err != nil {
		return fmt.Errorf("read sources of pgraft settings: %w", err)
	}
	return nil
}

func eachPair(ctx context.Context, db Querier, do func(a, b string), sql string, args ...any) error {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var a, b string
	_, err = pgx.ForEachRow(rows, []any{&a, &b}, func() error { do(a, b); return nil })
	return err
}
