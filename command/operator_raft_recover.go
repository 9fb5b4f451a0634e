package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/consensus"
)

type raftRecoverCmd struct {
	offlineDir
	confirmation
	allowDataLoss bool
	keep          []string
}

func (c *raftRecoverCmd) spec() spec {
	return spec{
		name:     "operator raft recover",
		synopsis: "Bring a cluster back that lost its majority for good",
		help: "For the case that a majority of the voters will never come back: it makes the survivors the whole cluster. If the " +
			"lost ones can still be started, start them instead.\n\n" +
			"What can be lost: writes that were acknowledged but had not reached the survivors. What can appear: writes that " +
			"were never acknowledged but are in a survivor's log.\n\n" +
			"1. Stop the agent on every survivor. See that no lost node starts before the recovered cluster runs and can be reached from it: two " +
			"or more of them would go on as the old cluster.\n" +
			"2. On each: pgraft operator raft info -data-dir=DIR, and choose the one that knows most.\n" +
			"3. There, run this verb. Without -keep that server alone becomes the cluster. Start its agent.\n" +
			"4. Start the agents of the other nodes, lost ones too, with -join=ADDRESS of the recovered one: they join as new servers. Without " +
			"it they hear that they were removed, and stop.\n\n" +
			"With -keep, run it with the same list on every server named, instead of step 4.",
		examples: []string{
			"pgraft operator raft recover -data-dir=/var/lib/pgraft",
			"pgraft operator raft recover -config=/etc/pgraft.d -keep=5f0c… -keep=91ab…=10.0.0.12:7401",
		},
	}
}

func (c *raftRecoverCmd) flags(fs *flag.FlagSet) {
	c.offlineDir.flags(fs)
	c.confirmation.flags(fs)
	fs.BoolVar(&c.allowDataLoss, "allow-data-loss", false, "the same as -yes: what only the dropped servers have is lost")
	fs.Func("keep", "`ID[=HOST:PORT]` of a server that stays a voter, with its Raft address if that changed; repeatable (default: this server)",
		func(s string) error {
			c.keep = append(c.keep, s)
			return nil
		})
}

func (c *raftRecoverCmd) run(_ context.Context, x *call) error {
	dir, err := c.find(x.stderr)
	if err != nil {
		return err
	}
	info, err := consensus.Inspect(dir, hclog.NewNullLogger())
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	servers, err := survivors(info, c.keep)
	if err != nil {
		return err
	}
	if err := writeRecovery(x.stderr, dir, info, servers); err != nil {
		return err
	}
	c.yes = c.yes || c.allowDataLoss
	if err := c.ask(x, "Recover?"); err != nil {
		return err
	}
	if err := consensus.Recover(dir, servers, hclog.NewNullLogger()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(x.stdout, "Recovered: %s is now the configuration in %s. Start the agent.\n", count(len(servers), "server"), dir)
	return err
}

// survivors turns -keep into the new configuration, with addresses of the old one where none are given.
func survivors(info consensus.OfflineInfo, keep []string) ([]consensus.OfflineServer, error) {
	if len(keep) == 0 {
		keep = []string{string(info.ServerID)}
	}
	var out []consensus.OfflineServer
	for _, k := range keep {
		id, address, _ := strings.Cut(k, "=")
		if address == "" {
			for _, s := range info.Configuration {
				if string(s.ID) == id {
					address = s.Address
				}
			}
		}
		if address == "" {
			return nil, usagef("server %s is not in the old configuration: give its Raft address, -keep=%s=HOST:PORT", id, id)
		}
		out = append(out, consensus.OfflineServer{ID: raft.ServerID(id), Address: address, Voter: true})
	}
	return out, nil
}

// writeRecovery says what will happen before it is confirmed.
func writeRecovery(w io.Writer, dir string, info consensus.OfflineInfo, servers []consensus.OfflineServer) error {
	kept := map[string]bool{}
	for _, s := range servers {
		kept[string(s.ID)] = true
	}
	fmt.Fprintf(w, "The Raft log in %s ends at index %d of term %d.\n\n", dir, info.LastIndex, info.LastLogTerm)
	if err := offlineTable(info, kept).write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n\n", wrap("Every entry up to that index counts as committed from now on, acknowledged or not. Everything "+
		"that only the dropped servers have is lost. A dropped server that starts again is told that it was removed, if it can reach the cluster: "+
		"start it with -join=ADDRESS.", tableWidth, ""))
	return err
}
