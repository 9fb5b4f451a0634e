package command

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/pgraft/pgraft/api"
)

type raftListPeersCmd struct {
	asking
	reading
}

func (c *raftListPeersCmd) spec() spec {
	return spec{
		name:     "operator raft list-peers",
		synopsis: "List the servers of the Raft configuration",
		help: "Who votes and who leads, by the log itself rather than by gossip. Without a leader ask with -stale. How far each " +
			"log is behind is known on the leader.",
		examples: []string{"pgraft operator raft list-peers", "pgraft operator raft list-peers -stale"},
	}
}

func (c *raftListPeersCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.reading.flags(fs)
}

func (c *raftListPeersCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		conf, err := client.RaftConfiguration(ctx, opts)
		if err != nil {
			return err
		}
		return c.print(x.stdout, conf, func(w io.Writer) error { return writePeers(w, conf) })
	})
}

func writePeers(w io.Writer, conf api.RaftConfiguration) error {
	t := newTable("ID", "NODE", "SERVER ID", "ADDRESS", "STATE", "VOTER")
	t.shrink = []int{1, 3}
	slices.SortStableFunc(conf.Servers, func(a, b api.RaftServer) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, s := range conf.Servers {
		state := "follower"
		if s.Leader {
			state = "leader"
		}
		t.add(strconv.Itoa(s.NodeID), orDash(s.Name), s.ServerID, s.Address, state, yesNo(s.Voter))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if conf.Index == 0 {
		return nil // older than the asked agent's start
	}
	_, err := fmt.Fprintf(w, "\nConfiguration of index %d\n", conf.Index)
	return err
}

// serverID finds a server by its node's name, node_id or server id.
func serverID(ctx context.Context, client *api.Client, who string) (string, error) {
	conf, err := client.RaftConfiguration(ctx, api.QueryOptions{})
	if err != nil {
		return "", err
	}
	for _, s := range conf.Servers {
		if s.ServerID == who || s.Name == who || s.NodeID > 0 && strconv.Itoa(s.NodeID) == who {
			return s.ServerID, nil
		}
	}
	return "", advise(fmt.Errorf("%q is no server of the Raft configuration", who), "See which there are: pgraft operator raft list-peers")
}
