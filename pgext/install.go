package pgext

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// advisoryLock keeps installations in one database apart.
const advisoryLock = 0x706772616674 // "pgraft"

// InstallOptions say what Install and Plan bring about.
type InstallOptions struct {
	RunDir      string // where the agent keeps its status file and its console socket; must be set
	ConsolePort int
	NodeName    string
	// Schema takes the pgraft_* functions; default public.
	Schema string
	// AgentRole is the role that the agent will connect as, when that is not the installing one. It is created if
	// missing and may then write the rows and nothing else; upgrades stay with the installing role.
	AgentRole string
	// ExtensionDir overrides SHAREDIR/extension as the server names it.
	ExtensionDir string
	// NoFiles leaves SHAREDIR alone.
	NoFiles bool
	// Files are the extension's files; the zero value means those of this build.
	Files Files
}

func (o InstallOptions) withDefaults() InstallOptions {
	if o.Schema == "" {
		o.Schema = "public"
	}
	if o.Files.fs == nil {
		o.Files = EmbeddedFiles()
	}
	return o
}

// Change is one thing that an installation does to a server, for people to read before it is done.
type Change struct {
	What  string   `json:"what"`
	SQL   string   `json:"sql,omitempty"`   // what is run, "" for files
	Dir   string   `json:"dir,omitempty"`   // where Files are written
	Files []string `json:"files,omitempty"` // names in Dir
}

// InstallReport tells what Install did and found.
type InstallReport struct {
	ServerVersion string   // PostgreSQL's
	Version       string   // of the extension, now
	Inline        bool     // objects without an extension around them, as its files could not be written
	Newer         bool     // a later version than this build's is installed and was left alone
	ReadOnly      bool     // the server is a standby: it has what its primary has
	FilesError    error    // why extension files could not be written, if it was tried
	Changes       []Change // what was done; empty when all was there
}

// InstallErrorKind says which of the known obstacles stopped an installation.
type InstallErrorKind string

// The known obstacles.
const (
	InstallNoRights InstallErrorKind = "rights"    // the role lacks rights; the hint lists what to grant
	InstallNoDblink InstallErrorKind = "dblink"    // the server has no dblink to install
	InstallTooOld   InstallErrorKind = "too_old"   // PostgreSQL is older than 14
	InstallForeign  InstallErrorKind = "foreign"   // something else of the same name, or of an owner not to be trusted
	InstallStandby  InstallErrorKind = "standby"   // nothing is there and nothing can be written
	InstallNoFiles  InstallErrorKind = "no_files"  // an upgrade needs files that can't be written
	InstallNoScript InstallErrorKind = "no_script" // no way leads from the installed version to this one
)

// InstallError is an obstacle and what to do about it.
type InstallError struct {
	Kind    InstallErrorKind
	Message string
	Hint    string
	Err     error // PostgreSQL's error, if one said so
}

// Error returns the message and the hint.
func (e *InstallError) Error() string { return e.Message + " (" + e.Hint + ")" }

// Unwrap returns PostgreSQL's error.
func (e *InstallError) Unwrap() error { return e.Err }

// Plan returns what Install would do, and changes nothing.
func Plan(ctx context.Context, conn *pgx.Conn, opt InstallOptions) ([]Change, error) {
	opt = opt.withDefaults()
	s, err := inspect(ctx, conn, conn, opt)
	if err != nil {
		return nil, err
	}
	return plan(s, opt)
}

// Install brings the server to this build's version: extension files where they can be written, dblink, the extension
// or, failing the files, the same objects without one, the row that tells the functions where the agent is, and the
// agent's rights. What is there already is left as it is, so it can be run at each start and by several at once.
func Install(ctx context.Context, conn *pgx.Conn, opt InstallOptions) (InstallReport, error) {
	opt = opt.withDefaults()
	s, err := inspect(ctx, conn, conn, opt)
	if err != nil {
		return InstallReport{}, err
	}
	report := InstallReport{ServerVersion: s.serverVersion, ReadOnly: s.inRecovery}
	changes, err := plan(s, opt)
	if err != nil {
		return report, err
	}
	if len(changes) == 0 {
		return report.with(s, opt), nil
	}
	files := changes[0]
	if files.Dir != "" {
		if report.FilesError = opt.Files.write(files.Dir, files.Files); report.FilesError == nil {
			report.Changes = append(report.Changes, files)
		}
	}
	if s.inRecovery {
		return report.with(s, opt), nil
	}
	opt.NoFiles = true // they are written now, or can't be
	done, s, err := apply(ctx, conn, opt)
	if err != nil {
		return report, installError(err)
	}
	report.Changes = append(report.Changes, done...)
	return report.with(s, opt), nil
}

