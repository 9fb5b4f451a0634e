package command

import (
	"cmp"
	"context"
	"flag"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type switchoverCmd struct {
	asking
	confirmation
}

func (c *switchoverCmd) spec() spec {
	return spec{
		name: "switchover", args: "[NODE]", maxArgs: 1,
		synopsis: "Hand the primary's part to another node, losing nothing",
		help: "For maintenance of a primary that is well. It stops in order, NODE (or without it the best standby) takes over with all its data, and it " +
			"follows as a standby. Sessions end and clients connect again; writes stand still for about half a second. A node that lags, is down " +
			"or has no PostgreSQL is refused, and nothing happens.",
		examples: []string{"pgraft switchover", "pgraft switchover pg2 -yes"},
		predict:  predictNodes(),
	}
}

func (c *switchoverCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.confirmation.flags(fs)
}

func (c *switchoverCmd) run(ctx context.Context, x *call) error {
	node := firstArg(x)
	if err := c.confirm(x, false, fmt.Sprintf("%s becomes the primary, and the sessions end.", cmp.Or(node, "The best standby"))); err != nil {
		return err
	}
	return c.order(ctx, x, func(ctx context.Context, client *api.Client) (api.ClusterResult, error) {
		return client.Switchover(ctx, node)
	}, "The primary has moved. See: pgraft status")
}
