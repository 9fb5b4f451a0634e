package command

import (
	"context"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type leaveCmd struct{ connection }

func (c *leaveCmd) spec() spec {
	return spec{
		name:     "leave",
		synopsis: "Retire the asked agent's node from the cluster",
		help: "The node leaves the voters, so the quorum shrinks, and the agent stops. This is for good: to stop a node for a " +
			"while, stop its agent (SIGTERM); it then stays a member and comes back by itself.",
		examples: []string{"pgraft leave -http-addr=http://10.0.0.13:7400"},
	}
}

func (c *leaveCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		if err := client.Leave(ctx); err != nil {
			return err
		}
		_, err := fmt.Fprintf(x.stdout, "The node of the agent at %s has left the cluster.\n", client.Address())
		return err
	})
}
