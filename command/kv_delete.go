package command

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/api"
)

type kvDeleteCmd struct {
	asking
	recurse bool
	cas     optionalUint
}

func (c *kvDeleteCmd) spec() spec {
	return spec{
		name: "kv delete", args: "KEY", minArgs: 1, maxArgs: 1,
		synopsis: "Delete a key, or all below a prefix",
		help:     "That there is no such key is no failure; the answer says how many were deleted.",
		examples: []string{"pgraft kv delete app/config", "pgraft kv delete -recurse app/"},
	}
}

func (c *kvDeleteCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	fs.BoolVar(&c.recurse, "recurse", false, "delete every key that starts with KEY")
	c.cas.flag(fs, "cas", "delete only if the key's modify_index is `N`")
}

func (c *kvDeleteCmd) run(ctx context.Context, x *call) error {
	if c.recurse && c.cas.value != nil {
		return usagef("-cas compares one key, -recurse deletes many: give one of them")
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		result, err := client.KVDelete(ctx, x.args[0], api.KVDeleteOptions{Recurse: c.recurse, CAS: c.cas.value})
		if err != nil {
			return explainCAS(err, x.args[0])
		}
		return c.print(x.stdout, result, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Deleted: %s, index %d\n", count(int(result.Deleted), "key"), result.Index)
			return err
		})
	})
}
