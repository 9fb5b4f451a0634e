package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pgraft/pgraft/command/demo"
)

type demoCmd struct{ cfg demo.Config }

func (c *demoCmd) spec() spec {
	return spec{
		name: "demo", ownSignals: true,
		synopsis: "Run a whole cluster on this machine to try pgraft out",
		help: "Starts N agents, which make a primary PostgreSQL and standbys of it, prints what to try, and runs until Ctrl-C; then everything is " +
			"stopped and removed. DIR/cluster.json describes the cluster as soon as it is ready. Node i uses the ports from P+10·i: " +
			"HTTP, Raft, gossip, console (a Unix socket's number) and PostgreSQL. Needs PostgreSQL's server programs.",
		examples: []string{"pgraft demo", "pgraft demo -external", "pgraft demo -nodes=5 -dir=/tmp/five -base-port=8400 -keep"},
	}
}

func (c *demoCmd) flags(fs *flag.FlagSet) {
	fs.IntVar(&c.cfg.Nodes, "nodes", 3, "how many nodes, a `number` from 1 to 9")
	fs.StringVar(&c.cfg.Dir, "dir", "", "`directory` for all data; it must be empty or not exist (default: a temporary one)")
	fs.IntVar(&c.cfg.BasePort, "base-port", 7400, "the first `port`")
	fs.BoolVar(&c.cfg.Keep, "keep", false, "leave the data when it ends")
	fs.BoolVar(&c.cfg.External, "external", false, "independent PostgreSQL servers instead of a primary with standbys")
}

func (c *demoCmd) run(ctx context.Context, x *call) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	// Signals stay caught to the end: an impatient second Ctrl-C must not leave servers behind. And a reader of our
	// output that goes away must not end us.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	c.cfg.Program, c.cfg.Out, c.cfg.Err = program, x.stdout, x.stderr
	return demoAdvice(demo.Run(ctx, c.cfg))
}

func demoAdvice(err error) error {
	var known *demo.Error
	if errors.As(err, &known) {
		return advise(err, known.Next)
	}
	return err
}
