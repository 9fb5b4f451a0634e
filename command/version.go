package command

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/internal/version"
)

type versionCmd struct{ output }

func (c *versionCmd) spec() spec {
	return spec{
		name:     "version",
		synopsis: "Print the version of this program",
		help:     "The versions of the running agents are in `pgraft members`.",
		examples: []string{"pgraft version", "pgraft version -format=json"},
	}
}

func (c *versionCmd) flags(fs *flag.FlagSet) { c.output.flags(fs) }

func (c *versionCmd) run(_ context.Context, x *call) error {
	info := version.Get()
	return c.print(x.stdout, info, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, info)
		return err
	})
}
