package pgext

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// serverState is all that plan decides by.
type serverState struct {
	versionNum    int
	serverVersion string
	inRecovery    bool
	user          string
	superuser     bool
	database      string

	extension, extensionOwner string // of pgraft as an extension, "" = none
	extensionOwnerSuper       bool
	ours                      bool     // schema pgraft has what this package's scripts make
	leftover                  []string // functions of an earlier installation whose schema pgraft was dropped
	inline, inlineSchema      string   // version and functions' schema of pgraft without an extension
	schemaOwner               string   // of schema pgraft, "" = none
	schemaOwnerSuper          bool
	dblink, dblinkAvailable   bool
	available                 bool // the server finds this build's version of the extension

	adminRole    bool     // pgraft_admin exists
	missing      []string // statements that would give the user what it lacks to own the functions
	agentRole    bool     // AgentRole exists
	agentRights  bool     // and has its rights
	localRunDir  string
	localPort    int
	localName    string
	extensionDir string   // where files can be written, "" = nowhere
	files        []string // which files there are missing or of another content
	strange      bool     // the directory has another extension of the name pgraft
}

func (s serverState) installed() string {
	if s.extension != "" {
		return s.extension
	}
	return s.inline
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const inspectSQL = `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
       current_user::text, r.rolsuper, current_database()::text,
       coalesce(e.extversion, ''), coalesce(eo.rolname, ''), coalesce(eo.rolsuper, false),
       coalesce(no.rolname, ''), coalesce(no.rolsuper, false),
       EXISTS (SELECT FROM pg_extension WHERE extname = 'dblink'),
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'dblink'),
       EXISTS (SELECT FROM pg_available_extension_versions WHERE name = 'pgraft' AND version = $1),
       EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgraft_admin'),
       EXISTS (SELECT FROM pg_roles WHERE rolname = $2),
       to_regprocedure('pgraft.version()') IS NOT NULL,
       to_regclass('pgraft.local') IS NOT NULL
  FROM pg_roles AS r
  LEFT JOIN pg_extension AS e ON e.extname = 'pgraft'
  LEFT JOIN pg_roles AS eo ON eo.oid = e.extowner
  LEFT JOIN pg_namespace AS n ON n.nspname = 'pgraft'
  LEFT JOIN pg_roles AS no ON no.oid = n.nspowner
 WHERE r.rolname = current_user`

// inspect reads what plan needs to know. Nothing of schema pgraft is looked into before its owner is found trustworthy.
func inspect(ctx context.Context, conn *pgx.Conn, q querier, opt InstallOptions) (serverState, error) {
	var s serverState
	target, err := opt.Files.Version()
	if err != nil {
		return s, err
	}
	var hasLocal bool
	err = q.QueryRow(ctx, inspectSQL, target, opt.AgentRole).Scan(&s.versionNum, &s.serverVersion, &s.inRecovery,
		&s.user, &s.superuser, &s.database, &s.extension, &s.extensionOwner, &s.extensionOwnerSuper,
		&s.schemaOwner, &s.schemaOwnerSuper, &s.dblink, &s.dblinkAvailable, &s.available, &s.adminRole, &s.agentRole,
		&s.ours, &hasLocal)
	if err != nil {
		return s, installError(fmt.Errorf("inspect server: %w", err))
	}
	if err := trusted(s, opt); err != nil {
		return s, err
	}
	if s.ours && s.extension == "" {
		if err := q.QueryRow(ctx, inlineSQL).Scan(&s.inline, &s.inlineSchema); err != nil {
			return s, installError(fmt.Errorf("read version of schema pgraft: %w", err))
		}
	}
	if hasLocal {
		err := q.QueryRow(ctx, "SELECT run_dir, console_port, node_name FROM pgraft.local").
			Scan(&s.localRunDir, &s.localPort, &s.localName)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return s, installError(fmt.Errorf("read table pgraft.local: %w", err))
		}
	}
	if s.installed() == "" {
		if err := inspectLeftover(ctx, q, &s, opt, target); err != nil {
			return s, err
		}
	}
	if err := inspectRights(ctx, q, &s, opt, hasLocal); err != nil {
		return s, err
	}
	return s, inspectFiles(ctx, conn, q, &s, opt)
}

const inlineSQL = `
SELECT pgraft.version(), coalesce((SELECT n.nspname::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE p.proname = 'pgraft_is_leader' AND p.pronargs = 0
          AND p.proowner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'pgraft') LIMIT 1), '')`

// inspectLeftover finds functions of our names and of our own role. DROP SCHEMA pgraft leaves them behind where there was
// no extension around them.
func inspectLeftover(ctx context.Context, q querier, s *serverState, opt InstallOptions, target string) error {
	names, err := opt.Files.functions(target)
	if err != nil {
		return err
	}
	err = q.QueryRow(ctx, `
SELECT coalesce(array_agg(p.oid::regprocedure::text ORDER BY p.proname), '{}') FROM pg_proc AS p
  JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_roles AS r ON r.oid = p.proowner
 WHERE n.nspname = $1 AND p.proname = ANY ($2) AND r.rolname = current_user`, opt.Schema, names).Scan(&s.leftover)
	if err != nil {
		return fmt.Errorf("look for functions of an earlier installation: %w", err)
	}
	return nil
}

