package command

import (
	"context"
	"flag"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type restartCmd struct {
	asking
	confirmation
}

func (c *restartCmd) spec() spec {
	return spec{
		name: "restart", args: "NODE", minArgs: 1, maxArgs: 1,
		synopsis: "Restart one node's PostgreSQL",
		help: "Restarts the managed PostgreSQL of NODE in the part that it has, for settings that wait for a restart: `pgraft status` names them. " +
			"Its sessions end. Standbys first, the primary last; to spare the primary's clients the restart, `pgraft switchover` first.",
		examples: []string{"pgraft restart pg2", "pgraft restart pg1 -yes"},
		predict:  predictNodes(),
	}
}

func (c *restartCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.confirmation.flags(fs)
}

func (c *restartCmd) run(ctx context.Context, x *call) error {
	node := firstArg(x)
	if err := c.confirm(x, false, fmt.Sprintf("The PostgreSQL of %s restarts, and its sessions end.", node)); err != nil {
		return err
	}
	return c.order(ctx, x, func(ctx context.Context, client *api.Client) (api.ClusterResult, error) {
		return client.Restart(ctx, node)
	}, "The PostgreSQL of "+node+" was restarted.")
}
