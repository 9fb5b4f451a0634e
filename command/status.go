package command

import (
	"context"
	"io"

	"github.com/pgraft/pgraft/api"
)

type statusCmd struct{ asking }

func (c *statusCmd) spec() spec {
	return spec{
		name:     "status",
		synopsis: "Show who leads, how every node is, what is wrong and what to do",
		help: "Asks one agent what it knows of itself and of the cluster. It answers from its own memory, so it also " +
			"answers in a minority and without a leader, and says so.",
		examples: []string{"pgraft status", "pgraft status -http-addr=http://10.0.0.12:7400", "pgraft status -format=json"},
	}
}

func (c *statusCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		return c.print(x.stdout, s, func(w io.Writer) error { return writeStatus(w, &s) })
	})
}