// trusted refuses objects whose owner could run code of his with the agent's rights, by a trigger for instance.
func trusted(s serverState, opt InstallOptions) error {
	ok := func(owner string, super bool) bool {
		return owner == "" || super || owner == s.user || owner == opt.AgentRole
	}
	if ok(s.schemaOwner, s.schemaOwnerSuper) && ok(s.extensionOwner, s.extensionOwnerSuper) {
		return nil
	}
	owner := s.schemaOwner
	if !ok(s.extensionOwner, s.extensionOwnerSuper) {
		owner = s.extensionOwner
	}
	return &InstallError{
		Kind:    InstallForeign,
		Message: fmt.Sprintf("schema or extension pgraft in database %s belongs to role %s", s.database, owner),
		Hint:    fmt.Sprintf("connect as %s, or let a superuser own it: ALTER SCHEMA pgraft OWNER TO …", owner),
	}
}

const rightsSQL = `
SELECT pg_has_role(current_user, 'pg_read_server_files', 'USAGE'),
       has_function_privilege('pg_catalog.pg_read_file(text,bigint,bigint,boolean)', 'EXECUTE'),
       coalesce((SELECT has_function_privilege(p.oid, 'EXECUTE') FROM pg_proc AS p JOIN pg_depend AS d
                     ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                   JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'dblink'
                  WHERE p.proname = 'dblink_connect_u' AND p.pronargs = 2), false),
       has_database_privilege(current_database(), 'CREATE'),
       coalesce((SELECT has_schema_privilege(n.oid, 'CREATE') FROM pg_namespace AS n WHERE n.nspname = $1), false),
       (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user)`

// inspectRights lists what a role that is no superuser lacks to own the functions, as the statements that give it.
func inspectRights(ctx context.Context, q querier, s *serverState, opt InstallOptions, hasTables bool) error {
	if opt.AgentRole != "" && s.agentRole && hasTables {
		if err := q.QueryRow(ctx, agentRightsSQL, opt.AgentRole).Scan(&s.agentRights); err != nil {
			return fmt.Errorf("read rights of role %s: %w", opt.AgentRole, err)
		}
	}
	if s.superuser {
		return nil
	}
	var files, readFile, connect, createDB, createSchema, createRole bool
	err := q.QueryRow(ctx, rightsSQL, opt.Schema).Scan(&files, &readFile, &connect, &createDB, &createSchema, &createRole)
	if err != nil {
		return fmt.Errorf("read own rights: %w", err)
	}
	user := ident(s.user)
	for _, need := range []struct {
		has bool
		sql string
	}{
		{s.dblink, "CREATE EXTENSION dblink"},
		{s.adminRole || createRole, "CREATE ROLE pgraft_admin NOLOGIN"},
		{files, "GRANT pg_read_server_files TO " + user},
		{readFile, "GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) TO " + user},
		{connect, "GRANT EXECUTE ON FUNCTION dblink_connect_u(text, text) TO " + user},
		{createDB, "GRANT CREATE ON DATABASE " + ident(s.database) + " TO " + user},
		{createSchema, "GRANT CREATE ON SCHEMA " + ident(opt.Schema) + " TO " + user},
	} {
		if !need.has {
			s.missing = append(s.missing, need.sql)
		}
	}
	return nil
}

const agentRightsSQL = `
SELECT pg_has_role($1, 'pg_monitor', 'USAGE') AND has_function_privilege($1, 'pgraft.advance(bigint,bigint,bigint,text)', 'EXECUTE')
   AND (SELECT bool_and(has_table_privilege($1, c.oid, 'INSERT') AND has_table_privilege($1, c.oid, 'UPDATE')
                    AND has_table_privilege($1, c.oid, 'DELETE') AND has_table_privilege($1, c.oid, 'SELECT'))
          FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace = 'pgraft'::regnamespace)`

// inspectFiles finds out whether the server's extension directory is this machine's and open to this process.
func inspectFiles(ctx context.Context, conn *pgx.Conn, q querier, s *serverState, opt InstallOptions) error {
	dir, err := extensionDir(ctx, conn, q, opt)
	if dir == "" || err != nil {
		return err
	}
	if s.files, err = opt.Files.differing(dir); err != nil {
		return err
	}
	control, err := os.ReadFile(filepath.Join(dir, controlFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("read control file: %w", err)
	}
	s.strange = strings.Contains(string(control), "module_pathname")
	// Files of another content have the version's number and not its objects.
	s.available = s.available && !slices.ContainsFunc(s.files, func(name string) bool { return name != controlFile })
	if !opt.NoFiles && !s.strange && unix.Access(dir, unix.W_OK) == nil {
		s.extensionDir = dir
	}
	return nil
}

// extensionDir returns "" where the server is another machine's or doesn't say.
func extensionDir(ctx context.Context, conn *pgx.Conn, q querier, opt InstallOptions) (string, error) {
	if opt.ExtensionDir != "" {
		return opt.ExtensionDir, nil
	}
	if !local(conn.Config().Host) {
		return "", nil
	}
	var allowed bool
	if err := q.QueryRow(ctx, "SELECT has_function_privilege('pg_catalog.pg_config()', 'EXECUTE')").Scan(&allowed); err != nil {
		return "", fmt.Errorf("read own rights: %w", err)
	}
	if !allowed {
		return "", nil
	}
	var share string
	if err := q.QueryRow(ctx, "SELECT setting FROM pg_config() WHERE name = 'SHAREDIR'").Scan(&share); err != nil {
		return "", fmt.Errorf("read SHAREDIR: %w", err)
	}
	dir := filepath.Join(share, "extension")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", nil
	}
	return dir, nil
}

func local(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func removeFiles(dir string, names []string) error {
	for _, name := range slices.Backward(names) { // the control file first
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove extension file: %w", err)
		}
	}
	return nil
}
