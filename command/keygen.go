package command

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
)

// gossipKeyBytes makes memberlist encrypt with AES-256.
const gossipKeyBytes = 32

type keygenCmd struct{}

func (c *keygenCmd) spec() spec {
	return spec{
		name:     "keygen",
		synopsis: "Make a key that encrypts gossip",
		help: "Prints a random 256-bit key for `encrypt` in the configuration; every agent of a cluster needs the same one. " +
			"To change the key of a running cluster see `pgraft keyring -h`.",
		examples: []string{"pgraft keygen"},
	}
}

func (c *keygenCmd) flags(*flag.FlagSet) {}

func (c *keygenCmd) run(_ context.Context, x *call) error {
	key := make([]byte, gossipKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("read random bytes: %w", err)
	}
	_, err := fmt.Fprintln(x.stdout, base64.StdEncoding.EncodeToString(key))
	return err
}
