package demo

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

const (
	readyPoll  = 100 * time.Millisecond
	statusWait = 2 * time.Second
)

// waitReady returns when every agent agrees that the cluster is whole.
func (c *cluster) waitReady(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	last := ""
	for {
		missing := c.missing(ctx)
		if missing == "" {
			return nil
		}
		if missing != last && ctx.Err() == nil {
			c.sayf("  waiting: %s", missing)
			last = missing
		}
		select {
		case <-ctx.Done():
			if ctx.Err() == context.Canceled { //nolint:errorlint // a context's own error is never wrapped
				return ctx.Err()
			}
			return &Error{fmt.Errorf("the cluster was not ready after %s: %s", readyTimeout, last),
				"The ends of the agents' logs are above; -keep leaves all of them."}
		case <-tick.C:
		}
		if n := c.deadAgent(); n != nil {
			return &Error{fmt.Errorf("the agent of %s ended while the cluster was starting", n.name), "The end of its log is above."}
		}
	}
}

// missing says what the first node that is not ready lacks, "" when all are ready.
func (c *cluster) missing(ctx context.Context) string {
	for _, n := range c.nodes {
		s, err := n.status(ctx)
		if err != nil {
			return fmt.Sprintf("the agent of %s does not answer yet", n.name)
		}
		if what := missing(&s, len(c.nodes)); what != "" {
			return n.name + ": " + what
		}
	}
	return ""
}

func (n *node) status(ctx context.Context) (api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	client, err := api.New(api.Config{Address: n.httpURL()})
	if err != nil {
		return api.Status{}, err
	}
	defer client.Close()
	return client.Status(ctx)
}

// missing says what a node's status lacks until its cluster of so many nodes is ready.
func missing(s *api.Status, nodes int) string {
	voters, alive := 0, 0
	for _, n := range s.Nodes {
		if n.Voter {
			voters++
		}
		if n.Status == api.NodeAlive {
			alive++
		}
	}
	switch {
	case s.ClusterID == "" || s.LeaderID == 0:
		return "no leader yet"
	case len(s.Nodes) < nodes:
		return fmt.Sprintf("%d of %d nodes registered", len(s.Nodes), nodes)
	case voters < nodes:
		return fmt.Sprintf("%d of %d nodes vote", voters, nodes)
	case alive < nodes:
		return fmt.Sprintf("%d of %d nodes alive", alive, nodes)
	case !s.HasQuorum:
		return "no quorum yet"
	case !s.Postgres.Up:
		return "PostgreSQL is not connected yet"
	case s.Postgres.Error != "":
		return s.Postgres.Error
	case s.Postgres.ExtensionVersion == "":
		return "the extension is not installed yet"
	case s.WorkerState != api.WorkerRunning:
		return strings.TrimSuffix(fmt.Sprintf("the agent is %s: %s", s.WorkerState, s.WorkerMessage), ": ")
	}
	return ""
}

// deadAgent returns a node whose agent has ended.
func (c *cluster) deadAgent() *node {
	for _, n := range c.nodes {
		if n.runningAgent() == 0 {
			return n
		}
	}
	return nil
}

// showLogs prints the end of each agent's log: the directory is about to go.
func (c *cluster) showLogs() {
	for _, n := range c.nodes {
		if text, err := os.ReadFile(n.logFile()); err == nil && len(text) > 0 {
			c.sayf("--- %s\n%s", n.logFile(), lastLines(string(text), 15))
		}
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
