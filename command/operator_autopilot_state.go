package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

type autopilotStateCmd struct{ asking }

func (c *autopilotStateCmd) spec() spec {
	return spec{
		name:     "operator autopilot state",
		synopsis: "Show how healthy the leader finds each server",
		examples: []string{"pgraft operator autopilot state"},
	}
}

func (c *autopilotStateCmd) run(ctx context.Context, x *call) error {
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		state, err := client.AutopilotState(ctx)
		if err != nil {
			return err
		}
		return c.print(x.stdout, state, func(w io.Writer) error { return writeAutopilotState(w, state) })
	})
}

func writeAutopilotState(w io.Writer, state api.AutopilotState) error {
	healthy := "Healthy"
	if !state.Healthy {
		healthy = "NOT HEALTHY"
	}
	if _, err := fmt.Fprintf(w, "%s; %s may fail before writes stop\n\n", healthy, count(state.FailureTolerance, "more server")); err != nil {
		return err
	}
	t := newTable("NODE", "HEALTHY", "STATUS", "GOSSIP", "ADDRESS", "LAST CONTACT", "TERM", "INDEX", "STABLE SINCE")
	t.shrink = []int{0, 4}
	slices.SortStableFunc(state.Servers, func(a, b api.AutopilotServer) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range state.Servers {
		stable := "-"
		if !s.StableSince.IsZero() {
			stable = s.StableSince.Local().Format("2006-01-02 15:04:05")
		}
		t.add(s.Name, yesNo(s.Healthy), s.Status, s.NodeStatus, s.Address, roundDuration(s.LastContact), fmt.Sprint(s.LastTerm),
			fmt.Sprint(s.LastIndex), stable)
	}
	return t.write(w)
}

// roundDuration shows a Go duration as other screens do, and what is none as it is.
func roundDuration(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return orDash(text)
	}
	return ago(d)
}
