package command

import (
	"context"
	"flag"

	"github.com/pgraft/pgraft/api"
)

// exportedPair is one key in the files of kv export and kv import.
type exportedPair struct {
	Key   string `json:"key"`
	Flags uint64 `json:"flags"`
	Value []byte `json:"value"` // base64 in JSON
}

type kvExportCmd struct {
	connection
	reading
}

func (c *kvExportCmd) spec() spec {
	return spec{
		name: "kv export", args: "[PREFIX]", maxArgs: 1,
		synopsis: "Write keys and values as JSON to standard output",
		help: "Values are in base64. Indexes, sessions and locks are not in it: for a backup of everything see " +
			"`pgraft snapshot save`.",
		examples: []string{"pgraft kv export app/ > app.json"},
	}
}

func (c *kvExportCmd) flags(fs *flag.FlagSet) {
	c.connection.flags(fs)
	c.reading.flags(fs)
}

func (c *kvExportCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		pairs, _, err := client.KVList(ctx, prefixArg(x.args), opts)
		if err != nil {
			return err
		}
		out := make([]exportedPair, 0, len(pairs))
		for _, p := range pairs {
			out = append(out, exportedPair{Key: p.Key, Flags: p.Flags, Value: p.Value})
		}
		return writeJSON(x.stdout, out)
	})
}
