package command

import (
	"context"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type forceLeaveCmd struct{ connection }

func (c *forceLeaveCmd) spec() spec {
	return spec{
		name: "force-leave", args: "NODE", minArgs: 1, maxArgs: 1,
		synopsis: "Remove a failed node from the cluster",
		help: "For a node that will not come back: it is taken for left and removed from the Raft configuration and the " +
			"registry. A node that is alive would only join again: stop its agent first, or run `pgraft leave` on it.",
		examples: []string{"pgraft force-leave pg3"},
	}
}

func (c *forceLeaveCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		if err := client.ForceLeave(ctx, x.args[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintf(x.stdout, "%s is removed from the cluster.\n", x.args[0])
		return err
	})
}
