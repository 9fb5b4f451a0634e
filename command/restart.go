package command

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/pgraft/pgraft/api"
)

// restartTimeout is the default of -timeout here.
const restartTimeout = 10 * time.Minute

type restartCmd struct {
	asking
	confirmation
}

func (c *restartCmd) spec() spec {
	return spec{
		name: "restart", args: "[NODE]", maxArgs: 1,
		synopsis: "Restart one node's PostgreSQL, or all whose settings wait for it",
		help: "Restarts the managed PostgreSQL of NODE in the part that it has; its sessions end. Without NODE every PostgreSQL is restarted whose settings " +
			"wait for that (`pgraft status` names them): one after the other, each when all others are there, standbys first and the primary last, or " +
			"the other way round where a limit is lowered that standbys must not go below. It ends at the first that fails.",
		examples: []string{"pgraft restart", "pgraft restart pg2", "pgraft restart pg1 -yes"},
		predict:  predictNodes(),
	}
}

func (c *restartCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.confirmation.flags(fs)
	c.timeout = restartTimeout // one after the other takes its time
	fs.Lookup("timeout").DefValue = restartTimeout.String()
}

func (c *restartCmd) run(ctx context.Context, x *call) error {
	node := firstArg(x)
	question, done := fmt.Sprintf("The PostgreSQL of %s restarts, and its sessions end.", node), "The PostgreSQL of "+node+" was restarted."
	if node == "" {
		question, done = "Every PostgreSQL whose settings wait for it restarts, one after the other, and its sessions end.", "All that waited for it were restarted."
	}
	if err := c.confirm(x, false, question); err != nil {
		return err
	}
	return c.order(ctx, x, func(ctx context.Context, client *api.Client) (api.ClusterResult, error) {
		return client.Restart(ctx, node)
	}, done)
}
