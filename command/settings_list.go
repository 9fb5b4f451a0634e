package command

import (
	"context"
	"flag"
	"io"
	"strconv"

	"github.com/pgraft/pgraft/api"
)

type settingsListCmd struct {
	asking
	reading
}

func (c *settingsListCmd) spec() spec {
	return spec{
		name:     "settings list",
		synopsis: "List the cluster-wide settings",
		examples: []string{"pgraft settings list", "pgraft settings list -format=json"},
	}
}

func (c *settingsListCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.reading.flags(fs)
}

func (c *settingsListCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		settings, _, err := client.SettingList(ctx, opts)
		if err != nil {
			return err
		}
		return c.print(x.stdout, settings, func(w io.Writer) error {
			t := newTable("SETTING", "VALUE", "MODIFY_INDEX")
			t.shrink = []int{1}
			for _, s := range settings {
				t.add(s.Name, s.Value, strconv.FormatUint(s.ModifyIndex, 10))
			}
			return t.write(w)
		})
	})
}
