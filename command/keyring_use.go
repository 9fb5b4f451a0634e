package command

import (
	"context"

	"github.com/pgraft/pgraft/api"
)

type keyringUseCmd struct{ asking }

func (c *keyringUseCmd) spec() spec {
	return spec{
		name: "keyring use", args: "KEY", minArgs: 1, maxArgs: 1,
		synopsis: "Make every node encrypt with a key",
		help:     "The key must be installed on every node first.",
		examples: []string{"pgraft keyring use 8OGJ2…="},
	}
}

func (c *keyringUseCmd) run(ctx context.Context, x *call) error {
	if err := checkKey(x.args[0]); err != nil {
		return err
	}
	return keyringOp(ctx, &c.asking, x.stdout, func(ctx context.Context, client *api.Client) (api.KeyringResponse, error) {
		return client.KeyringUse(ctx, x.args[0])
	})
}
