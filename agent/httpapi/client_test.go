package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/api/archive"
	"github.com/pgraft/pgraft/fsm"
)

// These tests speak to the server as programs do: through the client.

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestClientKV(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	absent := uint64(0)
	for _, key := range []string{"a/../b", "x//y", "ü?&=+ %", "."} {
		written, err := c.KVPut(ctx, key, []byte{0, 1, 255}, api.KVPutOptions{CAS: &absent, Flags: 9})
		noError(t, err)
		pair, meta, err := c.KVGet(ctx, key, api.QueryOptions{Consistent: true})
		noError(t, err)
		if pair == nil || pair.Key != key || !bytes.Equal(pair.Value, []byte{0, 1, 255}) || pair.Flags != 9 ||
			meta.Index != written.Index || !meta.KnownLeader || meta.LastContact != 0 {
			t.Fatalf("%q: pair %+v, meta %+v, written %+v", key, pair, meta, written)
		}
	}
	_, err := c.KVPut(ctx, ".", nil, api.KVPutOptions{CAS: &absent})
	if !api.IsCode(err, api.CodePrecondition) {
		t.Fatalf("cas: %v", err)
	}
	pairs, _, err := c.KVList(ctx, "", api.QueryOptions{Stale: true})
	noError(t, err)
	keys, _, err := c.KVKeys(ctx, "a/", "/", api.QueryOptions{})
	noError(t, err)
	if len(pairs) != 4 || len(keys) != 1 || keys[0] != "a/../" {
		t.Fatalf("%d pairs, keys %v", len(pairs), keys)
	}
	deleted, err := c.KVDelete(ctx, "", api.KVDeleteOptions{Recurse: true})
	noError(t, err)
	pair, meta, err := c.KVGet(ctx, ".", api.QueryOptions{})
	noError(t, err)
	if deleted.Deleted != 4 || pair != nil || meta.Index != deleted.Index {
		t.Fatalf("deleted %+v, pair %+v, meta %+v", deleted, pair, meta)
	}
	stats, _, err := c.KVStats(ctx, api.QueryOptions{})
	noError(t, err)
	if stats.Keys != 0 || stats.Index != deleted.Index {
		t.Fatalf("stats %+v", stats)
	}
}

func TestClientTxnAndSettings(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	out, err := c.Txn(ctx, api.TxnRequest{Success: []api.TxnOp{{Op: "set", Key: "a", Value: []byte("1")}}}, api.WriteOptions{Retry: true})
	noError(t, err)
	if !out.Succeeded || out.Index == 0 {
		t.Fatalf("%+v", out)
	}
	_, err = c.SettingSet(ctx, "pg.max_connections", "200", api.WriteOptions{})
	noError(t, err)
	setting, _, err := c.SettingGet(ctx, "pg.max_connections", api.QueryOptions{})
	noError(t, err)
	if setting == nil || setting.Value != "200" {
		t.Fatalf("%+v", setting)
	}
	_, err = c.SettingUnset(ctx, "pg.max_connections", api.WriteOptions{})
	noError(t, err)
	settings, _, err := c.SettingList(ctx, api.QueryOptions{})
	noError(t, err)
	gone, _, err := c.SettingGet(ctx, "pg.max_connections", api.QueryOptions{})
	noError(t, err)
	if len(settings) != 0 || gone != nil {
		t.Fatalf("%v %v", settings, gone)
	}
}

func TestClientSessions(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	created, err := c.SessionCreate(ctx, api.Session{Name: "job", TTL: "20s"}, api.WriteOptions{Retry: true})
	noError(t, err)
	if created.ID == "" || created.LockDelay != "15s" || created.Node != "n1" || created.Behavior != "release" {
		t.Fatalf("%+v", created)
	}
	found, _, err := c.SessionInfo(ctx, created.ID, api.QueryOptions{})
	noError(t, err)
	if found == nil || *found != created {
		t.Fatalf("info %+v, created %+v", found, created)
	}
	renewed, err := c.SessionRenew(ctx, created.ID)
	noError(t, err)
	if renewed != created || s.orders[0] != "renew "+created.ID {
		t.Fatalf("renewed %+v, orders %v", renewed, s.orders)
	}
	_, err = c.SessionDestroy(ctx, created.ID, api.WriteOptions{})
	noError(t, err)
	if _, err := c.SessionRenew(ctx, created.ID); !api.IsCode(err, api.CodeNotFound) {
		t.Fatalf("renew after the end: %v", err)
	}
	gone, _, err := c.SessionInfo(ctx, created.ID, api.QueryOptions{})
	noError(t, err)
	sessions, _, err := c.SessionList(ctx, api.QueryOptions{})
	noError(t, err)
	if gone != nil || len(sessions) != 0 {
		t.Fatalf("%v %v", gone, sessions)
	}
}

