package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/mattn/go-isatty"

	"github.com/pgraft/pgraft/api"
)

type kvGetCmd struct {
	asking
	reading
	detailed bool
}

func (c *kvGetCmd) spec() spec {
	return spec{
		name: "kv get", args: "KEY", minArgs: 1, maxArgs: 1,
		synopsis: "Print the value of a key",
		help: "Prints the value's bytes and nothing else, so that it can be sent to a file or a pipe; on a terminal a newline " +
			"follows. A key that does not exist is a failure (exit code 1).",
		examples: []string{"pgraft kv get app/config", "pgraft kv get -detailed app/config", "pgraft kv get -consistent app/config > f"},
	}
}

func (c *kvGetCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.reading.flags(fs)
	fs.BoolVar(&c.detailed, "detailed", false, "print its indexes, version, flags and lock, too")
}

func (c *kvGetCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		pair, _, err := client.KVGet(ctx, x.args[0], opts)
		if err != nil {
			return err
		}
		if pair == nil {
			return advise(fmt.Errorf("there is no key %q", x.args[0]), "See which there are: pgraft kv list")
		}
		return c.print(x.stdout, pair, func(w io.Writer) error {
			if c.detailed {
				return writePair(w, pair)
			}
			return writeValue(w, pair.Value)
		})
	})
}

func writeValue(w io.Writer, value []byte) error {
	if _, err := w.Write(value); err != nil {
		return err
	}
	if !isTerminal(w) {
		return nil
	}
	_, err := fmt.Fprintln(w)
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) // and not any character device: /dev/null is one, too
}

func writePair(w io.Writer, p *api.KVPair) error {
	t := newTable("FIELD", "VALUE")
	t.add("key", p.Key)
	t.add("value", string(p.Value))
	t.add("size", bytesText(int64(len(p.Value))))
	t.add("version", strconv.FormatUint(p.Version, 10))
	t.add("create_index", strconv.FormatUint(p.CreateIndex, 10))
	t.add("modify_index", strconv.FormatUint(p.ModifyIndex, 10))
	t.add("flags", strconv.FormatUint(p.Flags, 10))
	t.add("lock_index", strconv.FormatUint(p.LockIndex, 10))
	t.add("session", orDash(p.Session))
	return t.write(w)
}
