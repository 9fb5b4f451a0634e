package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/command/demo"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/internal/loglimit"
)

type agentCmd struct {
	set  *flag.FlagSet
	opts config.Flags
}

func (c *agentCmd) spec() spec {
	return spec{
		name: "agent", ownSignals: true,
		synopsis: "Run the agent beside a PostgreSQL",
		help: "Stays in the foreground. SIGTERM or Ctrl-C hands leadership over and stops; the node stays a member and comes back " +
			"when the agent starts again (to retire it: pgraft leave). A second signal stops at once. SIGHUP reads the " +
			"configuration again. With -dev it starts a PostgreSQL of its own, too, and removes everything at the end.",
		examples: []string{
			"pgraft agent -config=/etc/pgraft.d",
			"pgraft agent -config=/etc/pgraft.d -join=10.0.0.11",
			"pgraft agent -dev",
		},
	}
}

func (c *agentCmd) flags(fs *flag.FlagSet) {
	c.set, c.opts = fs, config.Flags{}
	c.opts.Register(fs)
}

func (c *agentCmd) run(ctx context.Context, x *call) (err error) {
	signal.Ignore(syscall.SIGPIPE)
	cfg, err := c.load(x.stderr)
	if err != nil {
		return err
	}
	if cfg.DevDir != "" {
		// Mkdir refuses one that exists, whose content is not ours to remove.
		if err := os.Mkdir(cfg.DevDir, 0o755); err != nil {
			return fmt.Errorf("create the directory of -dev: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.DevDir)) }()
	}
	if cfg.Dev && !cfg.Postgres.Enabled && !cfg.Witness {
		return c.dev(ctx, x, cfg)
	}
	return serve(ctx, &c.opts, cfg, x.stderr)
}

func (c *agentCmd) load(stderr io.Writer) (*config.Config, error) {
	cfg, warnings, err := config.Load(config.LoadOptions{Flags: &c.opts})
	writeWarnings(stderr, warnings)
	if err != nil {
		return nil, configError(err)
	}
	return cfg, nil
}

// devPostgresOffset is where -dev's PostgreSQL listens, counted from the HTTP port, as in the demo.
const devPostgresOffset = 4

// dev gives the agent a PostgreSQL of its own, as if -postgres had named it.
func (c *agentCmd) dev(ctx context.Context, x *call, cfg *config.Config) (err error) {
	fmt.Fprintln(x.stderr, "Starting a PostgreSQL for this agent …")
	starting, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	server, err := demo.StartDevServer(starting, cfg.Ports.HTTP+devPostgresOffset)
	cancel()
	if err != nil {
		return demoAdvice(err)
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := c.set.Set("postgres", server.DSN()); err != nil {
		return fmt.Errorf("name PostgreSQL to the agent: %w", err)
	}
	if cfg, err = c.load(io.Discard); err != nil {
		return err
	}
	fmt.Fprintf(x.stdout, "One throwaway node; Ctrl-C stops and removes it. Try:\n  psql \"%s\" -c 'SELECT * FROM pgraft_get_nodes()'\n"+
		"  psql -h %s -p %d -c 'SHOW NODES'\n  curl %s/v1/status\n", server.DSN(), cfg.RunDir, cfg.Ports.Console, cfg.HTTPURL())
	return serve(ctx, &c.opts, cfg, x.stderr)
}

// agentProcess is what this file needs of package agent.
type agentProcess interface {
	// Run works until ctx ends, then hands leadership over and stops.
	Run(ctx context.Context) error
	// Reload reads the configuration again and logs what it could and could not apply.
	Reload() error
}

// supervise runs an agent and translates signals for it.
func supervise(ctx context.Context, a agentProcess, log hclog.Logger, signals <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stopping := false
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				if err := a.Reload(); err != nil {
					log.Error("configuration not reloaded", "error", err)
				}
			case stopping:
				return &exitError{code: exitFailed, err: fmt.Errorf("stopped at once by a second signal (%s)", s)}
			default:
				log.Info("stopping: leadership is handed over, this node stays a member; a second signal stops at once", "signal", s)
				stopping = true
				stop()
			}
		}
	}
}

// agentSignals catches what an agent reacts to.
func agentSignals() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return signals, func() { signal.Stop(signals) }
}

// newLogger logs to w and hands a copy of everything to the sinks that `pgraft monitor` registers.
func newLogger(cfg *config.Config, w io.Writer) hclog.InterceptLogger {
	return hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Name:       "pgraft",
		Level:      hclog.LevelFromString(cfg.LogLevel),
		JSONFormat: cfg.LogJSON,
		Output:     w,
		Exclude:    quietRepeats().Exclude,
	})
}

// repeatPeriod is how often the log says again that the same peer is still not reached.
const repeatPeriod = 30 * time.Second

// quietRepeats holds back what Raft says many times a second, for as long as it lasts, of a peer that is down.
func quietRepeats() *loglimit.Limiter {
	return loglimit.New(repeatPeriod, map[string]string{
		"failed to heartbeat to": "peer", "failed to appendEntries to": "peer", "failed to pipeline appendEntries": "peer",
		"failed to make requestVote RPC": "target", "failed to contact": "server-id", "failed to install snapshot": "peer",
		"appendEntries rejected, sending older logs": "peer", "failed to get previous log": "",
		"refused a connection": "reason", "failed to decode incoming command": "",
	}, time.Now)
}
