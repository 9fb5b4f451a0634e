package command

import (
	"context"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

type raftTransferCmd struct{ connection }

func (c *raftTransferCmd) spec() spec {
	return spec{
		name: "operator raft transfer-leader", args: "[NODE]", maxArgs: 1,
		synopsis: "Hand Raft leadership to another voter",
		help: "NODE is a name, a node_id or a server id; without it the voter whose log reaches furthest is taken. No PostgreSQL " +
			"is moved by this.",
		examples: []string{"pgraft operator raft transfer-leader", "pgraft operator raft transfer-leader pg2"},
	}
}

func (c *raftTransferCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		id := ""
		if len(x.args) > 0 {
			var err error
			if id, err = serverID(ctx, client, x.args[0]); err != nil {
				return err
			}
		}
		if err := client.RaftTransferLeader(ctx, id); err != nil {
			return err
		}
		_, err := fmt.Fprintln(x.stdout, "Leadership is handed over. See: pgraft status")
		return err
	})
}
