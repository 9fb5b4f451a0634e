package command

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/pgraft/pgraft/api"
)

// keyringOp is what the keyring verbs share: an operation on every node, and a report that fails if any node did.
func keyringOp(ctx context.Context, c *asking, w io.Writer, op func(context.Context, *api.Client) (api.KeyringResponse, error)) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		resp, err := op(ctx, client)
		if err != nil {
			return err
		}
		if err := c.print(w, resp, func(w io.Writer) error { return writeKeyring(w, resp) }); err != nil {
			return err
		}
		return keyringError(resp)
	})
}

func writeKeyring(w io.Writer, r api.KeyringResponse) error {
	t := newTable("KEY", "NODES", "ENCRYPTS ON")
	for _, key := range slices.Sorted(maps.Keys(r.Keys)) {
		t.add(key, fmt.Sprintf("%d of %d", r.Keys[key], r.NumNodes), fmt.Sprintf("%d of %d", r.PrimaryKeys[key], r.NumNodes))
	}
	return t.write(w)
}

func keyringError(r api.KeyringResponse) error {
	if len(r.Errors) == 0 {
		return nil
	}
	nodes := slices.Sorted(maps.Keys(r.Errors))
	err := fmt.Errorf("%d of %d nodes failed; %s: %s", len(nodes), r.NumNodes, nodes[0], r.Errors[nodes[0]])
	if len(nodes) == r.NumNodes {
		return err
	}
	return advise(err,
		"Bring the node back and run the same again: the operation is harmless where it was done already.")
}

func checkKey(key string) error {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 16 && len(raw) != 24 && len(raw) != 32 {
		return usagef("%q is no gossip key: want 16, 24 or 32 bytes in base64, as `pgraft keygen` prints", key)
	}
	return nil
}

type keyringListCmd struct{ asking }

func (c *keyringListCmd) spec() spec {
	return spec{
		name:     "keyring list",
		synopsis: "List the gossip keys and how many nodes have each",
		examples: []string{"pgraft keyring list"},
	}
}

func (c *keyringListCmd) run(ctx context.Context, x *call) error {
	return keyringOp(ctx, &c.asking, x.stdout, func(ctx context.Context, client *api.Client) (api.KeyringResponse, error) {
		return client.KeyringList(ctx)
	})
}
