package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// beNode makes the status that of another node of the same cluster.
func beNode(id int) func(*backend) {
	return func(b *backend) {
		n := b.status.Nodes[id-1]
		b.status.NodeID, b.status.Name, b.status.ServerID, b.status.Role = id, n.Name, n.ServerID, n.Role
		b.status.Postgres.ReplayLSN = "0/4FFFC18"
		b.status.Postgres.InRecovery = n.Role == api.RoleStandby
		switch n.Role {
		case api.RoleWitness:
			b.status.Postgres = api.PostgresStatus{}
		case api.RoleCloning:
			b.status.Postgres.Up = false
		}
	}
}

func role(role string, up bool) func(*backend) {
	return func(b *backend) {
		b.status.Role, b.status.Nodes[0].Role, b.status.Postgres.Up = role, role, up
		b.status.PrimaryID = 0
	}
}

// TestChecksForLoadBalancers has, for each kind of node, the checks that answer 200; all others answer 503.
func TestChecksForLoadBalancers(t *testing.T) {
	all := []string{
		"/primary", "/leader", "/read-write", "/master", "/standby-leader", "/replica", "/replica?lag=500", "/replica?lag=1kB",
		"/replica?replication_state=streaming", "/read-only", "/read-only?lag=1", "/synchronous", "/sync", "/quorum", "/asynchronous", "/async",
		"/async?lag=0", "/health", "/readiness", "/readiness?lag=500", "/liveness", "/patroni", "/cluster", "/history",
	}
	writable := "/primary /leader /read-write /master "
	always := "/liveness /patroni /cluster /history"
	for _, tt := range []struct {
		name   string
		change func(*backend)
		ok     string
	}{
		{"primary", func(*backend) {}, writable + "/read-only /read-only?lag=1 /health /readiness /readiness?lag=500 "},
		{"primary that is read-only", func(b *backend) { b.status.Postgres.ReadOnly = true }, "/read-only /read-only?lag=1 /health /readiness /readiness?lag=500 "},
		{"primary without proof", role(api.RoleUnknown, true), "/health "},
		{"fenced", role(api.RoleFenced, true), "/health "},
		{"starting", role(api.RoleStarting, false), ""},
		{"rewinding", role(api.RoleRewinding, false), ""},
		{"stopped", role(api.RoleStopped, false), ""},
		{"standby in the quorum", beNode(2), "/replica /replica?lag=1kB /replica?replication_state=streaming /read-only /quorum /health /readiness "},
		{"only other member", func(b *backend) { beNode(2)(b); b.status.Sync.Members = []string{"n1", "n2"} },
			"/replica /replica?lag=1kB /replica?replication_state=streaming /read-only /synchronous /sync /quorum /health /readiness "},
		{"standby that lags", beNode(3), "/replica /replica?replication_state=streaming /read-only /quorum /health "},
		{"read replica", beNode(4), "/replica /replica?lag=500 /replica?lag=1kB /replica?replication_state=streaming /read-only /read-only?lag=1 " +
			"/asynchronous /async /async?lag=0 /health /readiness /readiness?lag=500 "},
		{"async cluster", func(b *backend) {
			beNode(2)(b)
			b.status.Sync = api.SyncStatus{Mode: api.SyncAsync, Members: []string{"n1", "n2"}}
		}, "/replica /replica?lag=1kB /replica?replication_state=streaming /read-only /asynchronous /async /health /readiness "},
		{"standby that catches up", beNode(8), "/replica /replica?lag=500 /replica?lag=1kB /read-only /quorum /health "},
		{"standby with unknown lag", func(b *backend) { beNode(2)(b); b.status.Nodes[1].LagBytes, b.status.Nodes[1].Replication = -1, "" },
			"/replica /read-only /quorum /health "},
		{"standby, PostgreSQL hangs", func(b *backend) { beNode(2)(b); b.status.Postgres.Up = false }, ""},
		{"cloning", beNode(5), ""},
		{"witness", beNode(7), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newManaged(t)
			s.set(tt.change)
			want := strings.Fields(tt.ok + always)
			for _, path := range all {
				code := http.StatusServiceUnavailable
				if slices.Contains(want, path) {
					code = http.StatusOK
				}
				for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
					a := s.call(method, path, "")
					if a.status != code || (method == "GET") != (a.body != "") {
						t.Errorf("%s %s: %d %q, want %d", method, path, a.status, a.body, code)
					}
					if method == "GET" && (!json.Valid([]byte(a.body)) || (code != 200) != strings.Contains(a.body, `"error":"`)) {
						t.Errorf("%s: %s", path, a.body)
					}
				}
			}
		})
	}
}

