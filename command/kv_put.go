package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// maxInput bounds what is read for one value: more than a value may have, so that the agent can refuse it with its own
// words, but no endless pipe.
const maxInput = 1 << 20

type kvPutCmd struct {
	asking
	cas      optionalUint
	flagBits uint64
}

func (c *kvPutCmd) spec() spec {
	return spec{
		name: "kv put", args: "KEY VALUE", minArgs: 2, maxArgs: 2,
		synopsis: "Write a key",
		help: "VALUE is taken as it is, from a file with @FILE, or from standard input with -. A value may have 512 KiB. It " +
			"returns when a majority of the voters has the change on disk.",
		examples: []string{
			`pgraft kv put app/config '{"timeout":30}'`,
			"pgraft kv put app/config @config.json",
			"pgraft kv put -cas=0 app/owner pg1      # only if it does not exist",
		},
	}
}

func (c *kvPutCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.cas.flag(fs, "cas", "write only if the key's modify_index is `N`; 0: only if the key does not exist")
	fs.Uint64Var(&c.flagBits, "flags", 0, "a `number` for the application's own use, stored with the key")
}

func (c *kvPutCmd) run(ctx context.Context, x *call) error {
	value, err := readValue(x.args[1], x.stdin)
	if err != nil {
		return err
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		result, err := client.KVPut(ctx, x.args[0], value, api.KVPutOptions{CAS: c.cas.value, Flags: c.flagBits})
		if err != nil {
			return explainCAS(err, x.args[0])
		}
		return c.print(x.stdout, result, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Written: %s, version %d, index %d\n", x.args[0], result.Version, result.Index)
			return err
		})
	})
}

func explainCAS(err error, key string) error {
	if api.IsCode(err, api.CodePrecondition) {
		return advise(err, "Nothing was changed: somebody else changed the key. Look at it and try with its new modify_index: "+
			"pgraft kv get -detailed "+key)
	}
	return err
}

func readValue(arg string, stdin io.Reader) ([]byte, error) {
	if arg == "-" {
		return readAtMost(stdin, "standard input")
	}
	name, ok := strings.CutPrefix(arg, "@")
	if !ok {
		return []byte(arg), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, advise(fmt.Errorf("open value: %w", err), "To write a value that starts with @, pipe it in: … | pgraft kv put KEY -")
	}
	defer f.Close()
	return readAtMost(f, name)
}

func readAtMost(r io.Reader, name string) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(value) > maxInput {
		return nil, fmt.Errorf("read %s: it is larger than a value may be (512 KiB)", name)
	}
	return value, nil
}

func parseUint(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want a number of 0 or more")
	}
	return n, nil
}
