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
		help: "Shows who is there as the asked agent's gossip sees it: alive, failed or left; with managed PostgreSQL also what each is and how far behind. Who votes and who leads is in " +
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
		return c.print(x.stdout, members, func(w io.Writer) error {
			if s, err := client.Status(ctx); err == nil && managed(&s) {
				return managedMemberTable(members, &s).write(w)
			}
			return memberTable(members).write(w)
		})
	})
}

// managedMemberTable leaves out addresses that say little, for what each node's PostgreSQL is.
func managedMemberTable(members []api.Member, s *api.Status) *table {
	t := newTable("NODE", "STATUS", "ROLE", "SYNC", "LAG", "RAFT", "HTTP", "VERSION")
	t.shrink = []int{0, 6}
	for _, m := range members {
		n := api.NodeStatus{LagBytes: -1}
		for _, row := range s.Nodes {
			if row.Name == m.Name {
				n = row
			}
		}
		t.add(m.Name, m.Status, orDash(n.Role), syncWord(s, n), lagText(n), orDash(m.RaftAddress), orDash(m.HTTPAddress), orDash(m.Version))
	}
	return t
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
