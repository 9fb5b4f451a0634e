package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/pgraft/pgraft/postgres"
)

// host is where everything listens.
const host = "127.0.0.1"

// What each port of a node is, by its distance from the node's first one.
const (
	portHTTP = iota
	portRaft
	portGossip
	portConsole
	portPostgres
	portsPerNode = 10
)

// maxSocketPath is what fits into a Unix socket's address, with its final zero byte.
const maxSocketPath = 107

// node is one agent and its PostgreSQL.
type node struct {
	name      string
	basePort  int
	dir       string
	serverDir string // what PostgreSQL's user must reach: dir, or a place beside it
	runDir    string
	server    *postgres.Instance
	agentPID  int
	superuser string
	external  bool // the demo runs PostgreSQL, and the agent finds it there
}

func (n *node) port(which int) int      { return n.basePort + which }
func (n *node) address(port int) string { return net.JoinHostPort(host, strconv.Itoa(n.port(port))) }
func (n *node) path(name string) string { return filepath.Join(n.dir, name) }
func (n *node) configFile() string      { return n.path("agent.hcl") }
func (n *node) logFile() string         { return n.path("agent.log") }
func (n *node) dataDir() string         { return n.path("data") }
func (n *node) pgData() string          { return filepath.Join(n.serverDir, "postgres") }
func (n *node) serverLog() string       { return filepath.Join(n.serverDir, "postgres.log") }
func (n *node) statusFile() string      { return filepath.Join(n.runDir, "status.json") }
func (n *node) httpURL() string         { return "http://" + n.address(portHTTP) }

// conninfo is how psql reaches the node's PostgreSQL.
func (n *node) conninfo() string {
	return fmt.Sprintf("host=%s port=%d dbname=postgres user=%s", host, n.port(portPostgres), n.superuser)
}

// checkPorts refuses ports that are taken before anything is started on the others.
func checkPorts(cfg Config) error {
	last := cfg.BasePort + portsPerNode*cfg.Nodes - 1
	if cfg.BasePort < 1024 || last > 65535 {
		return &Error{fmt.Errorf("ports %d to %d can't be used", cfg.BasePort, last), "Choose a -base-port between 1024 and 65000."}
	}
	for i := range cfg.Nodes {
		for _, which := range []int{portHTTP, portRaft, portGossip, portPostgres} {
			port := cfg.BasePort + portsPerNode*i + which
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				return &Error{fmt.Errorf("port %d is taken: %w", port, err),
					"Another demo may be running: stop it, or choose other ports with -base-port."}
			}
			_ = l.Close()
		}
	}
	return nil
}

// makeDirs makes the demo's directory and the nodes', so that PostgreSQL's user can enter what it needs.
func (c *cluster) makeDirs() error {
	if err := c.makeRoot(); err != nil {
		return err
	}
	serverRoot, err := c.serverRoot()
	if err != nil {
		return err
	}
	for i := range c.cfg.Nodes {
		name := fmt.Sprintf("pg%d", i+1)
		n := &node{
			name: name, basePort: c.cfg.BasePort + portsPerNode*i, superuser: "postgres", external: c.cfg.External,
			dir: filepath.Join(c.cfg.Dir, name), serverDir: filepath.Join(serverRoot, name),
		}
		if err := c.makeNodeDirs(n); err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
	}
	return nil
}

func (c *cluster) makeRoot() error {
	if c.cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "pgraft-demo-")
		if err != nil {
			return fmt.Errorf("create demo directory: %w", err)
		}
		c.cfg.Dir = dir
	}
	dir, err := filepath.Abs(c.cfg.Dir)
	if err != nil {
		return fmt.Errorf("find demo directory: %w", err)
	}
	c.cfg.Dir = dir
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return &Error{fmt.Errorf("%s is not empty", dir), "Give -dir a new or empty directory: all of it is removed at the end."}
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return &Error{fmt.Errorf("use demo directory: %w", err), "Give -dir a new or empty directory."}
	}
	c.dirs = append(c.dirs, dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create demo directory: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("open demo directory to PostgreSQL's user: %w", err)
	}
	return nil
}

// serverRoot returns where PostgreSQL's data and the agents' run directories go: the demo's directory, or, when root's
// demo is in a place that PostgreSQL's user can't reach, a temporary one.
func (c *cluster) serverRoot() (string, error) {
	err := checkReach(c.cfg.Dir)
	var unreachable *unreachableError
	if !errors.As(err, &unreachable) {
		return c.cfg.Dir, err
	}
	dir, err := os.MkdirTemp("/tmp", "pgraft-demo-")
	if err != nil {
		return "", fmt.Errorf("create directory for PostgreSQL: %w", err)
	}
	c.dirs = append(c.dirs, dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("open directory to PostgreSQL's user: %w", err)
	}
	c.sayf("%s; its data and the run directories are in %s.", unreachable, dir)
	return dir, checkReach(dir)
}

// makeNodeDirs makes a node's directories, and puts the run directory elsewhere when its socket's path would be too long.
func (c *cluster) makeNodeDirs(n *node) error {
	n.runDir = filepath.Join(n.serverDir, "run")
	if len(n.runDir)+len("/.s.PGSQL.65535") > maxSocketPath {
		dir, err := os.MkdirTemp("/tmp", "pgraft-run-")
		if err != nil {
			return fmt.Errorf("create run directory: %w", err)
		}
		n.runDir = dir
		c.dirs = append(c.dirs, dir)
	}
	for _, dir := range []string{n.dir, n.serverDir, n.runDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create directory: %w", err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return fmt.Errorf("open directory to PostgreSQL's user: %w", err)
		}
	}
	return nil
}

// checkReach makes sure that, when root runs the demo, the user that PostgreSQL runs as can enter every parent of dir.
func checkReach(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return &Error{fmt.Errorf("look up the user that PostgreSQL runs as: %w", err),
			"PostgreSQL refuses to run as root: install its package, which makes the user postgres, or run the demo as another user."}
	}
	for parent := dir; parent != "/"; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return fmt.Errorf("look at %s: %w", parent, err)
		}
		if !mayEnter(info, u) {
			return &unreachableError{parent}
		}
	}
	return nil
}

// unreachableError names the first directory that PostgreSQL's user can't enter.
type unreachableError struct{ dir string }

func (u *unreachableError) Error() string { return "the user postgres can't enter " + u.dir }

func mayEnter(info os.FileInfo, u *user.User) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := info.Mode().Perm()
	switch {
	case strconv.FormatUint(uint64(st.Uid), 10) == u.Uid:
		return mode&0o100 != 0
	case strconv.FormatUint(uint64(st.Gid), 10) == u.Gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}
