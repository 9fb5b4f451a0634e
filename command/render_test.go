package command_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
)

func TestStatusScreen(t *testing.T) {
	for name, s := range map[string]api.Status{
		"healthy": healthy(), "postgres-down": postgresDown(), "node-failed": nodeFailed(), "quorum-lost": quorumLost(),
		"not-founded": notFounded(), "crowded": crowded(),
	} {
		t.Run(name, func(t *testing.T) {
			agent(t, map[string]any{"GET /v1/status": s})
			r := run(t, "", "status")
			if r.code != 0 || r.stderr != "" {
				t.Fatalf("code %d, stderr %q", r.code, r.stderr)
			}
			fits(t, r.stdout)
			golden(t, "status/"+name+".txt", r.stdout)
		})
	}
}

func TestStatusJSONIsTheAPIsType(t *testing.T) {
	want := nodeFailed()
	agent(t, map[string]any{"GET /v1/status": want})
	r := run(t, "", "status", "-format=json")
	var got api.Status
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got %s\nwant %s", a, b)
	}
}

func TestTables(t *testing.T) {
	oldLocal := time.Local //nolint:gosmopolitan // the screens show local time: fix it
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = oldLocal })
	agent(t, map[string]any{
		"GET /v1/agent/members": members(),
		"GET /v1/agent/self": api.Self{NodeID: 1, Name: "pg1", ServerID: "s", ClusterName: "prod", ClusterID: "c", Version: "0.1.0",
			Role: "primary", State: "leader"},
		"GET /v1/agent/info": []api.InfoValue{
			{Name: "node_name", Value: "pg1", Source: "/etc/pgraft.d/node.hcl:1"},
			{Name: "raft.batch_size", Value: "200", Source: "postgresql.conf pgraft.batch_size"},
			{Name: "retry_join", Value: strings.Repeat("10.0.0.12:7402, ", 20), Source: "flag -retry-join"},
			{Name: "audit.path", Value: "", Source: "default"},
		},
		"GET /v1/events":   events(),
		"GET /v1/settings": []api.Setting{{Name: "max_connections", Value: "200", CreateIndex: 3, ModifyIndex: 9}},
		"GET /v1/kv/": []api.KVPair{
			{Key: "app/config", Value: []byte("x"), Version: 2, ModifyIndex: 40},
			{Key: strings.Repeat("long/", 60), Value: make([]byte, 200<<10), Version: 1, ModifyIndex: 41, Session: "5f0c0e1a-3b5d-4c7e-9f10-111213141516"},
		},
		"GET /v1/operator/raft/configuration": configuration(),
		"GET /v1/operator/autopilot/configuration": api.AutopilotConfig{CleanupDeadServers: true, MinQuorum: 3, DeadServerThreshold: "24h",
			ServerStabilizationTime: "10s", MaxTrailingLogs: 1000, LastContactThreshold: "1s"},
		"GET /v1/operator/autopilot/state": api.AutopilotState{Healthy: true, FailureTolerance: 1, Servers: []api.AutopilotServer{
			{Name: "pg1", Address: "10.0.0.11:7401", Healthy: true, Status: "leader", NodeStatus: "alive", LastTerm: 7, LastIndex: 118934, StableSince: at},
			{Name: "pg2", Address: "10.0.0.12:7401", Status: "non-voter", NodeStatus: "alive", LastContact: "12ms", LastTerm: 7, LastIndex: 900},
		}},
		"GET /v1/operator/keyring": api.KeyringResponse{NumNodes: 3, Keys: map[string]int{
			"5KpFPEnTQ3mFIRXGHUlZ1SBkWNn9ACS4QXgcBi3sQ2E=": 3, "8OGJ2eZ5wJrrcUlv3yxXmUpFTbFfQ9KXOHnZyzfTXvU=": 2,
		}, PrimaryKeys: map[string]int{"5KpFPEnTQ3mFIRXGHUlZ1SBkWNn9ACS4QXgcBi3sQ2E=": 3}},
	})
	for _, verb := range []string{
		"members", "info", "events", "settings list", "kv list", "operator raft list-peers", "operator autopilot get-config",
		"operator autopilot state", "keyring list",
	} {
		t.Run(verb, func(t *testing.T) {
			r := run(t, "", strings.Fields(verb)...)
			if r.code != 0 || r.stderr != "" {
				t.Fatalf("code %d, stderr %q", r.code, r.stderr)
			}
			fits(t, r.stdout)
			golden(t, "table/"+strings.ReplaceAll(verb, " ", "-")+".txt", r.stdout)
			r = run(t, "", append(strings.Fields(verb), "-format=json")...)
			if r.code != 0 || !json.Valid([]byte(r.stdout)) {
				t.Errorf("-format=json: code %d, %s", r.code, r.stdout)
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	tests := []struct {
		name string
		err  *api.Error
		want []string
	}{
		{"no leader", &api.Error{StatusCode: 503, Code: api.CodeNoLeader, Message: "no leader"}, []string{"Nothing was changed", "pgraft status"}},
		{"not the leader", &api.Error{StatusCode: 503, Code: api.CodeNotLeader, Message: "not the leader",
			Leader: &api.Leader{Name: "pg1", HTTPAddress: "http://10.0.0.11:7400"}}, []string{"ask pg1 with -http-addr=http://10.0.0.11:7400"}},
		{"in doubt", &api.Error{StatusCode: 504, Code: api.CodeInDoubt, Message: "no answer", RequestID: "r1"}, []string{"may or may not", "r1"}},
		{"forbidden", &api.Error{StatusCode: 403, Code: api.CodeForbidden, Message: "no"}, []string{"-token", "PGRAFT_TOKEN"}},
		{"the agent's own hint", &api.Error{StatusCode: 400, Code: api.CodeBadRequest, Message: "bad", Hint: "do this"}, []string{"Error: bad\n", "do this."}},
		{"compare-and-set", &api.Error{StatusCode: 412, Code: api.CodePrecondition, Message: "changed"}, []string{"kv get -detailed k"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			agent(t, map[string]any{"PUT /v1/kv/k": tt.err})
			r := run(t, "", "kv", "put", "k", "v")
			if r.code != 1 || r.stdout != "" {
				t.Errorf("code %d, stdout %q", r.code, r.stdout)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, r.stderr)
				}
			}
			fits(t, r.stderr)
		})
	}
}

func TestAgentNotRunning(t *testing.T) {
	r := run(t, "", "status", "-http-addr=127.0.0.1:1")
	if r.code != 1 || !strings.Contains(r.stderr, "no agent answers at http://127.0.0.1:1") || !strings.Contains(r.stderr, "PGRAFT_HTTP_ADDR") {
		t.Errorf("code %d, stderr %q", r.code, r.stderr)
	}
	r = run(t, "", "status", "-http-addr=unix:///nonexistent/sock")
	if r.code != 1 || !strings.Contains(r.stderr, "no agent answers at unix:///nonexistent/sock") {
		t.Errorf("code %d, stderr %q", r.code, r.stderr)
	}
}
