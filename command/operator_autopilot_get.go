package command

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/api"
)

type autopilotGetCmd struct {
	asking
	reading
}

func (c *autopilotGetCmd) spec() spec {
	return spec{
		name:     "operator autopilot get-config",
		synopsis: "Show what autopilot may do on its own",
		examples: []string{"pgraft operator autopilot get-config"},
	}
}

func (c *autopilotGetCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.reading.flags(fs)
}

func (c *autopilotGetCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		cfg, err := client.AutopilotConfig(ctx, opts)
		if err != nil {
			return err
		}
		return c.print(x.stdout, cfg, func(w io.Writer) error { return writeAutopilot(w, cfg) })
	})
}

func writeAutopilot(w io.Writer, cfg api.AutopilotConfig) error {
	t := newTable("SETTING", "VALUE")
	t.add("cleanup_dead_servers", fmt.Sprint(cfg.CleanupDeadServers))
	t.add("min_quorum", fmt.Sprint(cfg.MinQuorum))
	t.add("dead_server_threshold", cfg.DeadServerThreshold)
	t.add("server_stabilization_time", cfg.ServerStabilizationTime)
	t.add("max_trailing_logs", fmt.Sprint(cfg.MaxTrailingLogs))
	t.add("last_contact_threshold", cfg.LastContactThreshold)
	return t.write(w)
}
