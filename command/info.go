package command

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pgraft/pgraft/api"
)

type infoCmd struct{ asking }

func (c *infoCmd) spec() spec {
	return spec{
		name:     "info",
		synopsis: "Show an agent's settings in force and where each came from",
		help: "Every configuration value with its source: a file and line, a flag, postgresql.conf, a cluster-wide setting, or " +
			"the default. Below them stand those that don't fit the round trips and the disk that the node measures, and what would.",
		examples: []string{"pgraft info", "pgraft info -format=json"},
	}
}

// infoReport is what -format=json prints.
type infoReport struct {
	Agent  api.Self        `json:"agent"`
	Config []api.InfoValue `json:"config"`
}

func (c *infoCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		self, err := client.AgentSelf(ctx)
		if err != nil {
			return err
		}
		values, err := client.AgentInfo(ctx)
		if err != nil {
			return err
		}
		return c.print(x.stdout, infoReport{self, values}, func(w io.Writer) error { return writeInfo(w, self, values) })
	})
}

func writeInfo(w io.Writer, self api.Self, values []api.InfoValue) error {
	_, err := fmt.Fprintf(w, "Node %s (node_id %d, server id %s)\nCluster %s (%s)\nState %s, role %s, pgraft %s\n\n",
		self.Name, self.NodeID, orDash(self.ServerID), self.ClusterName, orDash(self.ClusterID), self.State, self.Role, self.Version)
	if err != nil {
		return err
	}
	t := newTable("SETTING", "VALUE", "SOURCE")
	t.shrink, t.keepEnd = []int{1, 2}, []int{2} // a source's line number is at its end
	for _, v := range values {
		t.add(v.Name, orDash(v.Value), v.Source)
	}
	if err := t.write(w); err != nil {
		return err
	}
	return writeUnfit(w, values)
}

// writeUnfit names the settings that don't fit what their node measures.
func writeUnfit(w io.Writer, values []api.InfoValue) error {
	var b strings.Builder
	for _, v := range values {
		if v.Unfit != "" {
			fmt.Fprintf(&b, "\n%s\n", hanging(clean(v.Name+" does not fit: "+v.Unfit+"."), "", "   "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
