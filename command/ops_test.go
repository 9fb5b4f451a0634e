package command_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/api/archive"
	"github.com/pgraft/pgraft/fsm"
)

func TestOrdersToAnAgent(t *testing.T) {
	var asked atomic.Value
	note := func(answer any) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			asked.Store(r.Method + " " + r.URL.String())
			reply(t, w, answer)
		}
	}
	agent(t, map[string]any{
		"PUT /v1/agent/join/{addr}":        note(api.JoinResult{Joined: 1}),
		"PUT /v1/agent/leave":              note(struct{}{}),
		"PUT /v1/agent/force-leave/{node}": note(struct{}{}),
		"PUT /v1/agent/reload": note(api.ReloadResult{
			Applied: []string{"log_level"}, NeedsRestart: []string{"ports.http"},
		}),
		"GET /v1/operator/raft/configuration":    configuration(),
		"DELETE /v1/operator/raft/peer":          note(struct{}{}),
		"POST /v1/operator/raft/transfer-leader": note(struct{}{}),
		"PUT /v1/settings/{name}":                note(api.WriteResult{Index: 3}),
		"DELETE /v1/settings/{name}":             note(api.WriteResult{Index: 4}),
		"GET /v1/settings/{name}":                api.Setting{Name: "a", Value: "5"},
	})
	tests := []struct {
		line, asked, stdout string
	}{
		{"join 10.0.0.11:7402", "PUT /v1/agent/join/10.0.0.11:7402", "Joined through 10.0.0.11:7402"},
		{"leave", "PUT /v1/agent/leave", "has left"},
		{"force-leave pg3", "PUT /v1/agent/force-leave/pg3", "pg3 is removed"},
		{"reload", "PUT /v1/agent/reload", "Restart the agent for: ports.http"},
		{"operator raft remove-peer pg3", "DELETE /v1/operator/raft/peer?id=1a2b3c4d-0000-4000-8000-000000000003", "Removed: pg3"},
		{"operator raft remove-peer 3", "DELETE /v1/operator/raft/peer?id=1a2b3c4d-0000-4000-8000-000000000003", "Removed: 3"},
		{"operator raft transfer-leader", "POST /v1/operator/raft/transfer-leader", "handed over"},
		{"operator raft transfer-leader pg2", "POST /v1/operator/raft/transfer-leader?id=1a2b3c4d-0000-4000-8000-000000000002", "handed over"},
		{"settings set a -1", "PUT /v1/settings/a", "a = -1"},
		{"settings unset a", "DELETE /v1/settings/a", "Unset: a"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			r := run(t, "", strings.Fields(tt.line)...)
			if r.code != 0 || asked.Load() != tt.asked || !strings.Contains(r.stdout, tt.stdout) {
				t.Errorf("%+v, asked %q, want %q", r, asked.Load(), tt.asked)
			}
		})
	}
	if r := run(t, "", "settings", "get", "a"); r.stdout != "5\n" {
		t.Errorf("settings get: %+v", r)
	}
	if r := run(t, "", "operator", "raft", "remove-peer", "pg9"); r.code != 1 || !strings.Contains(r.stderr, "list-peers") {
		t.Errorf("unknown peer: %+v", r)
	}
}

func TestAutopilotSetChangesOnlyWhatIsGiven(t *testing.T) {
	was := api.AutopilotConfig{CleanupDeadServers: true, MinQuorum: 3, DeadServerThreshold: "24h", MaxTrailingLogs: 1000}
	var got api.AutopilotConfig
	agent(t, map[string]any{
		"GET /v1/operator/autopilot/configuration": was,
		"PUT /v1/operator/autopilot/configuration": func(_ http.ResponseWriter, r *http.Request) {
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
				t.Error(err)
			}
		},
	})
	want := was
	want.CleanupDeadServers, want.LastContactThreshold = false, "2s"
	r := run(t, "", "operator", "autopilot", "set-config", "-cleanup-dead-servers=false", "-last-contact-threshold=2s")
	if r.code != 0 || got != want {
		t.Errorf("%+v, sent %+v", r, got)
	}
	if r := run(t, "", "operator", "autopilot", "set-config", "-last-contact-threshold=2"); r.code != 2 {
		t.Errorf("duration without a unit: %+v", r)
	}
}

func TestKeyringFailsIfANodeDid(t *testing.T) {
	key := strings.TrimSpace(run(t, "", "keygen").stdout)
	agent(t, map[string]any{"POST /v1/operator/keyring": api.KeyringResponse{
		NumNodes: 3, Keys: map[string]int{key: 2}, Errors: map[string]string{"pg3": "no answer"},
	}})
	r := run(t, "", "keyring", "install", key)
	if r.code != 1 || !strings.Contains(r.stdout, "2 of 3") || !strings.Contains(r.stderr, "pg3: no answer") {
		t.Errorf("%+v", r)
	}
}

