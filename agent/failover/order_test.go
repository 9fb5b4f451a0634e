package failover_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/agent/failover"
)

func TestRestartOrder(t *testing.T) {
	type waiting map[string][]failover.Pending
	raised := []failover.Pending{{Name: "max_connections", Now: "100", Wanted: "200"}}
	lowered := []failover.Pending{{Name: "max_connections", Now: "200", Wanted: "100"}}
	other := []failover.Pending{{Name: "shared_buffers", Now: "100", Wanted: "50"}}
	for name, c := range map[string]struct {
		pending waiting
		want    string
		fails   string
	}{
		"nothing waits":                       {nil, "", ""},
		"a limit is raised: standbys first":   {waiting{"pg1": raised, "pg2": raised, "pg3": raised}, "pg2 pg3 pg1", ""},
		"a limit is lowered: primary first":   {waiting{"pg1": lowered, "pg2": lowered, "pg3": lowered}, "pg1 pg2 pg3", ""},
		"the primary has it lower already":    {waiting{"pg2": lowered, "pg3": lowered}, "pg2 pg3", ""},
		"the primary does not answer, lower":  {waiting{"pg2": lowered}, "", "max_connections is lowered"},
		"the primary does not answer, higher": {waiting{"pg2": raised}, "pg2", ""},
		"no limit: standbys first":            {waiting{"pg1": other, "pg3": other}, "pg3 pg1", ""},
		"both ways": {waiting{"pg1": raised, "pg2": {{Name: "max_wal_senders", Now: "20", Wanted: "10"}}}, "",
			"max_connections is raised and max_wal_senders is lowered"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for id, pending := range c.pending {
				w.of(id).View.Pending = pending
			}
			if strings.HasPrefix(name, "the primary does not answer") {
				w.of("pg1").View.Role = "starting"
			}
			order, err := failover.RestartOrder(w.Scene)
			if got := strings.Join(order, " "); got != c.want {
				t.Errorf("order is %q, want %q", got, c.want)
			}
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("error is %v, want %q", err, c.fails)
			}
		})
	}
}

func TestRollingRestart(t *testing.T) {
	c := founded(t)
	w, _ := c.lead("pg1")
	for _, id := range []string{"pg1", "pg2", "pg3"} {
		n := c.nodes[id]
		n.set(func() { n.pending = []failover.Pending{{Name: "max_connections", Now: "100", Wanted: "200"}} })
	}
	names, err := w.RollingRestart(t.Context())
	if err != nil || !slices.Equal(names, []string{"name-pg2", "name-pg3", "name-pg1"}) {
		t.Fatalf("restarted %v: %v", names, err)
	}
	for _, id := range []string{"pg1", "pg2", "pg3"} {
		if orders := c.nodes[id].took(); len(orders) != 1 || orders[0].Kind != failover.OrderRestart {
			t.Errorf("orders of %s are %+v", id, orders)
		}
	}
	if got := c.restarted(); !slices.Equal(got, []string{"pg2", "pg3", "pg1"}) {
		t.Errorf("restarted in the order %v", got)
	}
}

func TestRestartRefusals(t *testing.T) {
	c := newCluster(t, map[string]bool{"pg3": true}, "pg1", "pg2", "pg3")
	w, _ := c.lead("pg1")
	c.ready("pg1", 2)
	for server, want := range map[string]string{"pg3": "witness", "pg9": "no server"} {
		if err := w.Restart(t.Context(), server); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("restart of %s: %v, want %q", server, err, want)
		}
	}
	c.nodes["pg2"].kill()
	if err := w.Reinit(t.Context(), "pg2"); err == nil || !strings.Contains(err.Error(), "its agent is down") {
		t.Errorf("reinit of a server whose agent is down: %v", err)
	}
}
