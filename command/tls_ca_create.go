package command

import (
	"context"
	"flag"
	"fmt"

	"github.com/pgraft/pgraft/internal/tlsutil"
)

type tlsCACreateCmd struct{ opt tlsutil.CAOptions }

func (c *tlsCACreateCmd) spec() spec {
	return spec{
		name:     "tls ca create",
		synopsis: "Make a certificate authority for a cluster",
		help: "Writes a certificate, which every agent gets as tls.ca_file, and its key, which only `pgraft tls cert create` needs: " +
			"keep it off the agents' machines. Files that exist are never overwritten.",
		examples: []string{"pgraft tls ca create", "pgraft tls ca create -dir=/root/pgraft-ca -days=3650"},
	}
}

func (c *tlsCACreateCmd) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.opt.Dir, "dir", "", "`directory` for the files (default: this one)")
	fs.StringVar(&c.opt.Name, "name", "pgraft CA", "`name` of the authority")
	fs.IntVar(&c.opt.Days, "days", tlsutil.DefaultCADays, "valid for so many `days`")
}

func (c *tlsCACreateCmd) run(_ context.Context, x *call) error {
	pair, err := tlsutil.CreateCA(c.opt)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(x.stdout, "Certificate: %s\nKey:         %s (keep it secret)\nNext, for each node: pgraft tls cert create -node=NAME -ip=ADDRESS\n",
		pair.CertFile, pair.KeyFile)
	return err
}
