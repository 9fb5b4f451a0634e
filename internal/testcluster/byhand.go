package testcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgraft/pgraft/postgres"
)

// PostgresSpec describes a PostgreSQL that the agent of a node on this machine runs.
type PostgresSpec struct {
	DataDir string // what is there is adopted; "" = an empty one of the node's own
	Port    int    // 0 = a free one
	Keys    string // further HCL in block postgres
	Params  string // further HCL in block parameters
}

// AddManaged is Add for a node on this machine whose agent runs its PostgreSQL.
func (c *Cluster) AddManaged(spec Spec, pg PostgresSpec) *Node {
	c.tb.Helper()
	const place = "\npostgres { /* written below */ }\n"
	spec.Config = "witness = false\n" + strings.TrimPrefix(place, "\n") + spec.Config
	n := c.Add(spec)
	n.Postgres = PostgresInfo{Host: "127.0.0.1", Port: pg.Port, Database: "postgres", User: "postgres", DataDir: pg.DataDir}
	if pg.DataDir == "" {
		n.Postgres.DataDir = filepath.Join(filepath.Dir(n.Config), "pg")
	}
	for n.Postgres.Port == 0 || pg.Port == 0 && c.taken(n) {
		n.Postgres.Port = FreePorts(c.tb, 1)
	}
	block := fmt.Sprintf(`
postgres {
  mode = "managed"
  data_dir = %q
  listen = "127.0.0.1:%d"
  hba = ["host all all 127.0.0.1/32 trust"]
  %s
  parameters {
    shared_buffers = "16MB"
    %s
  }
}
`, n.Postgres.DataDir, n.Postgres.Port, pg.Keys, pg.Params)
	c.EditConfig(n, func(text string) string {
		return strings.Replace(text, strings.TrimPrefix(place, "\n"), strings.TrimPrefix(block, "\n"), 1)
	})
	return n
}

// taken reports whether a node's PostgreSQL has a port of another's.
func (c *Cluster) taken(n *Node) bool {
	for _, other := range c.Nodes {
		base := Port(other.HTTP)
		if other != n && other.Postgres.Port == n.Postgres.Port || n.Postgres.Port >= base && n.Postgres.Port < base+4 {
			return true
		}
	}
	return false
}

// EditConfig changes the text of a node's configuration.
func (c *Cluster) EditConfig(n *Node, edit func(text string) string) {
	c.tb.Helper()
	raw, err := os.ReadFile(n.Config)
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := os.WriteFile(n.Config, []byte(edit(string(raw))), 0o644); err != nil {
		c.tb.Fatal(err)
	}
}

// AsPostgres runs one of PostgreSQL's programs, or another one if it is named by its path, as PostgreSQL's user.
func (c *Cluster) AsPostgres(program string, args ...string) (string, error) {
	if !filepath.IsAbs(program) {
		bin, err := PostgresBin()
		if err != nil {
			return "", err
		}
		program = filepath.Join(bin, program)
	}
	owner, err := postgres.FindOwner("postgres")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := owner.Command(ctx, "/", program, args...)
	// A file, as a server that pg_ctl starts would keep a pipe open.
	out, err := os.CreateTemp(c.root, "output")
	if err != nil {
		return "", err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	runErr := cmd.Run()
	text, err := os.ReadFile(out.Name())
	if runErr != nil {
		runErr = fmt.Errorf("run %s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), runErr, tail(text, 2000))
	}
	return string(text), errors.Join(runErr, err, os.Remove(out.Name()))
}

// MustAsPostgres is AsPostgres that fails the test.
func (c *Cluster) MustAsPostgres(program string, args ...string) string {
	c.tb.Helper()
	out, err := c.AsPostgres(program, args...)
	if err != nil {
		c.tb.Fatal(err)
	}
	return out
}

// DataPlace is a place for a data directory that a test makes by hand. It does not exist, and PostgreSQL's user may make it.
func (c *Cluster) DataPlace(name string) string {
	c.tb.Helper()
	owner, err := postgres.FindOwner("postgres")
	if err != nil {
		c.tb.Fatal(err)
	}
	dir := filepath.Join(c.root, "hand", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.tb.Fatal(err)
	}
	if err := owner.Own(dir); err != nil {
		c.tb.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

// KillNode ends a node's agent and all of its PostgreSQL with SIGKILL, as the loss of its machine would.
func (c *Cluster) KillNode(n *Node) {
	c.tb.Helper()
	c.KillAgent(n)
	c.KillData(n.Postgres.DataDir)
}

// KillData ends all processes that work in a data directory, and waits until they are gone.
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
