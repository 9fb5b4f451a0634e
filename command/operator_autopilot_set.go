package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/pgraft/pgraft/api"
)

type autopilotSetCmd struct {
	asking
	changes []func(*api.AutopilotConfig)
}

func (c *autopilotSetCmd) spec() spec {
	return spec{
		name:     "operator autopilot set-config",
		synopsis: "Change what autopilot may do on its own",
		help:     "Only what is given is changed, for the whole cluster.",
		examples: []string{"pgraft operator autopilot set-config -cleanup-dead-servers=false", "pgraft operator autopilot set-config -min-quorum=5"},
	}
}

func (c *autopilotSetCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.changes = nil
	fs.Func("cleanup-dead-servers", "`true` or false: remove servers that stay dead", func(s string) error {
		on, err := strconv.ParseBool(s)
		c.change(func(cfg *api.AutopilotConfig) { cfg.CleanupDeadServers = on })
		return err
	})
	fs.Func("min-quorum", "never remove a dead server if fewer than `N` voters would stay", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		c.change(func(cfg *api.AutopilotConfig) { cfg.MinQuorum = uint(n) })
		return err
	})
	fs.Func("max-trailing-logs", "a server whose log is more than `N` entries behind is not healthy", func(s string) error {
		n, err := parseUint(s)
		c.change(func(cfg *api.AutopilotConfig) { cfg.MaxTrailingLogs = n })
		return err
	})
	c.duration(fs, "dead-server-threshold", "remove a server that is dead for this `duration`",
		func(cfg *api.AutopilotConfig) *string { return &cfg.DeadServerThreshold })
	c.duration(fs, "server-stabilization-time", "make a server a voter when it was healthy for this `duration`",
		func(cfg *api.AutopilotConfig) *string { return &cfg.ServerStabilizationTime })
	c.duration(fs, "last-contact-threshold", "a server not heard for this `duration` is not healthy",
		func(cfg *api.AutopilotConfig) *string { return &cfg.LastContactThreshold })
}

func (c *autopilotSetCmd) change(f func(*api.AutopilotConfig)) { c.changes = append(c.changes, f) }

func (c *autopilotSetCmd) duration(fs *flag.FlagSet, name, usage string, field func(*api.AutopilotConfig) *string) {
	fs.Func(name, usage, func(s string) error {
		if _, err := time.ParseDuration(s); err != nil {
			return fmt.Errorf("want a duration such as 10s or 24h")
		}
		c.change(func(cfg *api.AutopilotConfig) { *field(cfg) = s })
		return nil
	})
}

func (c *autopilotSetCmd) run(ctx context.Context, x *call) error {
	if len(c.changes) == 0 {
		return usagef("nothing to change was given")
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		cfg, err := client.AutopilotConfig(ctx, api.QueryOptions{})
		if err != nil {
			return err
		}
		for _, change := range c.changes {
			change(&cfg)
		}
		if err := client.SetAutopilotConfig(ctx, cfg); err != nil {
			return err
		}
		return c.print(x.stdout, cfg, func(w io.Writer) error { return writeAutopilot(w, cfg) })
	})
}
