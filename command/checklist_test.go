package command_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
)

// checkedCluster is a managed cluster whose nodes' own agents answer as given by own, nil for one that does not.
func checkedCluster(t *testing.T, asked api.Status, own map[string]*api.Status, info map[string][]api.InfoValue, events []api.Event) {
	t.Helper()
	for i := range asked.Nodes {
		n := &asked.Nodes[i]
		n.ServerID = "server-" + n.Name
		s := own[n.Name]
		if n.NodeID == asked.NodeID || s == nil {
			n.HTTPAddress = "127.0.0.1:1" // where nobody listens
			continue
		}
		s.Name, s.ServerID = n.Name, n.ServerID
		mux := http.NewServeMux()
		mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(t, w, s) })
		mux.HandleFunc("GET /v1/agent/info", func(w http.ResponseWriter, _ *http.Request) { reply(t, w, info[n.Name]) })
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		n.HTTPAddress = strings.TrimPrefix(server.URL, "http://")
	}
	asked.ServerID = "server-" + asked.Name
	agent(t, map[string]any{"GET /v1/status": asked, "GET /v1/agent/info": info[asked.Name], "GET /v1/events": events})
}

// wellNode is what a node says of itself that is well.
func wellNode() api.Status {
	s := managedHealthy()
	s.Log.DiskBytes, s.Log.Size = 48<<20, 12000
	s.Checks = []api.Check{
		{Name: "clock_skew", Status: api.CheckOK, Message: "this clock and that of pg1 differ by 1.2ms"},
		{Name: "disk_data_dir", Status: api.CheckOK, Message: "51200 MiB free in /var/lib/pgraft, 60%"},
		{Name: "fsync", Status: api.CheckOK, Message: "a write to /var/lib/pgraft is durable after 1.1ms, the median of the last 5"},
		{Name: "slots", Status: api.CheckOK, Message: "2 replication slots, of which none keeps more than 16384 KiB of WAL"},
	}
	return s
}

func settings(profile string) []api.InfoValue {
	return []api.InfoValue{
		{Name: "node_name", Value: "any"}, {Name: "gossip.profile", Value: profile}, {Name: "raft.batch_size", Value: "256"},
		{Name: "postgres.synchronous", Value: "quorum"},
	}
}

func TestChecklists(t *testing.T) {
	well, quiet := wellNode(), []api.Event{
		{Index: 1, Time: at.Add(-40 * 24 * time.Hour), Type: "join", Node: "pg1", Message: "pg1 joined"},
		{Index: 2, Time: at.Add(-10 * 24 * time.Hour), Type: "ready", Node: "pg2", Message: "pg2 takes writes"},
		{Index: 3, Time: at.Add(-10 * 24 * time.Hour), Type: "election", Node: "pg1", Message: "pg1 became the Raft leader"},
	}
	same := map[string][]api.InfoValue{"pg1": settings("lan"), "pg2": settings("lan"), "pg3": settings("lan"), "witness": settings("lan")}
	allWell := func(names ...string) map[string]*api.Status {
		own := map[string]*api.Status{}
		for _, name := range names {
			s := wellNode()
			own[name] = &s
		}
		return own
	}

	ill := managedClone()
	ill.Nodes[0].Status, ill.Nodes[0].LastSeen = api.NodeFailed, at.Add(-3*time.Minute)
	ill.Nodes[3].Version = "0.0.9"
	illOwn := allWell("witness")
	cloning := wellNode()
	cloning.WorkerState, cloning.WorkerMessage = api.WorkerRecovering, "the data is being cloned"
	cloning.Postgres.ServerVersion, cloning.Log.DiskBytes = "16.1", 3<<30
	cloning.Checks[1] = api.Check{Name: "disk_data_dir", Status: api.CheckCritical, Message: "90 MiB free in /var/lib/pgraft, 1%", Next: "Make room there."}
	cloning.Checks[2] = api.Check{Name: "fsync", Status: api.CheckWarning, Message: "a write to /var/lib/pgraft is durable after 80ms", Next: "Give it a disk of its own."}
	illOwn["pg3"] = &cloning
	loud := []api.Event{
		{Index: 700, Time: at.Add(-20 * time.Hour), Type: "election", Node: "pg1", Message: "pg1 became the Raft leader"},
		{Index: 701, Time: at.Add(-2 * time.Hour), Type: "fence", Node: "pg1", Message: "pg1 is primary no more"},
		{Index: 702, Time: at.Add(-time.Hour), Type: "failed", Node: "pg1", Message: "node pg1 failed"},
		{Index: 703, Time: at.Add(-time.Hour), Type: "election", Node: "pg2", Message: "pg2 became the Raft leader"},
	}
	unfit := settings("wan")
	unfit[1].Unfit = "the round trip is 0.4ms: lan would replace a lost leader sooner"
	zoned := map[string][]api.InfoValue{}
	for name, zone := range map[string]string{"pg1": "a", "pg2": "a", "pg3": "b", "witness": ""} {
		zoned[name] = append(settings("lan"), api.InfoValue{Name: "zone", Value: zone})
	}
	differ := map[string][]api.InfoValue{"pg2": settings("lan"), "pg3": unfit, "witness": settings("lan")}

	for _, tt := range []struct {
		name   string
		asked  api.Status
		own    map[string]*api.Status
		info   map[string][]api.InfoValue
		events []api.Event
	}{
		{"well", well, allWell("pg1", "pg3", "witness"), same, quiet},
		{"ill", ill, illOwn, differ, loud},
		{"zones", well, allWell("pg1", "pg3", "witness"), zoned, quiet},
		{"external", healthy(), map[string]*api.Status{}, map[string][]api.InfoValue{}, nil},
	} {
		for _, which := range []string{"daily", "weekly", "monthly"} {
			if tt.name == "zones" && which != "monthly" {
				continue
			}
			t.Run(tt.name+" "+which, func(t *testing.T) {
				checkedCluster(t, tt.asked, tt.own, tt.info, tt.events)
				r := run(t, "", "checklist", which)
				if r.code != 0 || r.stderr != "" {
					t.Fatalf("code %d, stderr %q", r.code, r.stderr)
				}
				fits(t, r.stdout)
				golden(t, "checklist/"+tt.name+"-"+which+".txt", r.stdout)
				wantKnownCommands(t, r.stdout)
			})
		}
	}
}

