package command

import (
	"context"
	"flag"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type reinitCmd struct {
	asking
	confirmation
}

func (c *reinitCmd) spec() spec {
	return spec{
		name: "reinit", args: "NODE", minArgs: 1, maxArgs: 1,
		synopsis: "Throw one standby's data away and clone it anew",
		help: "For a standby whose data is damaged. It leaves the nodes that count when commits are acknowledged first, so that no acknowledged commit depends " +
			"on it, is cloned from the primary, and counts again once it has caught up. The primary's data is never thrown away. Progress is in `pgraft status`.",
		examples: []string{"pgraft reinit pg3", "pgraft reinit pg3 -yes && pgraft wait -for=role:pg3=standby -timeout=1h"},
		predict:  predictNodes(),
	}
}

func (c *reinitCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.confirmation.flags(fs)
}

func (c *reinitCmd) run(ctx context.Context, x *call) error {
	node := firstArg(x)
	if err := c.confirm(x, false, fmt.Sprintf("The data directory of %s is emptied and cloned from the primary.", node)); err != nil {
		return err
	}
	return c.order(ctx, x, func(ctx context.Context, client *api.Client) (api.ClusterResult, error) {
		return client.Reinit(ctx, node)
	}, "The data of "+node+" is being cloned anew. See: pgraft status")
}
