package command

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/api"
)

type settingsGetCmd struct {
	asking
	reading
}

func (c *settingsGetCmd) spec() spec {
	return spec{
		name: "settings get", args: "NAME", minArgs: 1, maxArgs: 1,
		synopsis: "Print a cluster-wide setting",
		examples: []string{"pgraft settings get log_level"},
	}
}

func (c *settingsGetCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.reading.flags(fs)
}

func (c *settingsGetCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		setting, _, err := client.SettingGet(ctx, x.args[0], opts)
		if err != nil {
			return err
		}
		if setting == nil {
			return advise(fmt.Errorf("the setting %q is not set for the cluster", x.args[0]),
				"What each agent uses then is in its own configuration: pgraft info")
		}
		return c.print(x.stdout, setting, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, setting.Value)
			return err
		})
	})
}
