package command

import (
	"context"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/api"
)

type settingsSetCmd struct{ asking }

func (c *settingsSetCmd) spec() spec {
	return spec{
		name: "settings set", args: "NAME VALUE", minArgs: 2, maxArgs: 2,
		synopsis: "Change a cluster-wide setting",
		help: "A key of the configuration that a reload changes, such as log_level, is obeyed by every agent and wins over its files; " +
			"other keys are refused. postgres.NAME sets a parameter of the managed PostgreSQL on all nodes, and wins over theirs. Any other name is yours: it is stored and replicated, and the agents don't look at it.",
		examples: []string{"pgraft settings set log_level debug", "pgraft settings set raft.snapshot_interval 1m", "pgraft settings set postgres.work_mem 64MB", "pgraft settings set app.limit -1"},
	}
}

func (c *settingsSetCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		result, err := client.SettingSet(ctx, x.args[0], x.args[1], api.WriteOptions{})
		if err != nil {
			return err
		}
		return c.print(x.stdout, result, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Set: %s = %s, index %d\n", x.args[0], x.args[1], result.Index)
			return err
		})
	})
}
