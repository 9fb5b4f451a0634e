package command

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pgraft/pgraft/api"
)

type reloadCmd struct{ asking }

func (c *reloadCmd) spec() spec {
	return spec{
		name:     "reload",
		synopsis: "Make an agent read its configuration files again",
		help:     "Applies what can change in a running agent, as SIGHUP does, and names what needs a restart.",
		examples: []string{"pgraft validate /etc/pgraft.d && pgraft reload"},
	}
}

func (c *reloadCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		result, err := client.Reload(ctx)
		if err != nil {
			return err
		}
		return c.print(x.stdout, result, func(w io.Writer) error { return writeReload(w, result) })
	})
}

func writeReload(w io.Writer, r api.ReloadResult) error {
	applied, restart := "nothing changed", ""
	if len(r.Applied) > 0 {
		applied = "changed: " + strings.Join(r.Applied, ", ")
	}
	if len(r.NeedsRestart) > 0 {
		restart = "\nRestart the agent for: " + strings.Join(r.NeedsRestart, ", ")
	}
	_, err := fmt.Fprintf(w, "Configuration read again; %s.%s\n", applied, restart)
	return err
}
