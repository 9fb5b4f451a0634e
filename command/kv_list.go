package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"

	"github.com/pgraft/pgraft/api"
)

type kvListCmd struct {
	asking
	reading
	keys      bool
	separator string
}

func (c *kvListCmd) spec() spec {
	return spec{
		name: "kv list", args: "[PREFIX]", maxArgs: 1,
		synopsis: "List keys",
		examples: []string{"pgraft kv list", "pgraft kv list app/", "pgraft kv list -keys -separator=/"},
		help: "Shows every key that starts with PREFIX with its size, version and modify_index. -keys prints the names only, " +
			"one per line; with -separator, only up to its first place after the prefix.",
	}
}

func (c *kvListCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.reading.flags(fs)
	fs.BoolVar(&c.keys, "keys", false, "print only the names")
	fs.StringVar(&c.separator, "separator", "", "with -keys: show each name only up to this `text`, such as /")
}

func (c *kvListCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	if c.separator != "" && !c.keys {
		return usagef("-separator needs -keys")
	}
	prefix := prefixArg(x.args)
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		if c.keys {
			keys, _, err := client.KVKeys(ctx, prefix, c.separator, opts)
			if err != nil {
				return err
			}
			return c.print(x.stdout, keys, func(w io.Writer) error { return writeLines(w, keys) })
		}
		pairs, _, err := client.KVList(ctx, prefix, opts)
		if err != nil {
			return err
		}
		return c.print(x.stdout, pairs, func(w io.Writer) error { return kvTable(pairs).write(w) })
	})
}

func prefixArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func writeLines(w io.Writer, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}

func kvTable(pairs []api.KVPair) *table {
	t := newTable("KEY", "SIZE", "VERSION", "MODIFY_INDEX", "LOCKED_BY")
	t.shrink = []int{0}
	for _, p := range pairs {
		t.add(p.Key, bytesText(int64(len(p.Value))), strconv.FormatUint(p.Version, 10), strconv.FormatUint(p.ModifyIndex, 10),
			orDash(p.Session))
	}
	return t
}
