package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/pgraft/pgraft/api"
)

// What one transaction may hold; a single larger value goes by an ordinary put.
const (
	importMaxOps   = 128
	importMaxBytes = 384 << 10
)

type kvImportCmd struct {
	connection
	prefix string
}

func (c *kvImportCmd) spec() spec {
	return spec{
		name: "kv import", args: "FILE", minArgs: 1, maxArgs: 1,
		synopsis: "Write the keys of an exported JSON file",
		help: "FILE is what `pgraft kv export` wrote, - is standard input. Keys that exist are overwritten. Keys are written in " +
			"transactions of up to 128, so a failure leaves what was written before it; importing again is harmless.",
		examples: []string{"pgraft kv import app.json", "pgraft kv export app/ | pgraft kv import -prefix=copy/ -"},
	}
}

func (c *kvImportCmd) flags(fs *flag.FlagSet) {
	c.connection.flags(fs)
	fs.StringVar(&c.prefix, "prefix", "", "put this `text` before each key")
}

func (c *kvImportCmd) run(ctx context.Context, x *call) error {
	pairs, err := readExport(x.args[0], x.stdin)
	if err != nil {
		return err
	}
	for i := range pairs {
		pairs[i].Key = c.prefix + pairs[i].Key
	}
	done := 0
	progress := newProgress(x.stderr, "keys")
	for _, batch := range batches(pairs) {
		err := c.do(ctx, func(ctx context.Context, client *api.Client) error { return importBatch(ctx, client, batch) })
		if err != nil {
			return fmt.Errorf("import after %d of %d keys, at %q: %w", done, len(pairs), batch[0].Key, err)
		}
		done += len(batch)
		progress.set(int64(done), int64(len(pairs)))
	}
	progress.done()
	_, err = fmt.Fprintf(x.stdout, "Imported: %s\n", count(done, "key"))
	return err
}

func readExport(name string, stdin io.Reader) ([]exportedPair, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("open import: %w", err)
		}
		defer f.Close()
		r = f
	}
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	var pairs []exportedPair
	if err := dec.Decode(&pairs); err != nil {
		return nil, advise(fmt.Errorf("read import %s: %w", name, err),
			`Nothing was written. The file must be what pgraft kv export writes: [{"key":"…","flags":0,"value":"BASE64"}, …]`)
	}
	for i, p := range pairs {
		if p.Key == "" {
			return nil, fmt.Errorf("read import %s: entry %d has no key; nothing was written", name, i+1)
		}
	}
	return pairs, nil
}

// batches cuts pairs into what one transaction takes.
func batches(pairs []exportedPair) [][]exportedPair {
	var out [][]exportedPair
	size := 0
	for _, p := range pairs {
		n := len(p.Key) + len(p.Value)
		last := len(out) - 1
		if last < 0 || len(out[last]) == importMaxOps || size+n > importMaxBytes {
			out = append(out, nil)
			last, size = last+1, 0
		}
		out[last] = append(out[last], p)
		size += n
	}
	return out
}

func importBatch(ctx context.Context, client *api.Client, batch []exportedPair) error {
	retry := api.WriteOptions{Retry: true}
	if len(batch) == 1 {
		_, err := client.KVPut(ctx, batch[0].Key, batch[0].Value, api.KVPutOptions{WriteOptions: retry, Flags: batch[0].Flags})
		return err
	}
	txn := api.TxnRequest{}
	for _, p := range batch {
		txn.Success = append(txn.Success, api.TxnOp{Op: "set", Key: p.Key, Value: p.Value, Flags: p.Flags})
	}
	resp, err := client.Txn(ctx, txn, retry)
	if err == nil && !resp.Succeeded {
		err = errors.New("the transaction was refused")
	}
	return err
}
