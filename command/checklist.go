package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posener/complete"

	"github.com/pgraft/pgraft/api"
)

type checklistCmd struct{ asking }

func (c *checklistCmd) spec() spec {
	return spec{
		name: "checklist", args: "daily|weekly|monthly", minArgs: 1, maxArgs: 1,
		synopsis: "Go through what an operator looks at each day, week or month",
		help: "Asks every node that answers, and prints each item of the list with what was measured. OK: nothing to do. LOOK: the value is " +
			"not as it should be, and the next step stands below it. BY HAND: pgraft can't see it; the command or the place is named. " +
			"Nothing is changed. The exit code is 0 whatever was found: programs read -format=json.",
		examples: []string{"pgraft checklist daily", "pgraft checklist weekly -format=json", "pgraft checklist monthly -http-addr=http://10.0.0.12:7400"},
		predict:  complete.PredictSet(daily, weekly, monthly),
	}
}

// The lists that there are.
const (
	daily   = "daily"
	weekly  = "weekly"
	monthly = "monthly"
)

// checklistSpans is how far each list looks back.
var checklistSpans = map[string]time.Duration{daily: 24 * time.Hour, weekly: 7 * 24 * time.Hour, monthly: 31 * 24 * time.Hour}

// nodeAnswer is how long another node may take to answer.
const nodeAnswer = 3 * time.Second

func (c *checklistCmd) run(ctx context.Context, x *call) error {
	which := firstArg(x)
	if _, ok := checklistSpans[which]; !ok {
		return usagef("there is no checklist %q: want daily, weekly or monthly", which)
	}
	return c.do(ctx, func(ctx context.Context, client *api.Client) error {
		seen, err := c.gather(ctx, client)
		if err != nil {
			return err
		}
		list := checklist{Checklist: which, Cluster: seen.asked.ClusterName, AskedAt: seen.asked.Name, AsOf: seen.asked.AsOf, Items: checklistItems(which, seen)}
		return c.print(x.stdout, list, func(w io.Writer) error { return writeChecklist(w, &list) })
	})
}

// sighting is all that a checklist is made from.
type sighting struct {
	asked  api.Status
	nodes  []nodeSighting // the asked one among them
	events []api.Event
}

// nodeSighting is what one node said of itself.
type nodeSighting struct {
	name   string
	status *api.Status // nil = it was not reached
	info   []api.InfoValue
	err    error
}

func (c *checklistCmd) gather(ctx context.Context, client *api.Client) (*sighting, error) {
	asked, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	events, _, err := client.Events(ctx, api.EventOptions{QueryOptions: api.QueryOptions{Stale: true}})
	if err != nil {
		return nil, err
	}
	seen := &sighting{asked: asked, events: events, nodes: make([]nodeSighting, len(asked.Nodes))}
	var wg sync.WaitGroup
	for i, n := range asked.Nodes {
		seen.nodes[i].name = n.Name
		if n.Status != api.NodeAlive && n.NodeID != asked.NodeID {
			seen.nodes[i].err = fmt.Errorf("it is %s", n.Status)
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, nodeAnswer)
			defer cancel()
			c.askNode(ctx, client, &asked, n, &seen.nodes[i])
		})
	}
	wg.Wait()
	if !slices.ContainsFunc(asked.Nodes, func(n api.NodeStatus) bool { return n.NodeID == asked.NodeID }) {
		seen.nodes = append(seen.nodes, nodeSighting{name: asked.Name, status: &asked})
	}
	return seen, nil
}

// askNode asks a node for its own view. One that lets nobody in from here is an error of that node only.
func (c *checklistCmd) askNode(ctx context.Context, client *api.Client, asked *api.Status, n api.NodeStatus, out *nodeSighting) {
	if n.NodeID == asked.NodeID {
		out.status = asked
		out.info, out.err = client.AgentInfo(ctx)
		return
	}
	cfg := c.cfg
	cfg.Address = n.HTTPAddress
	if !strings.Contains(n.HTTPAddress, "://") {
		scheme, _, _ := strings.Cut(client.Address(), "://")
		cfg.Address = scheme + "://" + n.HTTPAddress
	}
	other, err := api.New(cfg)
	if err != nil {
		out.err = err
		return
	}
	defer other.Close()
	s, err := other.Status(ctx)
	switch {
	case err != nil:
		out.err = err
		return
	case s.ServerID != n.ServerID:
		out.err = fmt.Errorf("another agent answers at %s", n.HTTPAddress)
		return
	}
	out.status = &s
	out.info, out.err = other.AgentInfo(ctx)
}

// checklist is what -format=json prints.
type checklist struct {
	Checklist string    `json:"checklist"`
	Cluster   string    `json:"cluster_name"`
	AskedAt   string    `json:"asked_at"` // the node
	AsOf      time.Time `json:"as_of"`
	Items     []item    `json:"items"`
}

// item is one line of a checklist.
type item struct {
	Name     string   `json:"item"`
	Status   string   `json:"status"`   // ok, look, by_hand
	Measured []string `json:"measured"` // lines; by_hand: what to look for
	Next     string   `json:"next,omitempty"`
}

// The verdicts on an item.
const (
	itemOK   = "ok"
	itemLook = "look"
	itemHand = "by_hand"
)

func writeChecklist(w io.Writer, list *checklist) error {
	number := map[string]int{}
	for _, i := range list.Items {
		number[i.Status]++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s checklist of cluster %s, asked at %s, %s\n%d OK, %d to look at, %d by hand\n\n", strings.ToUpper(list.Checklist[:1])+list.Checklist[1:],
		clean(list.Cluster), clean(list.AskedAt), list.AsOf.UTC().Format("2006-01-02 15:04 MST"), number[itemOK], number[itemLook], number[itemHand])
	const first, rest = "%-9s%-23s", 32
	words := map[string]string{itemOK: "OK", itemLook: "LOOK", itemHand: "BY HAND"}
	indent := strings.Repeat(" ", rest)
	for _, i := range list.Items {
		for n, line := range i.Measured {
			begin := indent
			if n == 0 {
				begin = fmt.Sprintf(first, words[i.Status], i.Name)
			}
			fmt.Fprintln(&b, hanging(clean(line), begin, indent))
		}
		if i.Next != "" {
			fmt.Fprintln(&b, hanging(clean(i.Next), indent+"→ ", indent+"  "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
