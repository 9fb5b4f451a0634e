package command_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
)

// managedHealthy is a managed cluster of three and a witness, as its primary sees it.
func managedHealthy() api.Status {
	s := healthy()
	s.PrimaryID, s.PrimaryName, s.Epoch, s.EpochReason, s.Phase = 2, "pg2", 3, "failover: pg1 is gone", api.PhaseReady
	s.Sync = api.SyncStatus{Mode: api.SyncQuorum, Acks: 1, Members: []string{"pg1", "pg2", "pg3"}}
	s.Postgres.Mode, s.Postgres.Epoch, s.Postgres.Timeline, s.Postgres.LSN, s.Postgres.SyncAcks = "managed", 3, 4, "0/6F000148", 2
	s.Postgres.ExtensionVersion = ""
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Role, n.Replication, n.Sync, n.Timeline, n.LSN, n.LagBytes = api.RoleStandby, "streaming", true, 4, "0/6F000148", int64(i)*4096
	}
	s.Nodes[1].Role, s.Nodes[1].Replication, s.Nodes[1].LagBytes = api.RolePrimary, "", 0
	s.Nodes = append(s.Nodes, api.NodeStatus{
		NodeID: 4, Name: "witness", Status: api.NodeAlive, Voter: true, Witness: true, Role: api.RoleWitness, Version: "0.1.0", LastSeen: at,
	})
	return s
}

// managedClone has a node that is cloned, one that waits for a restart, a switchover under way and a rule that changes.
func managedClone() api.Status {
	s := managedHealthy()
	n := &s.Nodes[2]
	n.Role, n.Replication, n.Sync, n.LagBytes, n.LSN, n.Timeline = api.RoleCloning, "", false, -1, "", 0
	n.Action, n.ProgressDone, n.ProgressTotal = "clone", 512<<20, 20<<30
	s.Nodes[0].PendingRestart = []string{"max_connections", "shared_buffers"}
	s.Sync.Members = []string{"pg1", "pg2"}
	s.Sync.Next = &api.SyncStatus{Mode: api.SyncQuorum, Acks: 1, Members: []string{"pg1", "pg2", "pg3"}}
	s.Handover, s.Paused = "pg1", true
	return s
}

// managedCutOff is the primary that lost the quorum.
func managedCutOff() api.Status {
	s := managedHealthy()
	for _, i := range []int{0, 2, 3} {
		s.Nodes[i].Status, s.Nodes[i].Role, s.Nodes[i].LagBytes = api.NodeFailed, api.RoleUnknown, -1
	}
	s.HasQuorum, s.LeaderID, s.LeaderName, s.State = false, 0, "", "candidate"
	s.PrimaryID, s.PrimaryName, s.Role, s.Nodes[1].Role = 0, "", api.RoleUnknown, api.RoleUnknown
	s.Postgres.ReadOnly, s.Postgres.InDoubtBytes, s.Postgres.InDoubtLSN, s.InDoubtLSN = true, 32000, "0/6F000148", "0/6F000148"
	s.WorkerState, s.WorkerMessage = api.WorkerError, "without a quorum's proof this PostgreSQL is not the primary"
	return s
}

// managedFenced is a standby in the middle of a failover.
func managedFenced() api.Status {
	s := managedHealthy()
	s.NodeID, s.Name, s.Role, s.Epoch, s.Phase, s.PrimaryID, s.PrimaryName = 1, "pg1", api.RoleFenced, 4, api.PhaseFenced, 0, ""
	s.EpochReason, s.Waiting = "failover: pg2 is gone", "1 of the 2 copies that are needed can be counted (pg3: its data is lost)"
	s.Nodes[0].Role, s.Nodes[1].Role, s.Nodes[1].Status, s.Nodes[1].LagBytes = api.RoleFenced, api.RoleUnknown, api.NodeFailed, -1
	s.Postgres.InRecovery = true
	s.WorkerState, s.WorkerMessage = api.WorkerRecovering, "cut off from the primary that is being replaced, waiting for the new one"
	return s
}

// managedAsync acknowledges at once, and one member's data is gone.
func managedAsync() api.Status {
	s := managedHealthy()
	s.Sync = api.SyncStatus{Mode: api.SyncAsync, Members: []string{"pg1", "pg2", "pg3"}, Lost: []string{"pg3"}, Warning: "a failover loses what the lost primary alone had"}
	return s
}

func managedDown() api.Status {
	s := managedHealthy()
	s.NodeID, s.Name, s.Role, s.WorkerState, s.WorkerMessage = 3, "pg3", api.RoleStopped, api.WorkerError, "data_dir belongs to user mail"
	s.Postgres.Up, s.Nodes[2].Role, s.Nodes[2].LagBytes = false, api.RoleStopped, -1
	return s
}

