package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// MinVersion is the oldest server version pgraft works with, as server_version_num counts.
const MinVersion = 140000

// Querier is what pgx's connections, pools and transactions have in common, as far as this package needs it.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Health is what a server says about itself and about the role that pgraft has there.
type Health struct {
	Version          string // "15.18 (Debian …)"
	VersionNum       int    // 150018
	InRecovery       bool
	ReadOnly         bool   // this session's default: a server in recovery, or default_transaction_read_only
	Encoding         string // of the database
	Database         string
	Role             string
	Superuser        bool
	CanCreate        bool // schemas in this database
	HasSchema        bool // schema pgraft exists
	OwnsSchema       bool // and belongs to the role, or to one it is a member of
	CanWrite         bool // or the role may at least write its tables
	CanReadFiles     bool // pg_read_server_files, which the reading SQL functions need
	DBLinkAvailable  bool // its extension files are there
	DBLinkVersion    string
	ExtensionVersion string // of pgraft, "" = not created
	// Warnings are shortcomings that pgraft can live with, less what they cost.
	Warnings []*Problem
}

// Problem is something about a server that a person has to change.
type Problem struct {
	Check   string // version, encoding, rights, dblink: for programs
	Message string
	Hint    string // what to do
}

// Error returns the message with the hint behind it.
func (p *Problem) Error() string { return p.Message + " (" + p.Hint + ")" }

// The catalog's own functions only: nothing here depends on the extension, nor on search_path.
const healthQuery = `
SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num')::int,
       pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only') = 'on',
       pg_catalog.current_setting('server_encoding'), pg_catalog.current_database(), current_user::text,
       coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false),
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
       n.oid IS NOT NULL,
       coalesce(pg_catalog.pg_has_role(n.nspowner, 'USAGE'), false),
       coalesce((SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
                   FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'meta'), false),
       pg_catalog.pg_has_role('pg_read_server_files', 'USAGE'),
       EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'dblink'),
       coalesce((SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'dblink'), ''),
       coalesce((SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pgraft'), '')
  FROM (SELECT) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'pgraft'`

// Check asks the server at db what it is and whether pgraft can work with it. The error is a *Problem when the server
// answered and is unfit; Health is filled then, too.
func Check(ctx context.Context, db Querier) (Health, error) {
	var h Health
	err := db.QueryRow(ctx, healthQuery).Scan(&h.Version, &h.VersionNum, &h.InRecovery, &h.ReadOnly, &h.Encoding,
		&h.Database, &h.Role, &h.Superuser, &h.CanCreate, &h.HasSchema, &h.OwnsSchema, &h.CanWrite, &h.CanReadFiles,
		&h.DBLinkAvailable, &h.DBLinkVersion, &h.ExtensionVersion)
	if err != nil {
		return Health{}, fmt.Errorf("check PostgreSQL: %w", err)
	}
	h.Warnings = Warnings(h)
	if problem := Unfit(h); problem != nil {
		return h, problem
	}
	return h, nil
}

// Unfit returns what keeps pgraft from working with a server of this health, nil if nothing does.
func Unfit(h Health) *Problem {
	switch {
	case h.VersionNum < MinVersion:
		return &Problem{"version", fmt.Sprintf("PostgreSQL %s is too old: pgraft needs 14 or newer", h.Version),
			"upgrade the server with pg_upgrade"}
	case h.Encoding != "UTF8" && h.Encoding != "SQL_ASCII":
		return &Problem{"encoding", fmt.Sprintf("database %q has encoding %s: pgraft's keys and values are UTF-8", h.Database, h.Encoding),
			"set postgres.database to a database with encoding UTF8, for example one made by: CREATE DATABASE pgraft TEMPLATE template0 ENCODING 'UTF8'"}
	case h.HasSchema && !h.OwnsSchema && !h.CanWrite && !h.Superuser:
		return &Problem{"rights", fmt.Sprintf("role %q may not write schema pgraft in database %q, which belongs to another role", h.Role, h.Database),
			fmt.Sprintf("connect as the role that owns it, or run pgraft setup for role %s", quoteRole(h.Role))}
	case !h.HasSchema && !h.CanCreate && !h.InRecovery:
		return &Problem{"rights", fmt.Sprintf("role %q may not create schema pgraft in database %q", h.Role, h.Database),
			fmt.Sprintf("run pgraft setup, or as a superuser: GRANT CREATE ON DATABASE %s TO %s", quoteRole(h.Database), quoteRole(h.Role))}
	}
	return nil
}

// Warnings returns what a server of this health lacks of what pgraft can use.
func Warnings(h Health) []*Problem {
	var found []*Problem
	if !h.Superuser && !h.CanReadFiles {
		found = append(found, &Problem{"rights",
			fmt.Sprintf("role %q may not read server files: the SQL functions that show the cluster's state can't work", h.Role),
			fmt.Sprintf("run pgraft setup, or as a superuser: GRANT pg_read_server_files TO %s", quoteRole(h.Role))})
	}
	if !h.DBLinkAvailable && h.DBLinkVersion == "" {
		found = append(found, &Problem{"dblink",
			"extension dblink is not installed: the SQL functions that change the cluster can't work",
			"install PostgreSQL's contrib package (part of postgresql-NN on Debian and Ubuntu, postgresqlNN-contrib on Red Hat)"})
	}
	if h.ReadOnly && !h.InRecovery {
		found = append(found, &Problem{"read_only",
			"default_transaction_read_only is on: pgraft can't write its tables",
			"ALTER ROLE " + quoteRole(h.Role) + " SET default_transaction_read_only = off"})
	}
	return found
}

func quoteRole(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