func TestChecksRefuseWhatTheyCantRead(t *testing.T) {
	s := newManaged(t)
	s.set(beNode(2))
	for _, path := range []string{"/replica?lag=-1", "/replica?lag=many", "/replica?lag=1XB", "/replica?lag=9999999TB", "/replica?tag_a=b", "/primary?lag=1"} {
		s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "GET", path, "")
	}
	if a := s.call("OPTIONS", "/v1/status", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("OPTIONS of another route: %d", a.status)
	}
}

func TestPatroniStatus(t *testing.T) {
	lineage := []primacy.Branch{
		{Epoch: 1, ServerID: "s2", Timeline: 1}, {Epoch: 3, Parent: 1, ServerID: "s1", Timeline: 2, Switch: 0x3000000},
		{Epoch: 4, Parent: 3, ServerID: "gone", Timeline: 3, Switch: 0x4000000},
	}
	s := newManaged(t, func(c *httpapi.Config) {
		c.Primacy = func() primacy.State { return primacy.State{SystemID: "7301", Lineage: lineage} }
	})
	for _, tt := range []struct {
		path, want string
		change     func(*backend)
	}{
		{"/patroni", `{"state":"running","role":"primary","server_version":150018,"timeline":2,"xlog":{"location":83886080},` +
			`"replication":[{"application_name":"n2","state":"streaming","sync_state":"quorum"},{"application_name":"n3","state":"streaming","sync_state":"quorum"},` +
			`{"application_name":"n4","state":"streaming","sync_state":"async"},{"application_name":"n8","state":"catchup","sync_state":"quorum"}],` +
			`"database_system_identifier":"7301","patroni":{"version":"v1","scope":"test","name":"n1"}}`, func(*backend) {}},
		{"/patroni", `{"state":"running","role":"replica","server_version":150018,"timeline":2,` +
			`"xlog":{"received_location":83886080,"replayed_location":83885080},"replication_state":"streaming","quorum_standby":true,` +
			`"pause":true,"database_system_identifier":"7301","patroni":{"version":"v1","scope":"test","name":"n2"}}`,
			func(b *backend) { beNode(2)(b); b.status.Paused = true }},
		{"/history", `[[1,50331648,"epoch 3","","n1"],[2,67108864,"epoch 4","","gone"]]`, func(*backend) {}},
	} {
		s.set(func(b *backend) { b.status = managedStatus(); tt.change(b) })
		if got := strings.TrimSpace(s.must("GET", tt.path, "").body); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.path, got, tt.want)
		}
	}
	s.set(func(b *backend) { b.status = managedStatus() })
	var cluster api.PatroniCluster
	s.must("GET", "/cluster", "").json(t, &cluster)
	var rows []string
	for _, m := range cluster.Members {
		rows = append(rows, fmt.Sprint(m.Name, " ", m.Role, " ", m.State, " ", m.Lag))
	}
	want := []string{
		"n1 leader running <nil>", "n2 quorum_standby streaming 1000", "n3 quorum_standby streaming 1.048576e+08", "n4 replica streaming 0",
		"n5 replica creating replica unknown", "n6 replica unknown unknown", "n8 quorum_standby running 50",
	}
	if !slices.Equal(rows, want) || cluster.Scope != "test" {
		t.Errorf("got  %q\nwant %q", rows, want)
	}
}
