package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/pgraft/pgraft/api"
)

type eventsCmd struct {
	asking
	follow bool
	since  uint64
	limit  int
}

func (c *eventsCmd) spec() spec {
	return spec{
		name:     "events",
		synopsis: "Show the cluster's history: elections, joins, failures, settings",
		help: "Times are those of the leader that wrote the event, shown in this machine's time zone. With -follow it goes on " +
			"until Ctrl-C and connects again when the agent goes away; -format=json then prints one event per line.",
		examples: []string{"pgraft events", "pgraft events -limit=20 -follow", "pgraft events -since=118 -format=json"},
	}
}

func (c *eventsCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	fs.BoolVar(&c.follow, "follow", false, "go on with new events until Ctrl-C")
	fs.Uint64Var(&c.since, "since", 0, "only events after the one with this `number`")
	fs.IntVar(&c.limit, "limit", 50, "at most the latest `N` events, 0 for all that are kept")
}

func (c *eventsCmd) run(ctx context.Context, x *call) error {
	last, err := c.history(ctx, x)
	if err != nil || !c.follow {
		return err
	}
	return c.stream(ctx, func(ctx context.Context, client *api.Client) error {
		return reconnect(ctx, x.stderr, func() error {
			return client.EventsFollow(ctx, last, func(e api.Event) error {
				last = e.Index
				return c.one(x.stdout, e)
			})
		})
	})
}

// history prints what is there already and returns the last event's number.
func (c *eventsCmd) history(ctx context.Context, x *call) (last uint64, err error) {
	last = c.since
	err = c.do(ctx, func(ctx context.Context, client *api.Client) error {
		events, _, err := client.Events(ctx, api.EventOptions{Since: c.since, Limit: c.limit})
		if err != nil {
			return err
		}
		if len(events) > 0 {
			last = events[len(events)-1].Index
		}
		if c.follow {
			for _, e := range events {
				if err := c.one(x.stdout, e); err != nil {
					return err
				}
			}
			return nil
		}
		return c.print(x.stdout, events, func(w io.Writer) error { return eventTable(events).write(w) })
	})
	return last, err
}

// one prints an event on a line of its own: a table's columns can't be known before its end.
func (c *eventsCmd) one(w io.Writer, e api.Event) error {
	if c.format == "json" {
		return json.NewEncoder(w).Encode(e)
	}
	_, err := fmt.Fprintf(w, "%-6d %s  %-10s %-12s %s\n", e.Index, eventTime(e), e.Type, orDash(e.Node), clean(e.Message))
	return err
}

func eventTable(events []api.Event) *table {
	t := newTable("NO", "TIME", "TYPE", "NODE", "MESSAGE")
	t.shrink = []int{4}
	for _, e := range events {
		t.add(fmt.Sprint(e.Index), eventTime(e), e.Type, orDash(e.Node), e.Message)
	}
	return t
}

func eventTime(e api.Event) string { return e.Time.Local().Format("2006-01-02 15:04:05") }

// reconnect keeps a stream up until ctx ends. Only an agent that went away is waited for; a refusal ends it.
func reconnect(ctx context.Context, stderr io.Writer, stream func() error) error {
	const pause = time.Second
	connected := true
	for {
		err := stream()
		if ctx.Err() != nil {
			return nil
		}
		if answered(err) || !lost(err) {
			return err
		}
		if connected {
			fmt.Fprintln(stderr, "The connection to the agent is lost; waiting for it to come back (Ctrl-C ends).")
		}
		connected = false
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func lost(err error) bool {
	var apiErr *api.Error
	return unreachable(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &apiErr)
}
