package command

import (
	"context"
	"flag"
	"fmt"
	"slices"

	"github.com/pgraft/pgraft/api"
)

type monitorCmd struct {
	connection
	level string
	json  bool
}

func (c *monitorCmd) spec() spec {
	return spec{
		name:     "monitor",
		synopsis: "Stream an agent's log",
		help: "Shows what the agent logs from now on until Ctrl-C. -log-level counts for this stream only: the agent's own log " +
			"stays as it is.",
		examples: []string{"pgraft monitor", "pgraft monitor -log-level=debug"},
	}
}

func (c *monitorCmd) flags(fs *flag.FlagSet) {
	c.connection.flags(fs)
	fs.StringVar(&c.level, "log-level", "info", "the least important `level` to show: trace, debug, info, warn, error")
	fs.BoolVar(&c.json, "log-json", false, "print JSON lines")
}

func (c *monitorCmd) run(ctx context.Context, x *call) error {
	if levels := []string{"trace", "debug", "info", "warn", "error"}; !slices.Contains(levels, c.level) {
		return usagef("no log level %q: want one of %v", c.level, levels)
	}
	return c.stream(ctx, func(ctx context.Context, client *api.Client) error {
		return client.Monitor(ctx, api.MonitorOptions{Level: c.level, JSON: c.json}, func(line []byte) error {
			_, err := fmt.Fprintf(x.stdout, "%s\n", line)
			return err
		})
	})
}
