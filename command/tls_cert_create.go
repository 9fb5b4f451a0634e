package command

import (
	"context"
	"flag"
	"fmt"
	"net"
	"path/filepath"

	"github.com/pgraft/pgraft/internal/tlsutil"
)

type tlsCertCreateCmd struct{ opt tlsutil.CertOptions }

func (c *tlsCertCreateCmd) spec() spec {
	return spec{
		name:     "tls cert create",
		synopsis: "Make a certificate for a node or a client",
		help: "Signs with the authority that `pgraft tls ca create` made. The certificate proves the node to others and is shown " +
			"by it when it calls them; it carries -node, localhost, the loopback addresses, and what -ip and -dns name.",
		examples: []string{
			"pgraft tls cert create -node=pg1 -ip=10.0.0.11",
			"pgraft tls cert create -node=pg1 -dns=pg1.example.com -ca-file=ca.pem -ca-key-file=ca-key.pem",
		},
	}
}

func (c *tlsCertCreateCmd) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.opt.Name, "node", "", "`name` of the node or client; it names the files, too")
	fs.Func("ip", "an `address` of the node; repeatable", func(s string) error {
		ip := net.ParseIP(s)
		if ip == nil {
			return fmt.Errorf("want an IP address; a DNS name goes to -dns")
		}
		c.opt.IPs = append(c.opt.IPs, ip)
		return nil
	})
	fs.Func("dns", "a further DNS `name` of the node; repeatable", func(s string) error {
		c.opt.DNSNames = append(c.opt.DNSNames, s)
		return nil
	})
	fs.StringVar(&c.opt.Dir, "dir", "", "`directory` for the files (default: this one)")
	fs.StringVar(&c.opt.CA.CertFile, "ca-file", tlsutil.CAFileName, "certificate of the authority, a `PEM` file")
	fs.StringVar(&c.opt.CA.KeyFile, "ca-key-file", tlsutil.CAKeyFileName, "its key, a `PEM` file")
	fs.IntVar(&c.opt.Days, "days", tlsutil.DefaultCertDays, "valid for so many `days`, never longer than the authority")
}

func (c *tlsCertCreateCmd) run(_ context.Context, x *call) error {
	if c.opt.Name == "" {
		return usagef("-node is missing")
	}
	pair, err := tlsutil.CreateCert(c.opt)
	if err != nil {
		return err
	}
	cert, key, ca := absolute(pair.CertFile), absolute(pair.KeyFile), absolute(c.opt.CA.CertFile)
	_, err = fmt.Fprintf(x.stdout, "Certificate: %s\nKey:         %s (keep it secret)\nCopy them and %s to %s, and put into its configuration:\n\n"+
		"tls {\n  ca_file   = %q\n  cert_file = %q\n  key_file  = %q\n}\n", pair.CertFile, pair.KeyFile, c.opt.CA.CertFile, c.opt.Name, ca, cert, key)
	return err
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