func snapshot(t *testing.T) []byte {
	t.Helper()
	var content, b bytes.Buffer
	if _, err := fsm.New(hclog.NewNullLogger()).Store().WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	state := content.Bytes()
	meta := archive.Meta{ID: "2-9", Index: 9, Term: 2, Size: int64(len(state)), CreatedAt: at, ClusterName: "prod", NodeName: "pg1"}
	if err := archive.Write(&b, meta, bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshot(t *testing.T) {
	whole := snapshot(t)
	sent := whole
	var restored []byte
	agent(t, map[string]any{
		"GET /v1/snapshot": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(sent) },
		"PUT /v1/snapshot": func(_ http.ResponseWriter, r *http.Request) {
			var b bytes.Buffer
			_, _ = b.ReadFrom(r.Body)
			restored = b.Bytes()
		},
	})
	file := filepath.Join(t.TempDir(), "a.snap")
	if r := run(t, "", "snapshot", "save", file); r.code != 0 || !strings.Contains(r.stdout, "index 9") {
		t.Fatalf("save: %+v", r)
	}
	if r := run(t, "", "snapshot", "inspect", file); r.code != 0 || !strings.Contains(r.stdout, "prod") || !strings.Contains(r.stdout, "kv ") {
		t.Errorf("inspect: %+v", r)
	}
	if r := run(t, "", "snapshot", "restore", file); r.code != 0 || !bytes.Equal(restored, whole) {
		t.Errorf("restore: %+v", r)
	}

	sent = whole[:len(whole)-20]
	cut := filepath.Join(filepath.Dir(file), "cut.snap")
	if r := run(t, "", "snapshot", "save", cut); r.code != 1 || !strings.Contains(r.stderr, "Nothing was saved") {
		t.Errorf("save of a torn stream: %+v", r)
	}
	if left, _ := filepath.Glob(cut + "*"); len(left) > 0 {
		t.Errorf("a torn snapshot left %v", left)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(cut, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	restored = nil
	for _, verb := range []string{"inspect", "restore"} {
		if r := run(t, "", "snapshot", verb, cut); r.code != 1 || !strings.Contains(r.stderr, "damaged") || restored != nil {
			t.Errorf("%s of a damaged file: %+v", verb, r)
		}
	}
}

func TestWait(t *testing.T) {
	lost, well := quorumLost(), healthy()
	joining := healthy()
	joining.Nodes[2].Voter = false
	tests := []struct {
		name  string
		what  string
		s     api.Status
		ready api.Readiness
		want  string // of the failure
	}{
		{"leader", "leader", well, api.Readiness{}, ""},
		{"no leader", "leader", lost, api.Readiness{}, "no leader is known"},
		{"quorum", "quorum", well, api.Readiness{}, ""},
		{"no quorum", "quorum", lost, api.Readiness{}, "quorum is not confirmed"},
		{"node", "node:pg3", well, api.Readiness{}, ""},
		{"node failed", "node:pg3", lost, api.Readiness{}, "pg3 is failed"},
		{"node unknown", "node:pg9", well, api.Readiness{}, "pg9 is not in the cluster"},
		{"node no voter yet", "node:pg3", joining, api.Readiness{}, "waits to be made a voter"},
		{"ready", "ready", well, api.Readiness{OK: true, Checks: []api.Health{{Check: "postgres", OK: true}}}, ""},
		{"not ready", "ready", well, api.Readiness{Checks: []api.Health{{Check: "postgres", Reason: "down"}, {Check: "x", OK: true}}}, "postgres: down"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			agent(t, map[string]any{"GET /v1/status": tt.s, "GET /readyz": tt.ready})
			r := run(t, "", "wait", "-for="+tt.what, "-timeout=300ms")
			if ok := r.code == 0; ok != (tt.want == "") || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("%+v", r)
			}
		})
	}
	if r := run(t, "", "wait", "-http-addr=127.0.0.1:1", "-timeout=300ms"); r.code != 1 || !strings.Contains(r.stderr, "no agent answers") {
		t.Errorf("no agent: %+v", r)
	}
}

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.hcl"), filepath.Join(dir, "bad.hcl")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(good, "node_name = \"pg1\"\nadvertise_addr = \"10.0.0.11\"\nwitness = true\n")
	write(bad, "node_name = \"pg1\"\nnode_nmae = \"x\"\n")
	if r := run(t, "", "validate", good); r.code != 0 || !strings.Contains(r.stdout, "valid") {
		t.Errorf("%+v", r)
	}
	if r := run(t, "", "validate", bad); r.code != 1 || !strings.Contains(r.stderr, "bad.hcl:2:1") {
		t.Errorf("%+v", r)
	}
	if r := run(t, "", "agent", "-config="+bad); r.code != 1 || !strings.Contains(r.stderr, "bad.hcl:2:1") {
		t.Errorf("agent: %+v", r)
	}
}

func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	if r := run(t, "", "tls", "ca", "create", "-dir="+dir); r.code != 0 || !strings.Contains(r.stdout, "keep it secret") {
		t.Fatalf("%+v", r)
	}
	ca := []string{"-ca-file=" + filepath.Join(dir, "pgraft-ca.pem"), "-ca-key-file=" + filepath.Join(dir, "pgraft-ca-key.pem")}
	create := append([]string{"tls", "cert", "create", "-dir=" + dir, "-node=pg1", "-ip=10.0.0.11"}, ca...)
	r := run(t, "", create...)
	if r.code != 0 || !strings.Contains(r.stdout, "cert_file = ") {
		t.Fatalf("%+v", r)
	}
	if r := run(t, "", create...); r.code != 1 {
		t.Errorf("overwrote a certificate: %+v", r)
	}
	for _, args := range [][]string{{"-ip=pg1.example.com", "-node=pg1"}, {}} {
		if r := run(t, "", append([]string{"tls", "cert", "create"}, args...)...); r.code != 2 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
