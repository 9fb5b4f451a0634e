package command

import (
	"context"

	"github.com/pgraft/pgraft/api"
)

type keyringInstallCmd struct{ asking }

func (c *keyringInstallCmd) spec() spec {
	return spec{
		name: "keyring install", args: "KEY", minArgs: 1, maxArgs: 1,
		synopsis: "Give every node a further gossip key",
		help:     "Every node can then read messages encrypted with it. To change the key of a cluster: install the new one, use it, remove the old one.",
		examples: []string{"pgraft keyring install \"$(pgraft keygen)\""},
	}
}

func (c *keyringInstallCmd) run(ctx context.Context, x *call) error {
	if err := checkKey(x.args[0]); err != nil {
		return err
	}
	return keyringOp(ctx, &c.asking, x.stdout, func(ctx context.Context, client *api.Client) (api.KeyringResponse, error) {
		return client.KeyringInstall(ctx, x.args[0])
	})
}