func TestClientStatusAndAgent(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	s.board.Set([]api.Member{{Name: "n1", Status: "alive"}})
	st, err := c.Status(ctx)
	noError(t, err)
	leader, err := c.Leader(ctx)
	noError(t, err)
	peers, err := c.Peers(ctx)
	noError(t, err)
	self, err := c.AgentSelf(ctx)
	noError(t, err)
	info, err := c.AgentInfo(ctx)
	noError(t, err)
	reloaded, err := c.Reload(ctx)
	noError(t, err)
	joined, err := c.Join(ctx, "[::1]:7402")
	noError(t, err)
	noError(t, c.ForceLeave(ctx, "n 2"))
	noError(t, c.Leave(ctx))
	if st.Name != "n1" || leader.Name != "n1" || len(peers) != 0 || self.Member == nil || len(info) != 1 ||
		joined.Joined != 1 || len(reloaded.Applied) != 1 {
		t.Fatal(st, leader, peers, self, info, joined, reloaded)
	}
	if got := strings.Join(s.orders, "|"); got != "reload|join [::1]:7402|force-leave n 2|leave" {
		t.Fatal(got)
	}
	s.set(func(b *backend) { b.orderErr = errors.New("no route to host") })
	if _, err := c.Join(ctx, "10.9.9.9"); !api.IsCode(err, api.CodeUnavailable) {
		t.Fatal(err)
	}
}

func TestClientOperator(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	cfg, err := c.RaftConfiguration(ctx, api.QueryOptions{Stale: true})
	noError(t, err)
	noError(t, c.RaftRemovePeer(ctx, "s2"))
	noError(t, c.RaftTransferLeader(ctx, ""))
	noError(t, c.SetAutopilotConfig(ctx, api.AutopilotConfig{
		MinQuorum: 5, LastContactThreshold: "2s", DeadServerThreshold: "1h", ServerStabilizationTime: "10s",
	}))
	if err := c.SetAutopilotConfig(ctx, api.AutopilotConfig{MinQuorum: 1}); !api.IsCode(err, api.CodeBadRequest) {
		t.Fatalf("durations left empty: %v", err)
	}
	auto, err := c.AutopilotConfig(ctx, api.QueryOptions{})
	noError(t, err)
	state, err := c.AutopilotState(ctx)
	noError(t, err)
	key := "MDEyMzQ1Njc4OWFiY2RlZg=="
	_, err = c.KeyringInstall(ctx, key)
	noError(t, err)
	_, err = c.KeyringUse(ctx, key)
	noError(t, err)
	_, err = c.KeyringRemove(ctx, key)
	noError(t, err)
	keys, err := c.KeyringList(ctx)
	noError(t, err)
	if len(cfg.Servers) != 1 || auto.MinQuorum != 5 || auto.CleanupDeadServers || !state.Healthy || keys.NumNodes != 1 {
		t.Fatal(cfg, auto, state, keys)
	}
	want := "remove-peer s2|transfer-leader |autopilot|install " + key + "|use " + key + "|remove " + key + "|keys"
	if got := strings.Join(s.orders, "|"); got != want {
		t.Fatal(got)
	}
}

func TestClientMembersBlock(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	s.board.Set([]api.Member{{Name: "n1"}})
	_, meta, err := c.Members(ctx, api.QueryOptions{})
	noError(t, err)
	got := make(chan int, 1)
	go func() {
		members, _, _ := c.Members(ctx, api.QueryOptions{Index: meta.Index, Wait: 10 * time.Second})
		got <- len(members)
	}()
	time.Sleep(20 * time.Millisecond)
	s.board.Set([]api.Member{{Name: "n1"}, {Name: "n2"}})
	if n := <-got; n != 2 {
		t.Fatalf("%d members", n)
	}
}

