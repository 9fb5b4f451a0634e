package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

type drillFailoverCmd struct {
	asking
	confirmation
	dsn    string
	gentle bool
}

// drillTimeout is the default of -timeout here: an old primary that must be cloned anew takes its time.
const drillTimeout = 10 * time.Minute

func (c *drillFailoverCmd) spec() spec {
	return spec{
		name: "drill failover", args: "[NODE]", maxArgs: 1,
		synopsis: "Practise a failover now, and measure what clients notice",
		help: "Looks first whether all nodes are well and refuses if not. Then one connection writes numbers, as fast as they are acknowledged, to " +
			"the table " + drillTable + ", which is made for it and dropped at the end; the primary is replaced as by `pgraft failover NODE`, or with " +
			"-switchover as by `pgraft switchover NODE`; and it is waited until the old primary is a standby that counts. It prints the longest " +
			"time between two acknowledged writes, whether an acknowledged one is missing, and each step from the history.\n\n" +
			"All sessions of all clients end once, as in any failover: do it when that may be. Nothing is killed. The exit code is 1 if a write is " +
			"lost or the cluster is not whole again in time.\n\n" +
			"The connection goes to the nodes' PostgreSQL addresses, with user and password from PGUSER, PGPASSWORD or ~/.pgpass. -dsn takes your " +
			"application's string instead, and measures what that notices. The role must be allowed to create a table.",
		examples: []string{
			"pgraft drill failover", "pgraft drill failover -switchover -yes",
			"pgraft drill failover pg2 -dsn='host=10.0.0.11,10.0.0.12,10.0.0.13 user=app dbname=app'",
		},
		predict: predictNodes(),
	}
}

func (c *drillFailoverCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	c.confirmation.flags(fs)
	fs.StringVar(&c.dsn, "dsn", "", "`connection string` of the writes (default: all nodes, user from PGUSER and the like)")
	fs.BoolVar(&c.gentle, "switchover", false, "hand over in order instead of cutting the primary off")
	c.timeout = drillTimeout
	fs.Lookup("timeout").DefValue = drillTimeout.String()
}

func (c *drillFailoverCmd) run(ctx context.Context, x *call) error {
	node := firstArg(x)
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		s, err := settled(ctx, client)
		if err != nil {
			return err
		}
		if why := drillObstacles(&s, node, c.gentle); len(why) > 0 {
			return advise(fmt.Errorf("no drill, and nothing was changed: %s", strings.Join(why, "; ")), "A drill starts from a cluster that is whole: see pgraft status.")
		}
		fmt.Fprintln(x.stderr, wrap(drillPlan(&s, node, c.gentle), tableWidth, ""))
		if err := c.ask(x, "All sessions end once."); err != nil {
			return err
		}
		report, err := c.drill(ctx, client, &s, node)
		if err != nil {
			return err
		}
		if err := c.print(x.stdout, report, func(w io.Writer) error { return writeDrill(w, report) }); err != nil {
			return err
		}
		if len(report.Lost) > 0 || !report.Whole {
			return &exitError{code: exitFailed}
		}
		return nil
	})
}

// drill does it. What it returns without an error has happened, for better or worse.
func (c *drillFailoverCmd) drill(ctx context.Context, client *api.Client, s *api.Status, node string) (*drillReport, error) {
	since, err := lastEventIndex(ctx, client)
	if err != nil {
		return nil, err
	}
	w, err := startDrillWriter(ctx, cmp.Or(c.dsn, drillDSN(s)))
	if err != nil {
		return nil, err
	}
	report := &drillReport{Kind: "failover", OldPrimary: s.PrimaryName}
	if c.gentle {
		report.Kind = "switchover"
	}
	err = c.moveAndWait(ctx, client, s, node, w, report)
	// Reading and cleaning up get time of their own: the drill's may be over, or Ctrl-C have ended it.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drillEnd)
	defer cancel()
	journal, found, endErr := w.end(last)
	if found != nil {
		report.judge(journal, found)
	}
	if len(report.Lost) > 0 && (err != nil || endErr != nil) {
		err = errors.Join(err, fmt.Errorf("%d of %d ACKNOWLEDGED WRITES ARE LOST", len(report.Lost), report.Acknowledged))
	}
	if err != nil || endErr != nil {
		return nil, errors.Join(err, endErr)
	}
	events, _, err := client.Events(last, api.EventOptions{Since: since, QueryOptions: api.QueryOptions{Stale: true}})
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	report.steps(events)
	return report, nil
}

func lastEventIndex(ctx context.Context, client *api.Client) (uint64, error) {
	events, _, err := client.Events(ctx, api.EventOptions{Limit: 1, QueryOptions: api.QueryOptions{Stale: true}})
	if err != nil {
		return 0, fmt.Errorf("read the history: %w", err)
	}
	if len(events) == 0 {
		return 0, nil
	}
	return events[len(events)-1].Index, nil
}

const (
	drillWrites = 50               // acknowledged before the order, and after it
	drillEnd    = 30 * time.Second // for what must be done however the drill ended
	drillPoll   = 100 * time.Millisecond
)

// drillPatience is how long what is under way when the drill begins may take: an election, a standby that catches up.
const drillPatience = 3 * time.Second

// settled returns the status once the agent is in touch with a leader and all nodes are well, or have not been for too
// long: a node that has just caught up is seen a moment later.
func settled(ctx context.Context, client *api.Client) (api.Status, error) {
	for begun := time.Now(); ; pause(ctx, drillPoll) {
		s, err := client.Status(ctx)
		well := s.HasQuorum && len(drillUnwell(&s)) == 0
		if err != nil || well || time.Since(begun) > drillPatience || ctx.Err() != nil {
			return s, err
		}
	}
}

// give gives the order, again while a leader is being elected: then it was not done.
func (c *drillFailoverCmd) give(ctx context.Context, client *api.Client, node string) (result api.ClusterResult, err error) {
	for begun := time.Now(); ; pause(ctx, drillPoll) {
		if c.gentle {
			result, err = client.Switchover(ctx, node)
		} else {
			result, err = client.Failover(ctx, api.ClusterRequest{Node: node})
		}
		if !api.IsCode(err, api.CodeNoLeader) && !api.IsCode(err, api.CodeNotLeader) || time.Since(begun) > drillPatience || ctx.Err() != nil {
			return result, err
		}
	}
}

// moveAndWait gives the order and waits until the cluster is whole again.
func (c *drillFailoverCmd) moveAndWait(ctx context.Context, client *api.Client, s *api.Status, node string, w *drillWriter, report *drillReport) error {
	if err := w.waitMore(ctx, drillWrites); err != nil {
		return fmt.Errorf("no failover was ordered: %w", err)
	}
	report.Ordered = time.Now()
	result, err := c.give(ctx, client, node)
	if err != nil {
		return fmt.Errorf("order the %s: %w", report.Kind, err)
	}
	report.NewPrimary, report.Epoch = result.Primary, result.Epoch
	report.OrderMS = time.Since(report.Ordered).Milliseconds()
	if err := w.waitMore(ctx, drillWrites); err != nil {
		return fmt.Errorf("after the %s: %w", report.Kind, err)
	}
	for {
		now, err := client.Status(ctx)
		switch {
		case err != nil:
			report.Missing = err.Error()
		default:
			report.Missing = drillMissing(&now, s, report.Epoch)
		}
		if report.Missing == "" {
			report.Whole, report.WholeMS = true, time.Since(report.Ordered).Milliseconds()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // the report says what is missing
		case <-time.After(drillPoll):
		}
	}
}
