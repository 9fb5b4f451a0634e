package command

import (
	"context"
	"io"
	"strconv"

	"github.com/pgraft/pgraft/api"
)

type membersCmd struct{ asking }

func (c *membersCmd) spec() spec {
	return spec{
		name:     "members",
		synopsis: "List the nodes that gossip knows",
		help: "Shows who is there as the asked agent's gossip sees it: alive, failed or left. Who votes and who leads is in " +
			"`pgraft status` and `pgraft operator raft list-peers`.",
		examples: []string{"pgraft members", "pgraft members -format=json"},
	}
}

func (c *membersCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		members, _, err := client.Members(ctx, api.QueryOptions{})
		if err != nil {
			return err
		}
		return c.print(x.stdout, members, func(w io.Writer) error { return memberTable(members).write(w) })
	})
}

func memberTable(members []api.Member) *table {
	t := newTable("NODE", "STATUS", "GOSSIP", "RAFT", "HTTP", "VERSION", "PROTO")
	t.shrink = []int{0, 4}
	for _, m := range members {
		t.add(m.Name, m.Status, orDash(m.GossipAddress), orDash(m.RaftAddress), orDash(m.HTTPAddress), orDash(m.Version),
			strconv.Itoa(m.Protocol))
	}
	return t
}
