package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/pgraft/pgraft/postgres"
)

// How long a PostgreSQL may take to stop in each way, the gentle one first.
const (
	fastStop      = 10 * time.Second
	immediateStop = 10 * time.Second
	killStop      = 10 * time.Second
)

// smallServer fits several PostgreSQL servers on one machine.
var smallServer = map[string]string{"shared_buffers": "32MB", "max_connections": "50"}

func (n *node) newServer() error {
	var err error
	n.server, err = newServer(n.pgData(), n.serverLog(), n.port(portPostgres), n.superuser)
	return err
}

// newServer describes a small PostgreSQL. It is durable; only initdb does without fsync, as nothing is lost if it fails.
func newServer(dataDir, logFile string, port int, superuser string) (*postgres.Instance, error) {
	params := map[string]string{"fsync": "on", "full_page_writes": "on"}
	maps.Copy(params, smallServer)
	return postgres.New(postgres.Config{
		DataDir: dataDir, LogFile: logFile, Host: host, Port: port, Superuser: superuser, NoSync: true, Params: params,
	})
}

func serverError(err error) error {
	if errors.Is(err, postgres.ErrNoBinaries) {
		return &Error{errors.New("PostgreSQL's server programs (initdb, postgres) are not found"),
			"Install them: apt-get install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora, Red Hat), " +
				"brew install postgresql@17 (macOS). Installed elsewhere: put their directory into PATH."}
	}
	return err
}

func (n *node) startServer(ctx context.Context) error {
	if err := n.server.Init(ctx); err != nil {
		return fmt.Errorf("prepare PostgreSQL of %s: %w", n.name, err)
	}
	if err := n.server.Start(ctx); err != nil {
		return fmt.Errorf("start PostgreSQL of %s: %w", n.name, err)
	}
	return nil
}

func (n *node) stopServer() error {
	if err := stopServer(n.server); err != nil {
		return fmt.Errorf("stop PostgreSQL of %s: %w", n.name, err)
	}
	return nil
}

// stopServer stops a PostgreSQL, ever more firmly.
func stopServer(server *postgres.Instance) error {
	within := func(d time.Duration, f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		return f(ctx)
	}
	steps := []func() error{
		func() error {
			return within(fastStop, func(ctx context.Context) error { return server.Stop(ctx, postgres.StopFast) })
		},
		func() error {
			return within(immediateStop, func(ctx context.Context) error { return server.Stop(ctx, postgres.StopImmediate) })
		},
		func() error { return within(killStop, server.Kill) },
	}
	var err error
	for _, step := range steps {
		if err = step(); err == nil {
			return nil
		}
	}
	return err
}
