package command

import (
	"context"

	"github.com/pgraft/pgraft/api"
)

type keyringRemoveCmd struct{ asking }

func (c *keyringRemoveCmd) spec() spec {
	return spec{
		name: "keyring remove", args: "KEY", minArgs: 1, maxArgs: 1,
		synopsis: "Take a gossip key from every node",
		help:     "The key that is in use can't be removed.",
		examples: []string{"pgraft keyring remove 8OGJ2…="},
	}
}

func (c *keyringRemoveCmd) run(ctx context.Context, x *call) error {
	if err := checkKey(x.args[0]); err != nil {
		return err
	}
	return keyringOp(ctx, &c.asking, x.stdout, func(ctx context.Context, client *api.Client) (api.KeyringResponse, error) {
		return client.KeyringRemove(ctx, x.args[0])
	})
}
