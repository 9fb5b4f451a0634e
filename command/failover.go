package command

import (
	"cmp"
	"context"
	"flag"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type failoverCmd struct {
	asking
	confirmation
	allowDataLoss bool
}

func (c *failoverCmd) spec() spec {
	return spec{
		name: "failover", args: "[NODE]", maxArgs: 1,
		synopsis: "Replace the primary now, dead or alive",
		help: "For a primary that hangs, or that is gone while automatic failover is paused. The primary is cut off and NODE, or without it the node " +
			"whose data reaches furthest, takes its place: no acknowledged commit is lost, or it does not happen. The old primary comes back as a standby.\n\n" +
			"-allow-data-loss goes on where the nodes that are left can't prove that they have all: acknowledged commits may be lost, and the " +
			"nodes that are missing must be cloned anew. It is for when those are gone for good.\n\n" +
			"To move a primary that is well, use `pgraft switchover`: its clients wait less.",
		examples: []string{"pgraft failover", "pgraft failover pg2 -yes", "pgraft failover pg2 -allow-data-loss"},
		predict:  predictNodes(),
	}
}

func (c *failoverCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.confirmation.flags(fs)
	fs.BoolVar(&c.allowDataLoss, "allow-data-loss", false, "go on without what can't be counted: acknowledged commits may be lost")
}

func (c *failoverCmd) run(ctx context.Context, x *call) error {
	node := firstArg(x)
	question := fmt.Sprintf("The primary is replaced by %s, and its sessions end.", cmp.Or(node, "the best other node"))
	if c.allowDataLoss {
		question = "ACKNOWLEDGED COMMITS MAY BE LOST. " + question
	}
	if err := c.confirm(x, c.allowDataLoss, question); err != nil {
		return err
	}
	return c.order(ctx, x, func(ctx context.Context, client *api.Client) (api.ClusterResult, error) {
		return client.Failover(ctx, api.ClusterRequest{Node: node, AllowDataLoss: c.allowDataLoss})
	}, "The primary is replaced. See: pgraft status")
}
