package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/pgraft/pgraft/api"
)

type watchCmd struct {
	asking
	reading
	prefix bool
}

func (c *watchCmd) spec() spec {
	return spec{
		name: "watch", args: "KEY [CMD…]", minArgs: 1, maxArgs: -1, child: true,
		synopsis: "Print a key, and again at each change, or run a command with it",
		help: "Goes on until Ctrl-C, and connects again when the agent goes away. CMD gets the value on standard input and " +
			"PGRAFT_KEY, PGRAFT_INDEX and PGRAFT_VERSION in its environment (a version of 0: the key is gone); a change that " +
			"comes while it runs is not lost: the newest value is there when it ends. With -prefix, CMD gets a JSON array.",
		examples: []string{"pgraft watch app/config", "pgraft watch -prefix app/", "pgraft watch app/config sh -c 'cat > /etc/app.conf'"},
	}
}

func (c *watchCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.reading.flags(fs)
	fs.BoolVar(&c.prefix, "prefix", false, "watch every key that starts with KEY")
}

func (c *watchCmd) run(ctx context.Context, x *call) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.stream(ctx, func(ctx context.Context, client *api.Client) error {
		if c.prefix {
			return c.watchPrefix(ctx, x, client, opts)
		}
		// A mistake in the address should not look like a key that never changes.
		if _, _, err := client.KVGet(ctx, x.args[0], opts); err != nil {
			return err
		}
		return client.WatchKey(ctx, x.args[0], opts, func(p *api.KVPair) error { return c.key(ctx, x, p) })
	})
}

func (c *watchCmd) key(ctx context.Context, x *call, p *api.KVPair) error {
	if len(x.args) > 1 {
		if p == nil {
			p = &api.KVPair{Key: x.args[0]}
		}
		return runWith(ctx, x, x.args[1:], p.Value, keyEnv(p))
	}
	if c.format == "json" {
		return json.NewEncoder(x.stdout).Encode(p)
	}
	return writeChange(x.stdout, x.args[0], p)
}

func writeChange(w io.Writer, key string, p *api.KVPair) error {
	if p == nil {
		_, err := fmt.Fprintf(w, "%s is not there\n", key)
		return err
	}
	_, err := fmt.Fprintf(w, "%s  version %d, index %d: %s\n", p.Key, p.Version, p.ModifyIndex, p.Value)
	return err
}

// watchPrefix prints what is new, changed or gone since the last answer.
func (c *watchCmd) watchPrefix(ctx context.Context, x *call, client *api.Client, opts api.QueryOptions) error {
	known := map[string]uint64{}
	if _, _, err := client.KVKeys(ctx, x.args[0], "/", opts); err != nil {
		return err
	}
	return client.WatchPrefix(ctx, x.args[0], opts, func(pairs []api.KVPair) error {
		changed, gone := changes(known, pairs)
		if len(x.args) > 1 {
			list, err := json.Marshal(pairs)
			if err != nil {
				return fmt.Errorf("encode keys: %w", err)
			}
			return runWith(ctx, x, x.args[1:], list, []string{"PGRAFT_KEY=" + x.args[0]})
		}
		return c.writeChanges(x.stdout, changed, gone)
	})
}

func (c *watchCmd) writeChanges(w io.Writer, changed []api.KVPair, gone []string) error {
	for i := range changed {
		if c.format == "json" {
			if err := json.NewEncoder(w).Encode(changed[i]); err != nil {
				return err
			}
			continue
		}
		if err := writeChange(w, changed[i].Key, &changed[i]); err != nil {
			return err
		}
	}
	for _, key := range gone {
		if c.format == "json" {
			if err := json.NewEncoder(w).Encode(map[string]any{"key": key, "deleted": true}); err != nil {
				return err
			}
			continue
		}
		if err := writeChange(w, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// changes compares pairs with the indexes known and brings those up to date.
func changes(known map[string]uint64, pairs []api.KVPair) (changed []api.KVPair, gone []string) {
	there := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		there[p.Key] = true
		if known[p.Key] != p.ModifyIndex {
			changed = append(changed, p)
			known[p.Key] = p.ModifyIndex
		}
	}
	for key := range known {
		if !there[key] {
			gone = append(gone, key)
			delete(known, key)
		}
	}
	return changed, gone
}

func keyEnv(p *api.KVPair) []string {
	return []string{
		"PGRAFT_KEY=" + p.Key,
		"PGRAFT_INDEX=" + strconv.FormatUint(p.ModifyIndex, 10),
		"PGRAFT_VERSION=" + strconv.FormatUint(p.Version, 10),
	}
}

// runWith runs a command with input. That it fails ends the watch with its code.
func runWith(ctx context.Context, x *call, argv []string, input []byte, env []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stdout, cmd.Stderr = x.stdout, x.stderr
	cmd.Env = append(os.Environ(), env...)
	return childResult(argv[0], cmd.Run())
}
