package command

import (
	"context"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type raftRemovePeerCmd struct{ connection }

func (c *raftRemovePeerCmd) spec() spec {
	return spec{
		name: "operator raft remove-peer", args: "NODE", minArgs: 1, maxArgs: 1,
		synopsis: "Remove a server from the Raft configuration",
		help: "NODE is a name, a node_id or a server id. Use `pgraft leave` for a node that runs and `pgraft force-leave` for one " +
			"that failed; this is for what is left over. It needs a leader: without a quorum see `pgraft operator raft recover -h`.",
		examples: []string{"pgraft operator raft remove-peer pg3"},
	}
}

func (c *raftRemovePeerCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		id, err := serverID(ctx, client, x.args[0])
		if err != nil {
			return err
		}
		if err := client.RaftRemovePeer(ctx, id); err != nil {
			return err
		}
		_, err = fmt.Fprintf(x.stdout, "Removed: %s (%s)\n", x.args[0], id)
		return err
	})
}
