package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

func join(host string, port int) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}

// RaftBind is where Raft and the internal calls listen.
func (c *Config) RaftBind() string { return join(c.BindAddr, c.Ports.Raft) }

// RaftAdvertise is where other nodes reach this node's Raft port.
func (c *Config) RaftAdvertise() string { return join(c.AdvertiseAddr, c.Ports.Raft) }

// GossipAdvertise is where other nodes reach this node's gossip port.
func (c *Config) GossipAdvertise() string { return join(c.AdvertiseAddr, c.Ports.Gossip) }

// HTTPAddr is where the HTTP API listens.
func (c *Config) HTTPAddr() string { return join(c.HTTP.Addr, c.Ports.HTTP) }

// HTTPAdvertise is where others reach the HTTP API: the address it listens on, or the advertised one where it listens
// on all.
func (c *Config) HTTPAdvertise() string {
	if addr, err := netip.ParseAddr(c.HTTP.Addr); err == nil && addr.IsUnspecified() {
		return join(c.AdvertiseAddr, c.Ports.HTTP)
	}
	return c.HTTPAddr()
}

// HTTPURLForOthers is HTTPURL for the other nodes: empty where the API listens on the loopback address and this node is
// reached from other hosts, since there it would name the asker's own agent.
func (c *Config) HTTPURLForOthers() string {
	if isLoopback(c.HTTP.Addr) && !isLoopback(c.AdvertiseAddr) {
		return ""
	}
	return c.HTTPURL()
}

// HTTPURL is HTTPAdvertise as a base URL.
func (c *Config) HTTPURL() string {
	if c.HTTP.TLS {
		return "https://" + c.HTTPAdvertise()
	}
	return "http://" + c.HTTPAdvertise()
}

// ConsolePath is the console's Unix socket, named as psql -h RUN_DIR -p PORT looks for it.
func (c *Config) ConsolePath() string {
	return filepath.Join(c.RunDir, ".s.PGSQL."+strconv.Itoa(c.Ports.Console))
}

// StatusPath is the status file that the SQL functions read.
func (c *Config) StatusPath() string { return filepath.Join(c.RunDir, "status.json") }

// TLSEnabled reports whether Raft and the internal calls are encrypted.
func (c *Config) TLSEnabled() bool { return c.TLS.CertFile != "" }

// JoinAddrs returns the nodes to join, those of -join first, each once, with the gossip port where none is given.
func (c *Config) JoinAddrs() []string {
	var out []string
	for _, a := range slices.Concat(c.Join, c.RetryJoin) {
		host, port, err := splitHostPort(a, c.Ports.Gossip)
		if err != nil {
			continue // validate has refused it
		}
		if addr := join(host, port); !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// PostgresAdvertise is where clients reach this node's PostgreSQL, empty without one. Where it is not set, it is the
// host of the dsn, or the advertised address where that host is a socket or loopback, with PostgreSQL's port.
func (c *Config) PostgresAdvertise() string {
	p := c.Postgres
	switch {
	case !p.Enabled:
		return ""
	case p.Advertise != "":
		return p.Advertise
	case p.Mode == ModeManaged:
		_, port, err := splitHostPort(p.Listen, 5432)
		if err != nil {
			return ""
		}
		return join(c.AdvertiseAddr, port)
	}
	conn, err := pgconn.ParseConfig(p.DSN)
	if err != nil {
		return ""
	}
	if strings.HasPrefix(conn.Host, "/") || strings.HasPrefix(conn.Host, "@") || isLoopback(conn.Host) {
		return join(c.AdvertiseAddr, int(conn.Port))
	}
	return join(conn.Host, int(conn.Port))
}

// PostgresPort is the port of a managed PostgreSQL, 0 without one.
func (c *Config) PostgresPort() int {
	if c.Postgres.Mode != ModeManaged {
		return 0
	}
	_, port, err := splitHostPort(c.Postgres.Listen, 0)
	if err != nil {
		return 0
	}
	return port
}

// PostgresSocketDir is where a managed PostgreSQL has its Unix socket.
func (c *Config) PostgresSocketDir() string { return filepath.Join(c.RunDir, "postgresql") }

// PostgresSocketPath is a managed PostgreSQL's Unix socket.
func (c *Config) PostgresSocketPath() string {
	return filepath.Join(c.PostgresSocketDir(), ".s.PGSQL."+strconv.Itoa(c.PostgresPort()))
}

// Managed reports whether the agent runs the PostgreSQL beside it.
func (c *Config) Managed() bool { return c.Postgres.Enabled && c.Postgres.Mode == ModeManaged }

// isLoopback reports whether a host can only mean this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
