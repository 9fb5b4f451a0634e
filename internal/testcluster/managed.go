package testcluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// managedPort is where a managed PostgreSQL listens on its host's address.
const managedPort = 5432

// manage makes a node's PostgreSQL one that its agent runs.
func (c *Cluster) manage(n *Node) {
	c.tb.Helper()
	if n.Host == nil {
		c.tb.Fatal("a managed PostgreSQL needs a host of its own")
	}
	n.Postgres = PostgresInfo{
		Host: n.Host.IP, Port: managedPort, Database: "postgres", User: "postgres", DataDir: filepath.Join(filepath.Dir(n.DataDir), "postgres"),
	}
}

// managedBlock takes the data directory, and twice the address.
const managedBlock = `postgres {
  mode = "managed"
  database = "postgres"
  data_dir = %q
  listen = %q
  advertise = %q
  hba = ["host all all samenet trust"]
  parameters {
    shared_buffers = "16MB"
    max_connections = "50"
  }
}`

func (n *Node) postgres() string {
	return net.JoinHostPort(n.Postgres.Host, strconv.Itoa(n.Postgres.Port))
}

// Connect opens a connection to the node's PostgreSQL, from the node's own host.
func (n *Node) Connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(n.DSN())
	if err != nil {
		return nil, err
	}
	if n.Host != nil {
		cfg.DialFunc = n.Host.Dial
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// Postmaster is the process id in the node's postmaster.pid, 0 without one.
func (n *Node) Postmaster() int {
	raw, err := os.ReadFile(filepath.Join(n.Postgres.DataDir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(first))
	return pid
}

// endManaged ends a PostgreSQL in the cluster's own directory that outlived its agent.
func (c *Cluster) endManaged(n *Node) {
	pid := n.Postmaster()
	if c.demo != nil || pid == 0 || !strings.HasPrefix(n.Postgres.DataDir, c.root) {
		return
	}
	if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); cwd != n.Postgres.DataDir {
		return // the file is a leftover
	}
	_ = syscall.Kill(pid, syscall.SIGQUIT)
	for range 500 {
		if len(processesNaming(n.Postgres.DataDir)) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}
