package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
)

// managedStatus is what n1, the primary, says of a managed cluster of three, a read replica, a node that is cloned, one
// that is gone and a witness.
func managedStatus() api.Status {
	node := func(id int, name, role, replication string, lag int64) api.NodeStatus {
		return api.NodeStatus{
			NodeID: id, Name: name, ServerID: "s" + name[1:], Role: role, Status: api.NodeAlive, Voter: true, PostgresAddress: "10.0.0.1:5432",
			HTTPAddress: "http://10.0.0.1:7400", Replication: replication, LagBytes: lag, LSN: "0/5000000", Timeline: 2,
		}
	}
	s := newBackend().status
	s.Role, s.PrimaryID, s.PrimaryName, s.Epoch, s.Phase = api.RolePrimary, 1, "n1", 3, api.PhaseReady
	s.Sync = api.SyncStatus{Mode: api.SyncQuorum, Acks: 1, Members: []string{"n1", "n2", "n3"}}
	s.Postgres = api.PostgresStatus{
		Enabled: true, Up: true, Mode: "managed", ServerVersion: "15.18 (Debian 15.18-0)", Epoch: 3, Timeline: 2, LSN: "0/5000000", SyncAcks: 2,
	}
	s.Nodes = []api.NodeStatus{
		node(1, "n1", api.RolePrimary, "", 0), node(2, "n2", api.RoleStandby, "streaming", 1000), node(3, "n3", api.RoleStandby, "streaming", 100<<20),
		node(4, "n4", api.RoleStandby, "streaming", 0), node(5, "n5", api.RoleCloning, "", -1), node(6, "n6", api.RoleUnknown, "", -1),
		node(7, "n7", api.RoleWitness, "", 0), node(8, "n8", api.RoleStandby, "catchup", 50),
	}
	s.Nodes[3].NonVoting, s.Nodes[5].Status, s.Nodes[6].Witness = true, api.NodeFailed, true
	s.Sync.Members = append(s.Sync.Members, "n8")
	return s
}

func newManaged(t *testing.T, opts ...option) *server {
	t.Helper()
	s := newServer(t, opts...)
	s.set(func(b *backend) { b.status = managedStatus() })
	return s
}

func TestClusterOrders(t *testing.T) {
	for _, tt := range []struct{ path, body, order string }{
		{"failover", "", "failover  false"},
		{"failover", `{"node":"n2","allow_data_loss":true}`, "failover s2 true"},
		{"failover", `{"node":"n3"}`, "failover s3 false"},
		{"switchover", "", "switchover "},
		{"switchover", `{"node":"2"}`, "switchover s2"},
		{"switchover", `{"node":"s2"}`, "switchover s2"},
		{"restart", `{"node":"n1"}`, "restart"},
		{"restart", "", "restart all"},
		{"pause", "", "paused true"},
		{"resume", "{}", "paused false"},
	} {
		t.Run(tt.path+tt.body, func(t *testing.T) {
			s := newManaged(t)
			var result api.ClusterResult
			s.must("POST", "/v1/cluster/"+tt.path, tt.body).json(t, &result)
			if !slices.Equal(s.orders, []string{tt.order}) || result == (api.ClusterResult{}) {
				t.Errorf("orders %q, answer %+v", s.orders, result)
			}
		})
	}
}

