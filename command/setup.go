package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/pgext"
)

type setupCmd struct {
	confirmation
	output
	configs     []string
	dsn, runDir string
	consolePort int
	opt         pgext.InstallOptions
	timeout     time.Duration
}

func (c *setupCmd) spec() spec {
	return spec{
		name:     "setup",
		synopsis: "Prepare a PostgreSQL for pgraft: role, extension, dblink",
		help: "Says exactly what would change and, with -yes, changes it; what is there already is left alone, so it can be run " +
			"again. Connect as a superuser. The connection and the paths are those of the agent's configuration (-config), or given " +
			"by flags. An agent that connects as a superuser does all this by itself.",
		examples: []string{
			"pgraft setup -config=/etc/pgraft.d",
			"pgraft setup -dsn='host=/var/run/postgresql user=postgres' -agent-role=pgraft_agent -yes",
		},
	}
}

func (c *setupCmd) flags(fs *flag.FlagSet) {
	c.confirmation.flags(fs)
	c.output.flags(fs)
	fs.Func("config", "the agent's configuration, a `file or directory`; repeatable", func(s string) error {
		c.configs = append(c.configs, s)
		return nil
	})
	fs.StringVar(&c.dsn, "dsn", "", "`connection string` of the PostgreSQL (default: the configuration's, or PGHOST and the like)")
	fs.StringVar(&c.runDir, "run-dir", "", "the agent's run_dir, a `directory` that PostgreSQL's user can read")
	fs.IntVar(&c.consolePort, "console-port", 0, "the agent's ports.console, a `number`")
	fs.StringVar(&c.opt.AgentRole, "agent-role", "", "`role` that the agent will connect as, created if it is missing")
	fs.StringVar(&c.opt.Schema, "schema", "", "`schema` for the pgraft_* functions (default public)")
	fs.StringVar(&c.opt.ExtensionDir, "extension-dir", "", "where to write the extension's files (default: as the server says)")
	fs.BoolVar(&c.opt.NoFiles, "no-files", false, "write no files: make the same objects without an extension around them")
	fs.DurationVar(&c.timeout, "timeout", time.Minute, "give up after this `duration`")
}

func (c *setupCmd) run(ctx context.Context, x *call) error {
	cfg, err := c.load(x.stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	opt := c.opt
	opt.RunDir, opt.ConsolePort, opt.NodeName = cfg.RunDir, cfg.Ports.Console, cfg.NodeName
	changes, err := pgext.Plan(ctx, conn, opt)
	if err != nil {
		return installAdvice(err)
	}
	if !c.yes || len(changes) == 0 {
		return c.print(x.stdout, changes, func(w io.Writer) error { return writePlan(w, changes) })
	}
	report, err := pgext.Install(ctx, conn, opt)
	if err != nil {
		return installAdvice(err)
	}
	return c.print(x.stdout, report.Changes, func(w io.Writer) error { return writeInstalled(w, report) })
}

// load takes the agent's configuration if one is given, else the defaults, and lays the flags over it.
func (c *setupCmd) load(stderr io.Writer) (*config.Config, error) {
	cfg := config.Default()
	if len(c.configs) > 0 {
		var warnings []config.Problem
		var err error
		cfg, warnings, err = config.Load(config.LoadOptions{Paths: c.configs})
		writeWarnings(stderr, warnings)
		if err != nil {
			return nil, configError(err)
		}
	}
	if c.runDir != "" {
		cfg.RunDir = c.runDir
	}
	if c.consolePort != 0 {
		cfg.Ports.Console = c.consolePort
	}
	if cfg.NodeName == "" {
		cfg.NodeName, _ = os.Hostname()
	}
	return cfg, nil
}

func (c *setupCmd) connect(ctx context.Context, cfg *config.Config) (*pgx.Conn, error) {
	dsn := c.dsn
	if dsn == "" {
		dsn = cfg.Postgres.DSN
	}
	pgcfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, advise(fmt.Errorf("read connection string: %w", err), "It looks like: host=/var/run/postgresql user=postgres dbname=postgres")
	}
	if c.dsn == "" && len(c.configs) > 0 {
		pgcfg.Database = cfg.Postgres.Database
	}
	pgcfg.RuntimeParams["application_name"] = "pgraft setup"
	conn, err := pgx.ConnectConfig(ctx, pgcfg)
	if err != nil {
		return nil, advise(fmt.Errorf("connect to PostgreSQL: %w", err), connectAdvice(err))
	}
	return conn, nil
}

// connectAdvice knows the commonest obstacle: peer authentication, which lets a role in as its own system user only.
func connectAdvice(err error) string {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && refused.Code == pgerrcodeInvalidAuthorization {
		return "Run it as the system user that the role belongs to, for example: sudo -u postgres pgraft setup …; or name a host and a password in -dsn."
	}
	return "Check that it runs, and say how to reach it as a superuser with -dsn."
}

// pgerrcodeInvalidAuthorization is PostgreSQL's invalid_authorization_specification.
const pgerrcodeInvalidAuthorization = "28000"

func installAdvice(err error) error {
	var obstacle *pgext.InstallError
	if errors.As(err, &obstacle) {
		return advise(errors.New(obstacle.Message), sentence(obstacle.Hint))
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Hint != "" {
		return advise(err, sentence(pg.Hint))
	}
	return err
}

func writePlan(w io.Writer, changes []pgext.Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "Nothing to change: this PostgreSQL is ready for pgraft.")
		return err
	}
	if _, err := fmt.Fprintf(w, "%s to make:\n", count(len(changes), "change")); err != nil {
		return err
	}
	if err := writeChangeList(w, changes); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nNothing was changed yet. To make these changes run it again with -yes.")
	return err
}

func writeChangeList(w io.Writer, changes []pgext.Change) error {
	var b strings.Builder
	for i, ch := range changes {
		fmt.Fprintf(&b, "\n%s\n", hanging(fmt.Sprintf("%d. %s", i+1, ch.What), "", "   "))
		if len(ch.Files) > 0 {
			fmt.Fprintf(&b, "     in %s: %s\n", ch.Dir, strings.Join(ch.Files, ", "))
		}
		if ch.SQL != "" {
			fmt.Fprintf(&b, "     %s\n", strings.ReplaceAll(strings.TrimSpace(shorten(ch.SQL)), "\n", "\n     "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shorten keeps a whole script from filling the screen; -format=json shows all of it.
func shorten(sql string) string {
	const most = 8
	lines := strings.Split(sql, "\n")
	if len(lines) <= most {
		return sql
	}
	return strings.Join(lines[:most], "\n") + fmt.Sprintf("\n… and %d more lines (all of them with -format=json)", len(lines)-most)
}

func writeInstalled(w io.Writer, r pgext.InstallReport) error {
	if _, err := fmt.Fprintf(w, "Done: %s.\n", count(len(r.Changes), "change")); err != nil {
		return err
	}
	if err := writeChangeList(w, r.Changes); err != nil {
		return err
	}
	if r.Inline {
		why := ""
		if r.FilesError != nil {
			why = " (" + r.FilesError.Error() + ")"
		}
		_, err := fmt.Fprintf(w, "\nThe extension's files could not be written%s: the same objects are there without an extension.\n", why)
		return err
	}
	return nil
}
