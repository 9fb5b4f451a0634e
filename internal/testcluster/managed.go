package testcluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgraft/pgraft/postgres"
)

// Managed describes a PostgreSQL that a node's agent is to run. The zero value is an empty data directory of the node's
// own.
type Managed struct {
	DataDir string // what is there is adopted
	Params  string // further HCL in block parameters
	Keys    string // further HCL in block postgres
}

// defaultPostgres is PostgreSQL's port on a node with a host of its own.
const defaultPostgres = 5432

// manage gives a node's managed PostgreSQL its place.
func (c *Cluster) manage(n *Node, m *Managed) {
	c.tb.Helper()
	host, _, _ := strings.Cut(n.Raft, ":")
	n.Postgres = PostgresInfo{Host: host, Port: defaultPostgres, Database: "postgres", User: "postgres", DataDir: m.DataDir}
	if n.Host == nil {
		n.Postgres.Port = Port(n.HTTP) + portPostgres
	}
	if n.Postgres.DataDir == "" {
		n.Postgres.DataDir = filepath.Join(filepath.Dir(n.Config), "pg")
	}
	c.managed = append(c.managed, n.Postgres.DataDir)
}

// block is a managed PostgreSQL in the configuration.
func (m *Managed) block(n *Node) string {
	return fmt.Sprintf(`postgres {
  mode = "managed"
  data_dir = %q
  listen = "%s:%d"
  hba = ["host all all all trust"]
  %s
  parameters {
    shared_buffers = "16MB"
    %s
  }
}`, n.Postgres.DataDir, n.Postgres.Host, n.Postgres.Port, m.Keys, m.Params)
}

// AsPostgres runs one of PostgreSQL's programs as its user, and returns what it wrote.
func (c *Cluster) AsPostgres(program string, args ...string) (string, error) {
	bin, err := PostgresBin()
	if err != nil {
		return "", err
	}
	return c.asPostgresUser(filepath.Join(bin, program), args...)
}

// CopyData copies a data directory as PostgreSQL's user, with all that is in it. The target must not exist.
func (c *Cluster) CopyData(from, to string) {
	c.tb.Helper()
	if out, err := c.asPostgresUser("cp", "-a", from, to); err != nil {
		c.tb.Fatalf("copy data directory: %v: %s", err, out)
	}
}

func (c *Cluster) asPostgresUser(program string, args ...string) (string, error) {
	owner, err := postgres.OwnerOf("")
	if err != nil {
		return "", err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.UID, Gid: owner.GID}, Setsid: true}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("run %s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, tail(out, 2000))
	}
	return string(out), err
}

// DataPlace is a place for a data directory that a test makes by hand. It does not exist, and PostgreSQL's user may make it.
func (c *Cluster) DataPlace(name string) string {
	c.tb.Helper()
	owner, err := postgres.OwnerOf("")
	if err != nil {
		c.tb.Fatal(err)
	}
	dir := filepath.Join(c.root, "hand", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.tb.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, int(owner.UID), int(owner.GID)); err != nil {
			c.tb.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	c.managed = append(c.managed, data)
	return data
}

// KillNode ends a node's agent and all of its PostgreSQL with SIGKILL, as the loss of its machine would.
func (c *Cluster) KillNode(n *Node) {
	c.tb.Helper()
	c.KillAgent(n)
	c.KillData(n.Postgres.DataDir)
}

// KillData ends all processes of the PostgreSQL in a data directory, and waits until they are gone.
func (c *Cluster) KillData(dir string) {
	c.tb.Helper()
	Eventually(c.tb, 30*time.Second, func() error {
		pids := processesIn(dir)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("PostgreSQL in %s is still there: %v", dir, pids)
		}
		return nil
	})
}

// processesIn lists the live processes that work in a directory.
func processesIn(dir string) []int {
	var found []int
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		pid, _ := strconv.Atoi(filepath.Base(proc))
		cwd, _ := os.Readlink(filepath.Join(proc, "cwd"))
		cwd = strings.TrimSuffix(cwd, " (deleted)")
		if (cwd == dir || strings.HasPrefix(cwd, dir+"/")) && alive(pid) {
			found = append(found, pid)
		}
	}
	return found
}