func TestClusterOrdersRefused(t *testing.T) {
	standby := func(b *backend) { b.status.NodeID, b.status.ServerID, b.status.Role = 2, "s2", api.RoleStandby }
	for _, tt := range []struct {
		name, path, body string
		change           func(*backend)
		status           int
		want             string
	}{
		{"unknown node", "switchover", `{"node":"n9"}`, nil, 404, "n1, n2"},
		{"witness", "switchover", `{"node":"n7"}`, nil, 409, "witness"},
		{"gone", "switchover", `{"node":"n6"}`, nil, 409, "failed"},
		{"lags", "switchover", `{"node":"n3"}`, nil, 409, "100 MB behind"},
		{"catching up", "switchover", `{"node":"n8"}`, nil, 409, "catchup"},
		{"read replica", "switchover", `{"node":"n4"}`, nil, 409, "read replica"},
		{"cloned", "switchover", `{"node":"n5"}`, nil, 409, "cloning"},
		{"primary already", "switchover", `{"node":"n1"}`, nil, 409, "primary already"},
		{"not counted", "switchover", `{"node":"n2"}`, func(b *backend) { b.status.Sync.Members = []string{"n1"} }, 409, "may lack"},
		{"lost its memory", "switchover", `{"node":"n2"}`, func(b *backend) { b.status.Sync.Lost = []string{"n2"} }, 409, "may lack"},
		{"no primary", "switchover", "", func(b *backend) { b.status.Phase = api.PhaseFenced }, 409, "pgraft failover"},
		{"under way", "switchover", "", func(b *backend) { b.status.Handover = "n3" }, 409, "under way"},
		{"loses nothing", "switchover", `{"allow_data_loss":true}`, nil, 400, "failover"},
		{"no PostgreSQL yet", "failover", "", func(b *backend) { b.status.Epoch = 0 }, 409, "no PostgreSQL"},
		{"failover to a witness", "failover", `{"node":"n7"}`, nil, 409, "witness"},
		{"failover to itself", "failover", `{"node":"n1"}`, nil, 409, "primary already"},
		{"reinit what", "reinit", "", nil, 400, "name the node"},
		{"restart a witness", "restart", `{"node":"n7"}`, nil, 409, "witness"},
		{"reinit the primary", "reinit", `{"node":"n1"}`, nil, 409, "not thrown away"},
		{"reinit without a primary", "reinit", `{"node":"n2"}`, func(b *backend) { standby(b); b.status.Phase = api.PhaseFenced }, 409, "no primary"},
		{"pause one node", "pause", `{"node":"n1"}`, nil, 400, "whole cluster"},
		{"misspelt", "switchover", `{"nod":"n2"}`, nil, 400, "nod"},
		{"no JSON", "switchover", `n2`, nil, 400, "decode"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newManaged(t)
			if tt.change != nil {
				s.set(tt.change)
			}
			a := s.call("POST", "/v1/cluster/"+tt.path, tt.body)
			if a.status != tt.status || !strings.Contains(a.body, tt.want) || len(s.orders) > 0 {
				t.Errorf("%d %s orders %q, want %d with %q", a.status, a.body, s.orders, tt.status, tt.want)
			}
		})
	}
	s := newServer(t, func(c *httpapi.Config) { c.Cluster = nil })
	s.mustFail(http.StatusConflict, api.CodeConflict, "POST", "/v1/cluster/pause", "")
}

// direct sends to one handler's listener whatever host is asked for.
type direct struct{ host string }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", d.host
	return http.DefaultTransport.RoundTrip(r)
}

func TestOrdersReachTheirNode(t *testing.T) {
	second := newManaged(t)
	second.set(func(b *backend) { b.status.NodeID, b.status.ServerID, b.status.Role = 2, "s2", api.RoleStandby })
	target := strings.TrimPrefix(serve(t, second.api.InternalHandler()), "http://")
	asked := ""
	first := newManaged(t, func(c *httpapi.Config) {
		c.NodeProxy = func(id string) http.RoundTripper { asked = id; return direct{target} }
	})
	for _, order := range []string{"restart", "reinit"} {
		first.must("POST", "/v1/cluster/"+order, `{"node":"n2"}`)
		if asked != "s2" || !slices.Contains(second.orders, order) || len(first.orders) > 0 {
			t.Errorf("%s: asked %q, orders %q and %q", order, asked, first.orders, second.orders)
		}
	}
	// A node that takes itself for another one must not send the order on.
	second.set(func(b *backend) { b.status.ServerID = "s3" })
	first.mustFail(http.StatusServiceUnavailable, api.CodeUnavailable, "POST", "/v1/cluster/restart", `{"node":"n2"}`)
	// Nobody there.
	lost := newManaged(t, func(c *httpapi.Config) { c.NodeProxy = func(string) http.RoundTripper { return direct{"127.0.0.1:1"} } })
	lost.mustFail(http.StatusGatewayTimeout, api.CodeInDoubt, "POST", "/v1/cluster/restart", `{"node":"n2"}`)
}

func TestLeaderOrdersAreForwarded(t *testing.T) {
	leader := newManaged(t)
	target := strings.TrimPrefix(serve(t, leader.api.InternalHandler()), "http://")
	follower := newManaged(t, func(c *httpapi.Config) { c.LeaderProxy = direct{target} })
	follower.set(func(b *backend) { b.follower = true })
	follower.must("POST", "/v1/cluster/switchover", `{"node":"n2"}`)
	if !slices.Equal(leader.orders, []string{"switchover s2"}) || len(follower.orders) > 0 {
		t.Errorf("orders of the leader %q, of the follower %q", leader.orders, follower.orders)
	}
}
