package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

// connection is the flags with which every verb that asks an agent finds it.
type connection struct {
	cfg     api.Config
	timeout time.Duration
}

func (c *connection) flags(fs *flag.FlagSet) {
	c.cfg = api.DefaultConfig()
	env := func(p *string, name, usage string) {
		fs.Func(name, usage, func(s string) error { *p = s; return nil })
	}
	env(&c.cfg.Address, "http-addr", "`URL` of the agent: http://, https:// or unix:// (env "+api.EnvAddress+
		", default "+api.DefaultAddress+")")
	env(&c.cfg.Token, "token", "access `token` (env "+api.EnvToken+")")
	env(&c.cfg.TLS.CAFile, "ca-file", "`PEM` file of the CA that signed the agent's certificate (env "+api.EnvCAFile+")")
	env(&c.cfg.TLS.CertFile, "cert-file", "client certificate, a `PEM` file (env "+api.EnvCertFile+")")
	env(&c.cfg.TLS.KeyFile, "key-file", "its key, a `PEM` file (env "+api.EnvKeyFile+")")
	env(&c.cfg.TLS.ServerName, "tls-server-name", "`name` expected in the agent's certificate (env "+api.EnvServerName+")")
	fs.DurationVar(&c.timeout, "timeout", 30*time.Second, "give up after this `duration`; 0 waits for ever")
}

func (c *connection) client() (*api.Client, error) {
	client, err := api.New(c.cfg)
	if err != nil {
		return nil, &usageError{msg: err.Error()}
	}
	return client, nil
}

// do calls f with a client and a context that ends after -timeout.
func (c *connection) do(ctx context.Context, f func(context.Context, *api.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	return c.locate(client, f(ctx, client))
}

// stream is do for a verb that goes on until Ctrl-C, which is then no failure.
func (c *connection) stream(ctx context.Context, f func(context.Context, *api.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	err = f(ctx, client)
	if ctx.Err() != nil {
		return nil
	}
	return c.locate(client, err)
}

// locate says where no agent answered, or how long we waited, where the error does not.
func (c *connection) locate(client *api.Client, err error) error {
	switch {
	case err == nil || answered(err):
		return err
	case unreachable(err):
		return advise(fmt.Errorf("no agent answers at %s: %s", c.target(client), rootCause(err)), startAnAgent)
	case tlsAdvice(err) != "":
		return advise(fmt.Errorf("call %s: %s", c.target(client), rootCause(err)), tlsAdvice(err))
	case errors.Is(err, context.DeadlineExceeded):
		return advise(fmt.Errorf("%s gave no answer within %s", c.target(client), c.timeout),
			"Give it more time with -timeout, and look at `pgraft status` and the agent's log. A change that was asked for may "+
				"have been made: look before you repeat it.")
	}
	return err
}

// target is the address as the user gave it: the client's own does not show a socket's path.
func (c *connection) target(client *api.Client) string {
	if strings.HasPrefix(c.cfg.Address, "unix://") {
		return c.cfg.Address
	}
	return client.Address()
}

// asking is what most verbs are made of: a connection and a way to print.
type asking struct {
	connection
	output
}

func (a *asking) flags(fs *flag.FlagSet) {
	a.connection.flags(fs)
	a.output.flags(fs)
}