func TestClientEvents(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	event := func(kind string) {
		_, err := s.Propose(ctx, fsm.EventAppend{Type: kind, Message: "line 1\nline 2", Data: map[string]string{"k": "v"}})
		noError(t, err)
	}
	event("join")
	event("bad\nname")
	events, meta, err := c.Events(ctx, api.EventOptions{})
	noError(t, err)
	if len(events) != 2 || meta.Index != 2 || events[0].Message != "line 1\nline 2" {
		t.Fatalf("%+v %+v", events, meta)
	}
	latest, _, err := c.Events(ctx, api.EventOptions{Limit: 1})
	noError(t, err)
	after, _, err := c.Events(ctx, api.EventOptions{Since: 1})
	noError(t, err)
	if len(latest) != 1 || latest[0].Index != 2 || len(after) != 1 || after[0].Index != 2 {
		t.Fatalf("%+v %+v", latest, after)
	}
	var seen []string
	done := errors.New("seen enough")
	err = c.EventsFollow(ctx, 0, func(e api.Event) error {
		seen = append(seen, e.Type)
		if len(seen) == 2 {
			event("election")
		}
		if len(seen) == 3 {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) || seen[0] != "join" || seen[2] != "election" {
		t.Fatalf("%v after %q", err, seen)
	}
	ended, cancel := context.WithCancel(ctx)
	noError(t, c.EventsFollow(ended, 2, func(api.Event) error { cancel(); return nil }))
}

// The first event of a cluster reaches who waits since before it.
func TestFollowFromTheBeginning(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	got := make(chan api.Event, 1)
	done := errors.New("done")
	go func() {
		_ = c.EventsFollow(ctx, 0, func(e api.Event) error { got <- e; return done })
	}()
	time.Sleep(20 * time.Millisecond)
	_, err := s.Propose(ctx, fsm.EventAppend{Type: "election", Message: "m"})
	noError(t, err)
	select {
	case e := <-got:
		if e.Index != 1 {
			t.Fatalf("%+v", e)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no event")
	}
}

func TestClientMonitor(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	s.lines <- []byte("hello")
	done := errors.New("done")
	var got string
	err := c.Monitor(ctx, api.MonitorOptions{Level: "debug", JSON: true}, func(line []byte) error {
		got = string(line)
		return done
	})
	if !errors.Is(err, done) || got != "debug true hello" {
		t.Fatalf("%q %v", got, err)
	}
	if err := c.Monitor(ctx, api.MonitorOptions{Level: "loud"}, nil); !api.IsCode(err, api.CodeBadRequest) {
		t.Fatal(err)
	}
}

func TestClientSnapshot(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	_, err := c.KVPut(ctx, "k", []byte("before"), api.KVPutOptions{})
	noError(t, err)
	var saved bytes.Buffer
	_, err = c.SnapshotSave(ctx, &saved, api.QueryOptions{})
	noError(t, err)
	meta, err := archive.Verify(bytes.NewReader(saved.Bytes()))
	noError(t, err)
	if meta.Index != 11 || meta.ClusterName != "test" {
		t.Fatalf("%+v", meta)
	}
	_, err = c.KVPut(ctx, "k", []byte("after"), api.KVPutOptions{})
	noError(t, err)
	for name, bad := range map[string][]byte{
		"nothing": {}, "text": []byte("hello"), "cut": saved.Bytes()[:saved.Len()-9], "state": otherState(t),
	} {
		if err := c.SnapshotRestore(ctx, bytes.NewReader(bad)); !api.IsCode(err, api.CodeBadRequest) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	pair, _, err := c.KVGet(ctx, "k", api.QueryOptions{})
	noError(t, err)
	if string(pair.Value) != "after" {
		t.Fatal("a bad archive changed the state")
	}
	noError(t, c.SnapshotRestore(ctx, io.MultiReader(&saved))) // chunked, as from a pipe
	pair, _, err = c.KVGet(ctx, "k", api.QueryOptions{})
	noError(t, err)
	if string(pair.Value) != "before" || s.restored.ID != "snap" {
		t.Fatalf("%q, meta %+v", pair.Value, s.restored)
	}
}

// otherState is a sound archive of something that is no state.
func otherState(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	noError(t, archive.Write(&buf, archive.Meta{Size: 5}, strings.NewReader("hello")))
	return buf.Bytes()
}

func TestClientHealth(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	live, err := c.Live(ctx)
	noError(t, err)
	ready, err := c.Ready(ctx, "")
	noError(t, err)
	if !live.OK || !ready.OK || len(ready.Checks) != 6 {
		t.Fatalf("%+v %+v", live, ready)
	}
	s.set(func(b *backend) { b.status.Postgres = api.PostgresStatus{Enabled: true, Error: "connection refused"} })
	ready, err = c.Ready(ctx, "")
	noError(t, err)
	one, err := c.Ready(ctx, "postgres")
	noError(t, err)
	if ready.OK || one.OK || len(one.Checks) != 1 || one.Checks[0].Reason != "connection refused" {
		t.Fatalf("%+v %+v", ready, one)
	}
	if _, err := c.Ready(ctx, "weather"); !api.IsCode(err, api.CodeNotFound) {
		t.Fatal(err)
	}
	s.mustFail(503, api.CodeUnavailable, "GET", "/readyz", "")
	s.must("GET", "/readyz?exclude=postgres", "")
	s.must("GET", "/readyz/voter", "")
	var metrics bytes.Buffer
	noError(t, c.Metrics(ctx, &metrics))
	if metrics.String() != "pgraft_up 1\n" {
		t.Fatal(metrics.String())
	}
}

func TestReadiness(t *testing.T) {
	healthy := api.Status{
		NodeID: 1, ClusterID: "c", HasQuorum: true, Voter: true, LeaderID: 2, State: "follower",
		Log: api.LogStats{CommitIndex: 5000, AppliedIndex: 4900},
	}
	other := func(status string) []api.NodeStatus {
		return []api.NodeStatus{{NodeID: 1, Status: api.NodeAlive}, {NodeID: 2, Status: status}}
	}
	tests := []struct {
		name   string
		change func(*api.Status)
		fails  string
	}{
		{"healthy", func(*api.Status) {}, ""},
		{"no leader", func(s *api.Status) { s.HasQuorum, s.LeaderID, s.LastContactMS = false, 0, -1 }, "raft_leader"},
		{"silent leader", func(s *api.Status) { s.HasQuorum, s.LastContactMS = false, 9000 }, "raft_leader"},
		{"full disk", func(s *api.Status) { s.WorkerState, s.WorkerMessage = api.WorkerError, "no space left" }, "worker"},
		{"isolated leader", func(s *api.Status) { s.HasQuorum, s.State = false, "leader" }, "raft_leader"},
		{"far behind", func(s *api.Status) { s.Log.AppliedIndex = 10 }, "fsm_caught_up"},
		{"new", func(s *api.Status) { s.ClusterID = "" }, "fsm_caught_up"},
		{"postgres down", func(s *api.Status) { s.Postgres.Enabled = true }, "postgres"},
		{"postgres up", func(s *api.Status) { s.Postgres.Enabled, s.Postgres.Up = true, true }, ""},
		{"applier in trouble", func(s *api.Status) {
			s.Postgres = api.PostgresStatus{Enabled: true, Up: true, Error: "another cluster's rows"}
		}, "postgres"},
		{"joining", func(s *api.Status) { s.Voter = false }, "voter"},
		{"read replica", func(s *api.Status) {
			s.Voter, s.Nodes = false, []api.NodeStatus{{NodeID: 1, NonVoting: true}}
		}, ""},
		{"sees another", func(s *api.Status) { s.Nodes = other(api.NodeAlive) }, ""},
		{"sees nobody", func(s *api.Status) { s.Nodes = other(api.NodeFailed) }, "gossip"},
		{"the other left", func(s *api.Status) { s.Nodes = other(api.NodeLeft) }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			st := healthy
			test.change(&st)
			var failed []string
			for _, check := range httpapi.Readiness(st) {
				if !check.OK {
					failed = append(failed, check.Check)
				}
				if !check.OK && check.Reason == "" {
					t.Errorf("%s gives no reason", check.Check)
				}
			}
			if strings.Join(failed, ",") != test.fails {
				t.Fatalf("failed %v, want %q", failed, test.fails)
			}
		})
	}
}

func TestPage(t *testing.T) {
	s := newServer(t)
	a := s.must("GET", "/ui/", "")
	if !strings.Contains(a.body, "/v1/status") || strings.Contains(a.body, "https://") || a.header.Get("Content-Security-Policy") == "" {
		t.Fatal(a.header)
	}
	if a := s.call("GET", "/", ""); a.status != 307 || a.header.Get("Location") != "/ui/" {
		t.Fatalf("%d %v", a.status, a.header)
	}
}
