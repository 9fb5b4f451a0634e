package telemetry_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gometrics "github.com/hashicorp/go-metrics"

	"github.com/pgraft/pgraft/agent/telemetry"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func testStatus() api.Status {
	return api.Status{
		NodeID: 2, Name: "n2", Term: 7, LeaderID: 1, HasQuorum: true, Voter: true, State: "follower",
		WorkerState: api.WorkerRunning, LastContactMS: 120, StartedAt: time.Unix(1700000000, 0),
		Log:      api.LogStats{Size: 40, CommitIndex: 140, AppliedIndex: 139, DiskBytes: 4096},
		Counters: api.Counters{ElectionsTriggered: 3},
		Nodes:    []api.NodeStatus{{NodeID: 1, Status: api.NodeAlive}, {NodeID: 2, Status: api.NodeAlive}, {NodeID: 3, Status: api.NodeFailed}},
		Peers: []api.PeerStatus{
			{Name: "n1", LagEntries: 4, IsActive: true}, {Name: "n1", LagEntries: 9}, {ServerID: "s3"},
		},
		Postgres:     api.PostgresStatus{Enabled: true, Up: true, AppliedIndex: 130, LagEntries: 9, LagMS: 250},
		GossipHealth: 1,
		Checks:       []api.Check{{Name: "fsync", Status: api.CheckWarning}, {Name: "slots", Status: api.CheckUnknown}, {Name: "versions", Status: api.CheckOK}},
	}
}