// wantKnownCommands asks for the help of each command that a text sends its reader to.
func wantKnownCommands(t *testing.T, text string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	commands := regexp.MustCompile(`(?:→|[:;]|gently:) pgraft ((?:[a-z]+(?:-[a-z]+)* ?)+)`).FindAllStringSubmatch(flat, -1)
	if len(commands) == 0 {
		t.Errorf("it names no command:\n%s", text)
	}
	for _, c := range commands {
		words := strings.Fields(c[1])
		known := false
		for n := len(words); n > 0 && !known; n-- {
			known = run(t, "", append(words[:n:n], "-h")...).code == 0
		}
		if !known {
			t.Errorf("there is no pgraft %s", c[1])
		}
	}
}

func TestChecklistJSONAndMistakes(t *testing.T) {
	checkedCluster(t, wellNode(), map[string]*api.Status{}, nil, nil)
	r := run(t, "", "checklist", "daily", "-format=json")
	var list struct {
		Checklist string
		Items     []struct {
			Item, Status, Next string
			Measured           []string
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || list.Checklist != "daily" || len(list.Items) < 8 {
		t.Fatalf("%v: %+v", err, r)
	}
	status := map[string]string{}
	for _, i := range list.Items {
		status[i.Item] = i.Status
	}
	if status["leader"] != "ok" || status["workers"] != "ok" || status["nodes asked"] != "look" || status["error logs"] != "by_hand" {
		t.Errorf("%v", status)
	}
	for _, args := range [][]string{{}, {"yearly"}, {"daily", "weekly"}} {
		if r := run(t, "", append([]string{"checklist"}, args...)...); r.code != 2 || r.stdout != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestInfoUnfit(t *testing.T) {
	values := settings("lan")
	values[1].Unfit = "the way to pg3 and back takes 22ms at best: wan is made for that"
	agent(t, map[string]any{"GET /v1/agent/self": api.Self{NodeID: 1, Name: "pg1", ClusterName: "prod", Version: "0.1.0"}, "GET /v1/agent/info": values})
	r := run(t, "", "info")
	if r.code != 0 || !strings.HasSuffix(r.stdout, "\n\ngossip.profile does not fit: the way to pg3 and back takes 22ms at best: wan is made for that.\n") {
		t.Errorf("%+v", r)
	}
	fits(t, r.stdout)
}