func (r InstallReport) with(s serverState, opt InstallOptions) InstallReport {
	r.Inline = s.extension == "" && s.inline != ""
	r.Version = s.installed()
	target, err := opt.Files.Version()
	r.Newer = err == nil && newer(r.Version, target)
	return r
}

// apply does all of it in one transaction, and looks again once it holds the lock.
func apply(ctx context.Context, conn *pgx.Conn, opt InstallOptions) ([]Change, serverState, error) {
	var none serverState
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return nil, none, fmt.Errorf("begin installation: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Without a standby that confirms, a synchronous commit would never end.
	if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = local; SET LOCAL lock_timeout = '60s'"); err != nil {
		return nil, none, fmt.Errorf("prepare installation: %w", err)
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(advisoryLock)); err != nil {
		return nil, none, fmt.Errorf("lock installation: %w", err)
	}
	s, err := inspect(ctx, conn, tx, opt)
	if err != nil {
		return nil, none, err
	}
	changes, err := plan(s, opt)
	if err != nil {
		return nil, none, err
	}
	for _, c := range changes {
		if _, err := conn.PgConn().Exec(ctx, c.SQL).ReadAll(); err != nil {
			return nil, none, fmt.Errorf("%s: %w", c.What, err)
		}
	}
	if s, err = inspect(ctx, conn, tx, opt); err != nil {
		return nil, none, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, none, fmt.Errorf("commit installation: %w", err)
	}
	return changes, s, nil
}

// installError recognises a lack of rights that PostgreSQL found out itself.
func installError(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42501" {
		return err
	}
	return &InstallError{
		Kind: InstallNoRights, Message: err.Error(), Err: err,
		Hint: "run pgraft setup with the dsn of a superuser",
	}
}

// Uninstall removes the extension's objects from the database, the rows with them. Role pgraft_admin, dblink and the
// files stay: other databases may use them.
func Uninstall(ctx context.Context, conn *pgx.Conn, opt InstallOptions) error {
	opt = opt.withDefaults()
	s, err := inspect(ctx, conn, conn, opt)
	if err != nil {
		return err
	}
	switch {
	case s.extension != "":
		_, err = conn.Exec(ctx, "DROP EXTENSION pgraft")
	case s.inline != "":
		_, err = conn.Exec(ctx, dropInline, pgx.QueryExecModeSimpleProtocol, s.inlineSchema)
	}
	if err != nil {
		return fmt.Errorf("remove extension: %w", err)
	}
	return nil
}

// dropInline removes what the script made, in one statement and so in one transaction. $1 is the functions' schema.
const dropInline = `
SET LOCAL pgraft.uninstall = $1;
DO $$
DECLARE
    f regprocedure;
BEGIN
    DROP VIEW pgraft.members, pgraft.health;
    FOR f IN SELECT p.oid FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
              WHERE n.nspname = pg_catalog.current_setting('pgraft.uninstall') AND p.proname LIKE 'pgraft\_%'
                AND p.proowner = (SELECT o.nspowner FROM pg_catalog.pg_namespace AS o WHERE o.nspname = 'pgraft')
    LOOP
        EXECUTE pg_catalog.format('DROP FUNCTION %s', f);
    END LOOP;
    DROP SCHEMA pgraft CASCADE;
END $$`

// RemoveFiles takes the extension's files out of a directory.
func (f Files) RemoveFiles(dir string) error {
	names, err := f.names()
	if err != nil {
		return err
	}
	return removeFiles(dir, names)
}
