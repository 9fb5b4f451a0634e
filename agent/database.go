package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/pgext"
	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/rolelog"
)

// database is the PostgreSQL beside the agent: its health, and the applier that brings it to what the log says. A
// witness has none; the methods of a nil database say so.
type database struct {
	cfg     *config.Config
	server  *managed.Server // nil: someone else runs PostgreSQL
	log     hclog.Logger
	monitor *postgres.Monitor
	applier *fsm.Applier
	roles   *rolelog.Writer

	mu      sync.Mutex // guards version
	version string     // of the extension, as the last installation found it
}

func newDatabase(cfg *config.Config, server *managed.Server, f *fsm.FSM, caught func() bool, log hclog.Logger) *database {
	if !cfg.Postgres.Enabled {
		return nil
	}
	d := &database{cfg: cfg, server: server, log: log}
	d.monitor = postgres.NewMonitor(postgres.MonitorConfig{
		Connect: d.connect, Interval: cfg.Postgres.HealthInterval, Logger: log.Named("postgres"),
	})
	d.applier = fsm.NewApplier(fsm.ApplierConfig{
		FSM: f, Connect: d.connect, Prepare: d.prepare, Caught: caught, NodeName: cfg.NodeName, Logger: log.Named("applier"),
	})
	d.roles = rolelog.New(d.connect, log.Named("postgres"))
	return d
}

// saw has PostgreSQL's log tell of a change of role.
func (d *database) saw(s *api.Status) {
	if d != nil {
		d.roles.Saw(rolelog.Of(s))
	}
}

// connect opens a session in the database that holds schema pgraft.
func (d *database) connect(ctx context.Context) (*pgx.Conn, error) {
	return connectPostgres(ctx, d.cfg, d.server)
}

func connectPostgres(ctx context.Context, cfg *config.Config, server *managed.Server) (*pgx.Conn, error) {
	conninfo, err := pgx.ParseConfig(localDSN(cfg, server))
	if err != nil {
		return nil, fmt.Errorf("read postgres.dsn: %w", err)
	}
	if cfg.Managed() {
		// Ours must get through where commits wait for standbys, and where clients may not write.
		conninfo.RuntimeParams["synchronous_commit"] = "local"
		conninfo.RuntimeParams["default_transaction_read_only"] = "off"
	}
	conninfo.Database = cfg.Postgres.Database
	if _, set := conninfo.RuntimeParams["application_name"]; !set {
		conninfo.RuntimeParams["application_name"] = "pgraft " + cfg.NodeName
	}
	conn, err := pgx.ConnectConfig(ctx, conninfo)
	if err != nil {
		return nil, err // the caller says what it connects for
	}
	return conn, nil
}

// localDSN is how the agent reaches its PostgreSQL: one that it runs itself lets it in by its socket. One that was
// adopted while it ran has its own until it is restarted.
func localDSN(cfg *config.Config, server *managed.Server) string {
	if !cfg.Managed() {
		return cfg.Postgres.DSN
	}
	dir, port := cfg.PostgresSocketDir(), cfg.PostgresPort()
	if server != nil {
		dir, port = server.Socket()
	}
	return fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable target_session_attrs=any", postgres.QuoteConninfo(dir), port)
}

// prepare installs or upgrades schema and functions.
func (d *database) prepare(ctx context.Context, conn *pgx.Conn) error {
	report, err := pgext.Install(ctx, conn, pgext.InstallOptions{
		RunDir: d.cfg.RunDir, ConsolePort: d.cfg.Ports.Console, NodeName: d.cfg.NodeName,
	})
	if err != nil {
		return fmt.Errorf("install the extension: %w", err)
	}
	for _, c := range report.Changes {
		d.log.Info("changed PostgreSQL", "what", c.What)
	}
	d.mu.Lock()
	d.version = report.Version
	d.mu.Unlock()
	return nil
}

func (d *database) open() {
	d.monitor.Open()
	d.applier.Open()
}

func (d *database) close() {
	d.applier.Close()
	d.monitor.Close()
}

// runWake makes the applier try at once when PostgreSQL came back, instead of at its next turn.
func (d *database) runWake(ctx context.Context) {
	was := false
	for {
		state, changed := d.monitor.State()
		if state.Up && !was {
			d.applier.Wake()
		}
		was = state.Up
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// status is what the node says of its PostgreSQL.
func (d *database) status() api.PostgresStatus {
	if d == nil {
		return api.PostgresStatus{}
	}
	state, _ := d.monitor.State()
	applier := d.applier.Status()
	s := api.PostgresStatus{
		Enabled: true, Up: state.Up, Mode: d.cfg.Postgres.Mode, Address: d.cfg.PostgresAdvertise(),
		Database: d.cfg.Postgres.Database, ServerVersion: state.Health.Version, InRecovery: state.Health.InRecovery,
		AppliedIndex: applier.AppliedIndex, LagEntries: applier.LagEntries, LagMS: applier.Lag.Milliseconds(),
	}
	if applier.Lag < 0 {
		s.LagMS = -1
	}
	d.mu.Lock()
	s.ExtensionVersion = d.version
	d.mu.Unlock()
	if s.ExtensionVersion == "" {
		s.ExtensionVersion = state.Health.ExtensionVersion // on a standby it came from the primary
	}
	switch {
	case applier.LastError != "":
		s.Error, s.ErrorSince = applier.LastError, applier.ErrorSince
	case state.Err != nil:
		s.Error, s.ErrorSince = state.Err.Error(), state.Since
	}
	return s
}

// recovering reports whether rows are missing that the cluster has agreed on: the applier has not begun, writes a
// difference, or is further behind than a moment's work.
func (d *database) recovering() bool {
	if d == nil {
		return false
	}
	s := d.applier.Status()
	return !s.Known || s.Diffing || s.Lag > recoveringLag
}

// recoveringLag is how old the oldest missing row may be before the node counts as catching up.
const recoveringLag = 2 * time.Second

// settingsTimeout bounds how long the start waits for PostgreSQL's pgraft.* settings.
const settingsTimeout = 3 * time.Second

// readPostgresDefaults puts the pgraft.* settings of postgresql.conf under what files and flags say. A PostgreSQL that
// does not answer is no reason not to start: the settings then count from the next start on.
func readPostgresDefaults(ctx context.Context, cfg *config.Config, log hclog.Logger) error {
	if !cfg.Postgres.Enabled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settingsTimeout)
	defer cancel()
	conn, err := connectPostgres(ctx, cfg, nil)
	if err != nil && cfg.Managed() {
		return nil // it is this agent's to start it
	}
	if err != nil {
		log.Warn("PostgreSQL did not answer at start: its pgraft.* settings count from the next start on", "error", err)
		return nil
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	found, err := postgres.ReadSettings(ctx, conn)
	if err != nil {
		log.Warn("could not read the pgraft.* settings of PostgreSQL", "error", err)
		return nil
	}
	settings := make(map[string]string, len(found))
	for name, s := range found {
		settings[name] = s.Value
	}
	problems, err := cfg.ApplyPostgresDefaults(settings)
	for _, p := range problems {
		log.Warn("setting of PostgreSQL", "problem", p.String())
	}
	if err != nil {
		return fmt.Errorf("apply the pgraft.* settings of PostgreSQL: %w", err)
	}
	return nil
}
