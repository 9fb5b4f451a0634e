package command

import (
	"context"

	"github.com/pgraft/pgraft/api"
)

type pauseCmd struct{ asking }

func (c *pauseCmd) spec() spec {
	return spec{
		name:     "pause",
		synopsis: "Turn automatic failover off",
		help: "For maintenance that would look like a failure. Until `pgraft resume` a primary that is lost is not replaced, and one that died is restarted " +
			"in place; `pgraft failover` and `pgraft switchover` go on working. The cluster stays paused whatever is restarted, and `pgraft status` says so.",
		examples: []string{"pgraft pause"},
	}
}

func (c *pauseCmd) run(ctx context.Context, x *call) error {
	return c.order(ctx, x, func(ctx context.Context, client *api.Client) (api.ClusterResult, error) {
		return client.Pause(ctx)
	}, "Automatic failover is off.")
}

type resumeCmd struct{ asking }

func (c *resumeCmd) spec() spec {
	return spec{
		name:     "resume",
		synopsis: "Turn automatic failover on again",
		help:     "Ends what `pgraft pause` began. A primary that is gone by then is replaced at once.",
		examples: []string{"pgraft resume"},
	}
}

func (c *resumeCmd) run(ctx context.Context, x *call) error {
	return c.order(ctx, x, func(ctx context.Context, client *api.Client) (api.ClusterResult, error) {
		return client.Resume(ctx)
	}, "Automatic failover is on.")
}
