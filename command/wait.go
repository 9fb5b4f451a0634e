package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

type waitCmd struct {
	connection
	what string
}

const waitables = "leader, quorum, ready, primary, node:NAME or role:NAME=ROLE"

const waitPoll = 200 * time.Millisecond

func (c *waitCmd) spec() spec {
	return spec{
		name:     "wait",
		synopsis: "Wait until the cluster is as scripts need it",
		help: "-for=leader: the agent knows a leader. quorum: it also has a quorum's confirmation, so that writes work. " +
			"ready: the agent passes all its readiness checks, its PostgreSQL among them. node:NAME: that node is alive and has its " +
			"place among the voters (or is a replica that never votes). primary: the managed PostgreSQL has a primary that takes writes. " +
			"role:NAME=ROLE: that node's PostgreSQL is, for example, standby or primary. Also waits for the agent to start. After -timeout it " +
			"fails and says what is missing.",
		examples: []string{"pgraft wait", "pgraft wait -for=node:pg4 -timeout=2m && echo pg4 is in", "pgraft wait -for=primary", "pgraft wait -for=role:pg3=standby -timeout=1h"},
	}
}

func (c *waitCmd) flags(fs *flag.FlagSet) {
	c.connection.flags(fs)
	fs.StringVar(&c.what, "for", "ready", "`what` to wait for: "+waitables)
}

// condition asks once; an empty reason means that it holds.
type condition func(ctx context.Context, client *api.Client) (reason string, err error)

func (c *waitCmd) run(ctx context.Context, x *call) error {
	holds, err := conditionFor(c.what)
	if err != nil {
		return err
	}
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
	return c.poll(ctx, client, holds)
}

func (c *waitCmd) poll(ctx context.Context, client *api.Client, holds condition) error {
	last := errors.New("nothing was heard from the agent")
	for {
		reason, err := holds(ctx, client)
		switch {
		case err == nil && reason == "":
			return nil
		case ctx.Err() != nil: // the last answer was cut short: the one before it says more
		case err == nil:
			last = errors.New(reason)
		default:
			last = c.locate(client, err)
		}
		if answered(err) && api.IsCode(err, api.CodeForbidden) {
			return err
		}
		if !sleep(ctx, waitPoll) {
			return fmt.Errorf("waited %s for %s: %w", c.timeout, c.what, last)
		}
	}
}

func conditionFor(what string) (condition, error) {
	name, isNode := strings.CutPrefix(what, "node:")
	ofRole, isRole := strings.CutPrefix(what, "role:")
	node, role, _ := strings.Cut(ofRole, "=")
	switch {
	case isRole && node != "" && slices.Contains(roles, role):
		return onStatus(func(s *api.Status) string { return roleMissing(s, node, role) }), nil
	case isRole && role != "" && node != "":
		return nil, usagef("there is no role %q: want %s", role, strings.Join(roles, ", "))
	case what == "primary":
		return onStatus(primaryMissing), nil
	case isNode && name != "":
		return onStatus(func(s *api.Status) string { return nodeMissing(s, name) }), nil
	case what == "leader":
		return onStatus(leaderMissing), nil
	case what == "quorum":
		return onStatus(quorumMissing), nil
	case what == "ready":
		return notReady, nil
	}
	return nil, usagef("can't wait for %q: want %s", what, waitables)
}

func onStatus(missing func(*api.Status) string) condition {
	return func(ctx context.Context, client *api.Client) (string, error) {
		s, err := client.Status(ctx)
		if err != nil {
			return "", err
		}
		return missing(&s), nil
	}
}

func leaderMissing(s *api.Status) string {
	if s.LeaderID == 0 && s.LeaderName == "" {
		return "no leader is known"
	}
	return ""
}

func quorumMissing(s *api.Status) string {
	if !s.HasQuorum {
		return "the quorum is not confirmed"
	}
	return leaderMissing(s)
}

// roles are what a node can be waited to be.
var roles = []string{
	api.RolePrimary, api.RoleStandby, api.RoleWitness, api.RoleFenced, api.RoleCloning, api.RoleRewinding, api.RoleStarting, api.RoleStopped,
}

func primaryMissing(s *api.Status) string {
	switch {
	case s.Epoch == 0:
		return "the cluster has no managed PostgreSQL yet"
	case s.Phase != api.PhaseReady:
		return "the new primary is not ready: epoch " + strconv.FormatUint(s.Epoch, 10) + " is " + s.Phase
	case s.PrimaryID == 0:
		return "no primary is known here: " + cmp.Or(quorumMissing(s), "this node's own claim is not proven")
	}
	return roleMissing(s, s.PrimaryName, api.RolePrimary)
}

func roleMissing(s *api.Status, name, role string) string {
	for _, n := range s.Nodes {
		switch {
		case n.Name != name:
		case n.Status != api.NodeAlive:
			return fmt.Sprintf("%s is %s", name, n.Status)
		case n.Role != role:
			return fmt.Sprintf("%s is %s", name, cmp.Or(n.Role, api.RoleUnknown))
		default:
			return ""
		}
	}
	return name + " is not in the cluster"
}

func nodeMissing(s *api.Status, name string) string {
	for _, n := range s.Nodes {
		switch {
		case n.Name != name:
		case n.Status != api.NodeAlive:
			return fmt.Sprintf("%s is %s", name, n.Status)
		case !n.Voter && !n.NonVoting:
			return name + " has joined and waits to be made a voter"
		default:
			return ""
		}
	}
	return name + " is not in the cluster"
}

func notReady(ctx context.Context, client *api.Client) (string, error) {
	r, err := client.Ready(ctx, "")
	if err != nil || r.OK {
		return "", err
	}
	var failed []string
	for _, check := range r.Checks {
		if !check.OK {
			failed = append(failed, check.Check+": "+check.Reason)
		}
	}
	return "not ready (" + strings.Join(failed, "; ") + ")", nil
}
