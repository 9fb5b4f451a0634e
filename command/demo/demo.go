package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says what to run.
type Config struct {
	Nodes    int
	Dir      string // "": a temporary directory
	BasePort int
	Keep     bool   // leave Dir at the end
	External bool   // independent PostgreSQL servers, which the demo runs, instead of a primary and standbys, which the agents do
	Program  string // the pgraft binary that runs the agents
	// Out gets what to try, Err the progress and what goes wrong meanwhile.
	Out, Err io.Writer
}

// Error is why the demo can't run, and what to do about it.
type Error struct {
	Err  error
	Next string
}

// Error returns the reason.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Bounds of a demo.
const (
	maxNodes     = 9
	readyTimeout = 90 * time.Second
	// startAtOnce keeps a small machine from starting everything so slowly that timeouts strike.
	startAtOnce = 2
)

// cluster is a demo between its first directory and its last.
type cluster struct {
	cfg   Config
	nodes []*node
	dirs  []string // to remove at the end

	extension extensionFiles

	mu       sync.Mutex // guards what follows and the writers of cfg
	stopping bool
	agents   sync.WaitGroup // the goroutines that wait for agents
}

// Run starts the cluster, describes it in DIR/cluster.json, and returns when ctx has ended and everything is stopped.
func Run(ctx context.Context, cfg Config) error {
	c, err := prepare(cfg)
	if err != nil {
		return err
	}
	err = c.start(ctx)
	if err == nil {
		c.announce()
		<-ctx.Done()
		c.sayf("\nStopping …")
	} else if ctx.Err() == nil {
		c.showLogs()
	}
	if stopErr := c.stop(); stopErr != nil {
		err = errors.Join(err, stopErr)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// prepare checks everything that can be checked before anything is started, and makes the directories.
func prepare(cfg Config) (*cluster, error) {
	if cfg.Nodes < 1 || cfg.Nodes > maxNodes {
		return nil, &Error{fmt.Errorf("can't run %d nodes", cfg.Nodes), fmt.Sprintf("-nodes takes 1 to %d.", maxNodes)}
	}
	if err := checkPorts(cfg); err != nil {
		return nil, err
	}
	c := &cluster{cfg: cfg, extension: newExtensionFiles()}
	if err := c.makeDirs(); err != nil {
		return nil, errors.Join(err, c.removeDirs())
	}
	for _, n := range c.nodes {
		if err := n.newServer(); err != nil {
			return nil, errors.Join(serverError(err), c.removeDirs())
		}
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context) error {
	if c.cfg.External {
		if err := c.startServers(ctx); err != nil {
			return err
		}
	}
	c.sayf("Starting %d agents in %s …", len(c.nodes), c.cfg.Dir)
	for _, n := range c.nodes {
		if err := n.writeConfig(c.nodes); err != nil {
			return err
		}
		if err := c.startAgent(n); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	return c.writeClusterFile(filepath.Join(c.cfg.Dir, "cluster.json"))
}

func (c *cluster) startServers(ctx context.Context) error {
	c.sayf("Starting %d independent PostgreSQL servers in %s …", len(c.nodes), c.cfg.Dir)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(startAtOnce)
	for _, n := range c.nodes {
		g.Go(func() error { return n.startServer(ctx) })
	}
	return g.Wait()
}

// stop stops what runs, whoever started it, and removes the directories.
func (c *cluster) stop() error {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	var g errgroup.Group
	for _, n := range c.nodes {
		g.Go(n.stopAgent)
	}
	err := g.Wait()
	c.agents.Wait()
	var servers errgroup.Group
	for _, n := range c.nodes {
		servers.Go(n.stopServer)
	}
	err = errors.Join(err, servers.Wait())
	if c.cfg.Keep {
		c.sayf("The data is still in %s", strings.Join(c.dirs, " and "))
		return err
	}
	return errors.Join(err, c.extension.remove(), c.removeDirs())
}

func (c *cluster) removeDirs() error {
	if c.cfg.Keep && len(c.nodes) > 0 {
		return nil
	}
	var errs []error
	for _, dir := range c.dirs {
		if err := os.RemoveAll(dir); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// sayf writes a line of progress.
func (c *cluster) sayf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.cfg.Err, format+"\n", args...)
}
