package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/posener/complete"

	"github.com/pgraft/pgraft/api"
)

// confirm asks who sits at a terminal. A script has decided already: it is asked only where always is set, and then must
// say -yes.
func (c *confirmation) confirm(x *call, always bool, question string) error {
	if !always && !interactive(x.stdin) {
		return nil
	}
	return c.ask(x, question)
}

func interactive(stdin io.Reader) bool {
	f, ok := stdin.(*os.File)
	return ok && isTerminal(f)
}

// firstArg is the verb's argument, "" without one.
func firstArg(x *call) string {
	if len(x.args) == 0 {
		return ""
	}
	return x.args[0]
}

// order runs one order about the managed PostgreSQL and prints what came of it.
func (a *asking) order(ctx context.Context, x *call, send func(context.Context, *api.Client) (api.ClusterResult, error), done string) error {
	return a.do(ctx, func(ctx context.Context, client *api.Client) error {
		result, err := send(ctx, client)
		if err != nil {
			return err
		}
		return a.print(x.stdout, result, func(w io.Writer) error {
			text := sentence(cmp.Or(result.Message, done))
			if result.Primary != "" {
				text = fmt.Sprintf("%s is the primary now, epoch %d.", result.Primary, result.Epoch)
				if result.Message != "" {
					text += "\nWARNING: " + sentence(result.Message)
				}
			}
			_, err := fmt.Fprintln(w, text)
			return err
		})
	})
}

// predictNodes completes the names of nodes, as an agent that answers at once knows them.
func predictNodes() complete.Predictor {
	return complete.PredictFunc(func(complete.Args) []string {
		client, err := api.New(api.DefaultConfig())
		if err != nil {
			return nil
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s, err := client.Status(ctx)
		if err != nil {
			return nil
		}
		return names(s.Nodes)
	})
}