func newMetrics(t *testing.T, st *api.Status) *telemetry.Metrics {
	t.Helper()
	m, err := telemetry.New(telemetry.Config{
		Status: func() api.Status { return *st }, Version: "v1",
		Applier: func() (fsm.ApplierStatus, bool) { return fsm.ApplierStatus{Entries: 11}, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns each series with its value.
func scrape(t *testing.T, m *telemetry.Metrics) map[string]string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	series := map[string]string{}
	for line := range strings.Lines(rec.Body.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && !strings.HasPrefix(line, "#") {
			series[name+"}"] = value
		} else if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			series[name] = value
		}
	}
	return series
}

func want(t *testing.T, series map[string]string, wants map[string]string) {
	t.Helper()
	for name, value := range wants {
		if got, ok := series[name]; !ok || got != value {
			t.Errorf("%s = %q, want %q", name, got, value)
		}
	}
}

func TestStatusMetrics(t *testing.T) {
	st := testStatus()
	m := newMetrics(t, &st)
	want(t, scrape(t, m), map[string]string{
		"pgraft_term": "7", "pgraft_leader_id": "1", "pgraft_is_leader": "0", "pgraft_has_quorum": "1", "pgraft_node_id": "2",
		"pgraft_log_size": "40", "pgraft_commit_index": "140", "pgraft_applied_index": "139", "pgraft_disk_bytes": "4096",
		"pgraft_last_contact_seconds": "0.12", "pgraft_elections_total": "3", "pgraft_start_time_seconds": "1.7e+09",
		"pgraft_postgres_up": "1", "pgraft_postgres_applied_index": "130", "pgraft_apply_lag_entries": "9",
		"pgraft_apply_lag_seconds": "0.25", "pgraft_postgres_error": "0", "pgraft_gossip_health_score": "1",
		`pgraft_nodes{status="alive"}`: "2", `pgraft_nodes{status="failed"}`: "1", `pgraft_nodes{status="left"}`: "0",
		`pgraft_worker_state{state="RUNNING"}`: "1", `pgraft_worker_state{state="STOPPED"}`: "0",
		`pgraft_raft_role{state="follower"}`: "1", `pgraft_raft_role{state="leader"}`: "0",
		`pgraft_peer_lag_entries{peer="n1"}`: "4", `pgraft_peer_active{peer="s3"}`: "0",
		"pgraft_applier_entries_total":       "11",
		`pgraft_check_status{check="fsync"}`: "1", `pgraft_check_status{check="slots"}`: "3", `pgraft_check_status{check="versions"}`: "0",
	})
	st.LastContactMS, st.Postgres.LagMS, st.IsLeader = -1, -1, true
	want(t, scrape(t, m), map[string]string{
		"pgraft_last_contact_seconds": "+Inf", "pgraft_apply_lag_seconds": "NaN", "pgraft_is_leader": "1",
	})
	st.Postgres = api.PostgresStatus{}
	for name := range scrape(t, m) {
		if strings.HasPrefix(name, "pgraft_postgres") || strings.HasPrefix(name, "pgraft_apply_lag") {
			t.Errorf("%s where there is no PostgreSQL", name)
		}
	}
}

// managedStatus is a primary that lost the acknowledgement of one standby.
func managedStatus() api.Status {
	st := testStatus()
	st.Role, st.Epoch, st.PrimaryID, st.Phase, st.Paused = api.RolePrimary, 4, 2, api.PhaseReady, true
	st.Sync = api.SyncStatus{Mode: api.SyncQuorum, Acks: 1, Members: []string{"n1", "n2"}}
	st.Postgres.Mode, st.Postgres.Timeline, st.Postgres.InDoubtBytes, st.Postgres.SyncAcks = "managed", 5, 4096, 2
	st.Postgres.PendingRestart = []string{"max_connections"}
	for i := range st.Nodes {
		st.Nodes[i].Name, st.Nodes[i].LagBytes = "n"+string(rune('1'+i)), int64(i*100-1)
	}
	st.Nodes[2].Witness = true
	return st
}

func TestManagedMetrics(t *testing.T) {
	st := managedStatus()
	m := newMetrics(t, &st)
	series := scrape(t, m)
	want(t, series, map[string]string{
		"pgraft_primary": "1", "pgraft_epoch": "4", "pgraft_failovers_total": "3", "pgraft_paused": "1", "pgraft_sync_acks": "2",
		"pgraft_sync_acks_needed": "1", "pgraft_postgres_timeline": "5", "pgraft_in_doubt_bytes": "4096", "pgraft_postgres_read_only": "0",
		"pgraft_postgres_pending_restart": "1", `pgraft_replication_lag_bytes{node="n1"}`: "NaN", `pgraft_replication_lag_bytes{node="n2"}`: "99",
	})
	if _, ok := series[`pgraft_replication_lag_bytes{node="n3"}`]; ok {
		t.Error("a witness has a replication lag")
	}
	st.Role, st.Postgres = api.RoleWitness, api.PostgresStatus{}
	series = scrape(t, m)
	want(t, series, map[string]string{"pgraft_primary": "0", "pgraft_failovers_total": "3"})
	for _, name := range []string{"pgraft_in_doubt_bytes", "pgraft_sync_acks", "pgraft_postgres_timeline"} {
		if _, ok := series[name]; ok {
			t.Errorf("%s on a witness", name)
		}
	}
	st = testStatus()
	for name := range scrape(t, m) {
		if strings.HasPrefix(name, "pgraft_primary") && name != "pgraft_primary_id" || strings.HasPrefix(name, "pgraft_failovers") || strings.HasPrefix(name, "pgraft_replication") {
			t.Errorf("%s where nothing is managed", name)
		}
	}
}

type fakeTransport struct{ err error }

func (f fakeTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, f.err
}

func TestReports(t *testing.T) {
	st := testStatus()
	m := newMetrics(t, &st)
	m.Proposal("ok", time.Millisecond)
	m.Proposal("in_doubt", time.Second)
	m.Entry(64, 1000, true, time.Millisecond)
	m.Refused("other cluster")
	observe := m.ObserveHTTP("PUT", "/v1/kv/{key}")
	observe(200, time.Millisecond)
	observe(503, time.Millisecond)
	req := httptest.NewRequest("GET", "/", nil)
	for _, err := range []error{nil, errors.New("refused")} {
		resp, _ := m.RPCTransport("leader", fakeTransport{err}).RoundTrip(req)
		_ = resp.Body.Close()
	}
	wal, err := m.WALCollector()
	if err != nil {
		t.Fatal(err)
	}
	wal.IncrementCounter("log_appends", 5)
	wal.IncrementCounter("unheard of", 5)
	wal.SetGauge("last_segment_age_seconds", 9)
	want(t, scrape(t, m), map[string]string{
		`pgraft_proposals_total{outcome="ok"}`: "1", `pgraft_proposals_total{outcome="in_doubt"}`: "1",
		`pgraft_proposal_duration_seconds_count{outcome="ok"}`:                          "1",
		`pgraft_entry_operations_sum`:                                                   "64",
		`pgraft_entry_duration_seconds_count{way="forwarded"}`:                          "1",
		`pgraft_connections_refused_total{reason="other cluster"}`:                      "1",
		`pgraft_http_requests_total{code="503",method="PUT",route="/v1/kv/{key}"}`:      "1",
		`pgraft_http_request_duration_seconds_count{method="PUT",route="/v1/kv/{key}"}`: "2",
		`pgraft_rpc_duration_seconds_count{method="leader",outcome="ok"}`:               "1",
		`pgraft_rpc_duration_seconds_count{method="leader",outcome="error"}`:            "1",
		"pgraft_wal_log_appends_total":                                                  "5",
		"pgraft_wal_last_segment_age_seconds":                                           "9",
		`pgraft_http_requests_total{code="200",method="PUT",route="/v1/kv/{key}"}`:      "1",
	})
}

func TestLibrariesMetrics(t *testing.T) {
	st := testStatus()
	m := newMetrics(t, &st)
	if err := m.InstallGlobal(); err != nil {
		t.Fatal(err)
	}
	gometrics.IncrCounter([]string{"raft", "apply"}, 3)
	gometrics.SetGaugeWithLabels([]string{"raft", "peers"}, 2, []gometrics.Label{{Name: "id", Value: "x"}})
	gometrics.AddSample([]string{"memberlist", "probeNode"}, 1)
	// The same name as a counter and a gauge: a library's fault that must not hide the rest.
	gometrics.IncrCounter([]string{"raft", "twice"}, 1)
	gometrics.SetGauge([]string{"raft", "twice"}, 1)
	want(t, scrape(t, m), map[string]string{
		"pgraft_raft_apply": "3", `pgraft_raft_peers{id="x"}`: "2", "pgraft_memberlist_probeNode_count": "1", "pgraft_term": "7",
	})
}
