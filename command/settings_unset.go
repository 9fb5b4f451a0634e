package command

import (
	"context"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/api"
)

type settingsUnsetCmd struct{ asking }

func (c *settingsUnsetCmd) spec() spec {
	return spec{
		name: "settings unset", args: "NAME", minArgs: 1, maxArgs: 1,
		synopsis: "Remove a cluster-wide setting",
		help:     "Each agent goes back to what its own configuration says.",
		examples: []string{"pgraft settings unset log_level"},
	}
}

func (c *settingsUnsetCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		result, err := client.SettingUnset(ctx, x.args[0], api.WriteOptions{})
		if err != nil {
			return err
		}
		return c.print(x.stdout, result, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Unset: %s, index %d\n", x.args[0], result.Index)
			return err
		})
	})
}
