package command

import (
	"context"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/api"
)

type joinCmd struct{ asking }

func (c *joinCmd) spec() spec {
	return spec{
		name: "join", args: "ADDR", minArgs: 1, maxArgs: 1,
		synopsis: "Bring the asked agent into the cluster at ADDR",
		help: "ADDR is host or host:port of any member's gossip (port 7402). The node joins as a non-voter and is made a voter " +
			"once it has caught up. For good put the address into retry_join.",
		examples: []string{"pgraft join 10.0.0.11", "pgraft join 10.0.0.11:7402"},
	}
}

func (c *joinCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		result, err := client.Join(ctx, x.args[0])
		if err != nil {
			return err
		}
		return c.print(x.stdout, result, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Joined through %s. Follow it with: pgraft wait -for=ready\n", x.args[0])
			return err
		})
	})
}