func TestManagedStatusScreen(t *testing.T) {
	for name, s := range map[string]api.Status{
		"healthy": managedHealthy(), "clone": managedClone(), "cut-off": managedCutOff(), "fenced": managedFenced(), "async": managedAsync(),
		"down": managedDown(),
	} {
		t.Run(name, func(t *testing.T) {
			agent(t, map[string]any{"GET /v1/status": s, "GET /v1/agent/members": members()})
			r := run(t, "", "status")
			if r.code != 0 || r.stderr != "" {
				t.Fatalf("code %d, stderr %q", r.code, r.stderr)
			}
			fits(t, r.stdout)
			golden(t, "status/managed-"+name+".txt", r.stdout)
		})
	}
	agent(t, map[string]any{"GET /v1/status": managedHealthy(), "GET /v1/agent/members": members()})
	r := run(t, "", "members")
	fits(t, r.stdout)
	golden(t, "table/members-managed.txt", r.stdout)
}

func TestClusterOrders(t *testing.T) {
	path, body := "", ""
	agent(t, map[string]any{"POST /v1/cluster/{order}": func(w http.ResponseWriter, r *http.Request) {
		var in map[string]any
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		text, _ := json.Marshal(in)
		path, body = r.URL.Path, string(text)
		result := api.ClusterResult{}
		if strings.Contains(path, "over") {
			result = api.ClusterResult{Epoch: 4, Primary: "pg2"}
			if in["allow_data_loss"] == true {
				result.Message = "commits may be lost"
			}
		}
		reply(t, w, result)
	}})
	for _, tt := range []struct{ line, path, body, stdout string }{
		{"failover", "failover", `{}`, "pg2 is the primary now, epoch 4.\n"},
		{"failover pg2 -allow-data-loss -yes", "failover", `{"allow_data_loss":true,"node":"pg2"}`, "pg2 is the primary now, epoch 4.\nWARNING: commits may be lost.\n"},
		{"switchover", "switchover", `{}`, "pg2 is the primary now"},
		{"switchover pg2 -yes", "switchover", `{"node":"pg2"}`, "pg2 is the primary now"},
		{"restart pg2", "restart", `{"node":"pg2"}`, "The PostgreSQL of pg2 was restarted.\n"},
		{"restart -yes", "restart", `{}`, "All that waited for it were restarted.\n"},
		{"reinit 3 -yes", "reinit", `{"node":"3"}`, "The data of 3 is being cloned anew. See: pgraft status"},
		{"pause", "pause", `{}`, "Automatic failover is off.\n"},
		{"resume", "resume", `{}`, "Automatic failover is on.\n"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			r := run(t, "", strings.Fields(tt.line)...)
			if r.code != 0 || path != "/v1/cluster/"+tt.path || body != tt.body || !strings.Contains(r.stdout, tt.stdout) {
				t.Errorf("%+v, asked %s %s", r, path, body)
			}
		})
	}
	path = ""
	if r := run(t, "", "failover", "-allow-data-loss"); r.code != 1 || path != "" || !strings.Contains(r.stderr, "ACKNOWLEDGED COMMITS MAY BE LOST") {
		t.Errorf("data loss without -yes: %+v, asked %q", r, path)
	}
	for _, line := range []string{"restart a b", "reinit", "switchover a b", "pause now"} {
		if r := run(t, "", strings.Fields(line)...); r.code != 2 || path != "" {
			t.Errorf("%s: %+v", line, r)
		}
	}
	r := run(t, "", "switchover", "-format=json")
	var result api.ClusterResult
	if err := json.Unmarshal([]byte(r.stdout), &result); err != nil || result.Primary != "pg2" {
		t.Errorf("json: %+v", r)
	}
}

func TestClusterOrderRefused(t *testing.T) {
	agent(t, map[string]any{"POST /v1/cluster/switchover": &api.Error{
		StatusCode: 409, Code: api.CodeConflict, Message: "pg4 is a witness: it has no PostgreSQL", Hint: "choose another node",
	}})
	r := run(t, "", "switchover", "pg4")
	if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "Error: pg4 is a witness") || !strings.Contains(r.stderr, "choose another node.") {
		t.Errorf("%+v", r)
	}
}

func TestWaitForRoles(t *testing.T) {
	for _, tt := range []struct {
		what string
		s    api.Status
		want string // of the failure
	}{
		{"primary", managedHealthy(), ""},
		{"primary", managedFenced(), "epoch 4 is fenced"},
		{"primary", managedCutOff(), "quorum is not confirmed"},
		{"primary", healthy(), "no managed PostgreSQL"},
		{"role:pg1=standby", managedHealthy(), ""},
		{"role:pg2=primary", managedHealthy(), ""},
		{"role:pg2=standby", managedHealthy(), "pg2 is primary"},
		{"role:pg3=standby", managedClone(), "pg3 is cloning"},
		{"role:pg1=standby", managedCutOff(), "pg1 is failed"},
		{"role:pg9=standby", managedHealthy(), "pg9 is not in the cluster"},
	} {
		t.Run(tt.what+" "+tt.want, func(t *testing.T) {
			agent(t, map[string]any{"GET /v1/status": tt.s})
			r := run(t, "", "wait", "-for="+tt.what, "-timeout=300ms")
			if ok := r.code == 0; ok != (tt.want == "") || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("%+v", r)
			}
		})
	}
	for _, what := range []string{"role:pg1", "role:=standby", "role:pg1=master", "role:pg1="} {
		if r := run(t, "", "wait", "-for="+what, "-timeout=300ms"); r.code != 2 {
			t.Errorf("%s: %+v", what, r)
		}
	}
}
