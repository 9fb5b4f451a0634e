package command_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/command"
)

// TestDrillRefused asks for drills of clusters that are not whole, or for what can't be. Nothing is ordered: the agent
// of this test knows no orders.
func TestDrillRefused(t *testing.T) {
	change := func(f func(s *api.Status)) api.Status {
		s := managedHealthy()
		s.Nodes[1].LagBytes, s.Nodes[2].LagBytes = 0, 0
		f(&s)
		return s
	}
	for _, tt := range []struct {
		name string
		s    api.Status
		args string
		want string
	}{
		{"External", healthy(), "", "does not manage this PostgreSQL"},
		{"CutOff", managedCutOff(), "", "quorum is lost"},
		{"Fenced", managedFenced(), "", "there is no primary"},
		{"Async", managedAsync(), "", "commits are asynchronous, and a failover may lose some: use -switchover"},
		{"Clone", managedClone(), "", "failover is paused (pgraft resume ends that); a switchover is under way; pg1 does not count for commits yet; pg3 is busy: clone 2% of 20 GiB"},
		{"Failed", change(func(s *api.Status) { s.Nodes[0].Status = api.NodeFailed }), "", "pg1 is failed"},
		{"WitnessFailed", change(func(s *api.Status) { s.Nodes[3].Status = api.NodeFailed }), "", "witness is failed"},
		{"Behind", change(func(s *api.Status) { s.Nodes[2].LagBytes = 17 << 20 }), "", "pg3 is behind: 17 MiB"},
		{"NotStreaming", change(func(s *api.Status) { s.Nodes[2].Replication = "catchup" }), "", "pg3 does not stream"},
		{"NotCounted", change(func(s *api.Status) { s.Sync.Members = []string{"pg1", "pg2"} }), "", "pg3 does not count"},
		{"Alone", change(func(s *api.Status) { s.Nodes = s.Nodes[1:2] }), "", "there is no standby"},
		{"Unknown", change(func(*api.Status) {}), "pg9", "there is no node pg9"},
		{"PrimaryItself", change(func(*api.Status) {}), "2", "2 is the primary already"},
		{"Witness", change(func(*api.Status) {}), "witness", "witness can't be primary"},
		{"NotConfirmed", change(func(*api.Status) {}), "", "not confirmed: nothing was changed"},
		{"WrongString", change(func(*api.Status) {}), "-yes -dsn=nonsense", "read connection string"},
		{"NobodyThere", change(func(*api.Status) {}), "-yes -dsn=postgres://u@127.0.0.1:1/x", "nothing was changed: connect to the primary"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			agent(t, map[string]any{"GET /v1/status": tt.s, "GET /v1/events": events()})
			args := append([]string{"drill", "failover"}, strings.Fields(tt.args)...)
			r := run(t, "", args...)
			if text := strings.Join(strings.Fields(r.stderr), " "); r.code != 1 || r.stdout != "" || !strings.Contains(text, tt.want) {
				t.Errorf("%+v", r)
			}
		})
	}
	for _, line := range []string{"drill", "drill failover a b", "drill fire"} {
		if r := run(t, "", strings.Fields(line)...); r.code != 2 {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

func TestDrillReport(t *testing.T) {
	acks := map[int64]time.Time{}
	when, found := at, []int64{}
	for n := int64(1); n <= 40; n++ {
		if n == 21 { // in doubt, and there all the same
			when = when.Add(640 * time.Millisecond)
			found = append(found, n)
			continue
		}
		when = when.Add(2500 * time.Microsecond)
		acks[n], found = when, append(found, n)
	}
	steps := []api.Event{
		{Index: 9, Time: at, Type: "fence", Node: "pg2", Message: "node pg2 is primary no more: failover by an operator"},
		{Index: 10, Time: at.Add(240 * time.Millisecond), Type: "report", Node: "pg1", Message: "node pg1 has WAL up to 0/6F000148 of epoch 3"},
		{Index: 11, Time: at.Add(400 * time.Millisecond), Type: "ready", Node: "pg1", Message: "node pg1 takes writes on timeline 5 from 0/6F000148"},
	}
	for name, tt := range map[string]struct {
		found   []int64
		missing string
		lost    []int64
	}{
		"well":      {found, "", nil},
		"lost":      {slices.DeleteFunc(slices.Clone(found), func(n int64) bool { return n == 20 || n == 22 }), "", []int64{20, 22}},
		"not-whole": {found, "pg2 is busy: clone 2% of 20 GiB", nil},
	} {
		var out bytes.Buffer
		lost, err := command.WriteDrillReport(&out, acks, tt.found, steps, tt.missing)
		if err != nil || !slices.Equal(lost, tt.lost) {
			t.Errorf("%s: lost %v, %v", name, lost, err)
		}
		fits(t, out.String())
		golden(t, "drill/"+name+".txt", out.String())
	}
}
