package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/internal/version"
	"github.com/pgraft/pgraft/pgext"
)

// openHTTP serves the API on its own port, and what other agents send on at the internal one.
func (a *Agent) openHTTP(context.Context) error {
	hc := httpapi.Config{
		Logger: a.log.Named("http"), FSM: a.fsm, Status: a, Proposer: proposer{a}, Reader: reader{a}, Sessions: sessions{a},
		Members: &a.board, Agent: lifecycle{a}, Operator: operator{a}, Keyring: keyrings{a}, Snapshots: snapshots{a},
		LeaderProxy: a.metrics.RPCTransport("api", a.toLeader()), Metrics: a.metrics.Handler(), Observe: a.metrics.ObserveHTTP,
		TempDir: a.cfg.DataDir, Version: version.Version, Primacy: a.primacy,
		NodeProxy: func(id string) http.RoundTripper {
			return a.metrics.RPCTransport("api", a.raft.PeerTransport(raft.ServerID(id)))
		},
	}
	if a.failover != nil {
		hc.Cluster = clusterOrders{a}
	}
	a.http = httpapi.New(hc)
	server := a.http.HTTPServer()
	listener, err := listen("HTTP API", "ports.http", a.cfg.HTTPAddr())
	if err != nil {
		return err
	}
	serve := func() error { return server.Serve(listener) }
	if a.cfg.HTTP.TLS {
		server.TLSConfig = a.tls.Server()
		serve = func() error { return server.ServeTLS(listener, "", "") }
	}
	a.serve("HTTP API", serve)
	a.onClose(func() error { a.http.Close(); return shutdown(server) })
	return a.openPrometheus()
}

// openPrometheus serves the metrics on a port of their own, where telemetry.prometheus_addr asks for it.
func (a *Agent) openPrometheus() error {
	if a.cfg.Telemetry.PrometheusAddr == "" {
		return nil
	}
	listener, err := listen("metrics", "telemetry.prometheus_addr", a.cfg.Telemetry.PrometheusAddr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	a.serve("metrics", func() error { return server.Serve(listener) })
	a.onClose(func() error { return shutdown(server) })
	return nil
}

// serve runs a server; if it fails while the agent lives, the agent stops, since half an agent is worse than none.
func (a *Agent) serve(what string, run func() error) {
	a.servers.Go(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			a.stop(fmt.Errorf("serve %s: %w", what, err))
		}
	})
}

// listen explains a port that can't be had.
func listen(what, key, addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s on %s: %w: stop what uses the port, or set another %s", what, addr, err, key)
	}
	return listener, nil
}

// shutdownTimeout bounds how long a stopping agent waits for requests under way.
const shutdownTimeout = 2 * time.Second

func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}

func (a *Agent) openConsole(context.Context) error {
	console := pgext.NewConsole(pgext.ConsoleConfig{
		Backend: consoleBackend{a}, RunDir: a.cfg.RunDir, Port: a.cfg.Ports.Console, AllowUIDs: postgresUsers(),
		Logger: a.log.Named("console"),
	})
	if err := console.Open(); err != nil {
		return err
	}
	a.onClose(console.Close)
	a.handleInternal()
	return nil
}
