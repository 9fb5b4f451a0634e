package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/api/archive"
	"github.com/pgraft/pgraft/fsm"
)

// backend is a node without Raft: what is proposed is applied at once to a real state machine.
type backend struct {
	fsm   *fsm.FSM
	board httpapi.MemberBoard

	mu        sync.Mutex // guards the rest
	index     uint64
	now       time.Time
	status    api.Status
	follower  bool // not the leader
	noLeader  bool
	proposes  []error // errors of the next proposals; a nil one lets through
	applied   int     // operations that reached the state machine
	doubtful  bool    // apply, and then answer in doubt
	barrier   error
	barriers  int
	autopilot api.AutopilotConfig
	orders    []string // what an operator asked for
	orderErr  error
	panics    bool
	lines     chan []byte
	restored  archive.Meta
}

func newBackend() *backend {
	return &backend{
		fsm: fsm.New(hclog.NewNullLogger()), now: time.Unix(1700000000, 0).UTC(),
		index: 10, // Raft's own entries come first: no command ever has index 1
		status: api.Status{
			Name: "n1", NodeID: 1, ServerID: "s1", ClusterID: "c1", ClusterName: "test", Version: "v1",
			State: "leader", IsLeader: true, HasQuorum: true, Voter: true, LeaderID: 1, Term: 1,
		},
		autopilot: api.AutopilotConfig{
			MinQuorum: 3, DeadServerThreshold: "24h", CleanupDeadServers: true,
			ServerStabilizationTime: "10s", LastContactThreshold: "1s",
		},
		lines: make(chan []byte, 16),
	}
}

type doubt struct{}

func (doubt) Error() string { return "the leader went away" }
func (doubt) InDoubt() bool { return true }

func (b *backend) Propose(ctx context.Context, op fsm.Op) (fsm.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.panics {
		panic("a bug")
	}
	if len(b.proposes) > 0 {
		err := b.proposes[0]
		b.proposes = b.proposes[1:]
		if err != nil {
			return fsm.Result{}, err
		}
	}
	result := b.apply(op)
	if b.doubtful {
		b.doubtful = false
		return fsm.Result{}, doubt{}
	}
	return result, ctx.Err()
}

func (b *backend) apply(op fsm.Op) fsm.Result {
	b.index++
	b.now = b.now.Add(time.Second)
	data, err := fsm.EncodeEntry(fsm.Entry{Time: b.now, Ops: []fsm.Op{op}})
	if err != nil {
		panic(err)
	}
	b.applied++
	return b.fsm.Apply(&raft.Log{Index: b.index, Term: 1, Type: raft.LogCommand, Data: data}).([]fsm.Result)[0]
}

func (b *backend) set(change func(*backend)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *backend) Status() api.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *backend) Leader() (*api.Leader, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noLeader {
		return nil, false
	}
	return &api.Leader{NodeID: 1, Name: "n1", HTTPAddress: "10.0.0.1:7400", RaftAddress: "10.0.0.1:7401"}, true
}

func (b *backend) IsLeader() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.follower && !b.noLeader
}

func (b *backend) KnownLeader() bool {
	_, ok := b.Leader()
	return ok
}

func (b *backend) LastContact() time.Duration {
	if b.IsLeader() {
		return 0
	}
	return 25 * time.Millisecond
}

func (b *backend) ConsistentBarrier(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.barriers++
	return b.barrier
}

func (b *backend) Renew(_ context.Context, id string) error { return b.order("renew " + id) }

func (b *backend) order(what string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders = append(b.orders, what)
	return b.orderErr
}

func (b *backend) Join(_ context.Context, addrs []string) (int, error) {
	return len(addrs), b.order("join " + strings.Join(addrs, ","))
}
func (b *backend) Leave(context.Context) error { return b.order("leave") }
func (b *backend) Reload(context.Context) (api.ReloadResult, error) {
	return api.ReloadResult{Applied: []string{"log_level"}}, b.order("reload")
}
func (b *backend) Info() []api.InfoValue {
	return []api.InfoValue{{Name: "node_name", Value: "n1", Source: "default"}}
}

func (b *backend) Monitor(ctx context.Context, level hclog.Level, inJSON bool) (<-chan []byte, error) {
	out := make(chan []byte)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case line := <-b.lines:
				out <- fmt.Appendf(nil, "%s %v %s\n", level, inJSON, line)
			}
		}
	}()
	return out, b.order("monitor")
}

func (b *backend) ForceLeave(_ context.Context, node string) error {
	return b.order("force-leave " + node)
}
func (b *backend) RaftConfiguration(context.Context) (api.RaftConfiguration, error) {
	return api.RaftConfiguration{Index: 1, Servers: []api.RaftServer{{NodeID: 1, Name: "n1", Leader: true, Voter: true}}}, nil
}
func (b *backend) RemovePeer(_ context.Context, id string) error { return b.order("remove-peer " + id) }
func (b *backend) TransferLeader(_ context.Context, id string) error {
	return b.order("transfer-leader " + id)
}

func (b *backend) AutopilotConfig(context.Context) (api.AutopilotConfig, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.autopilot, nil
}

func (b *backend) SetAutopilotConfig(_ context.Context, cfg api.AutopilotConfig) error {
	b.set(func(b *backend) { b.autopilot = cfg })
	return b.order("autopilot")
}

func (b *backend) AutopilotState(context.Context) (api.AutopilotState, error) {
	return api.AutopilotState{Healthy: true, Leader: "n1"}, nil
}

func (b *backend) clusterOrder(what string) (api.ClusterResult, error) {
	return api.ClusterResult{Epoch: 4, Primary: "n2"}, b.order(what)
}
func (b *backend) Failover(_ context.Context, node string, loss bool) (api.ClusterResult, error) {
	return b.clusterOrder(fmt.Sprintf("failover %s %v", node, loss))
}
func (b *backend) Switchover(_ context.Context, node string) (api.ClusterResult, error) {
	return b.clusterOrder("switchover " + node)
}
func (b *backend) SetPaused(_ context.Context, paused bool) error {
	return b.order(fmt.Sprintf("paused %v", paused))
}
func (b *backend) Restart(context.Context) (api.ClusterResult, error) {
	return b.clusterOrder("restart")
}
func (b *backend) RestartAll(context.Context) (api.ClusterResult, error) {
	return b.clusterOrder("restart all")
}
func (b *backend) Reinit(context.Context) (api.ClusterResult, error) { return b.clusterOrder("reinit") }

func (b *backend) keys(what string) (api.KeyringResponse, error) {
	return api.KeyringResponse{Keys: map[string]int{"k": 1}, NumNodes: 1}, b.order(what)
}
func (b *backend) ListKeys(context.Context) (api.KeyringResponse, error) { return b.keys("keys") }
func (b *backend) InstallKey(_ context.Context, key string) (api.KeyringResponse, error) {
	return b.keys("install " + key)
}
func (b *backend) UseKey(_ context.Context, key string) (api.KeyringResponse, error) {
	return b.keys("use " + key)
}
func (b *backend) RemoveKey(_ context.Context, key string) (api.KeyringResponse, error) {
	return b.keys("remove " + key)
}

func (b *backend) Snapshot(context.Context) (archive.Meta, io.ReadCloser, error) {
	var buf bytes.Buffer
	store := b.fsm.Store().Snapshot()
	if _, err := store.WriteTo(&buf); err != nil {
		return archive.Meta{}, nil, err
	}
	index, term := store.Applied()
	meta := archive.Meta{ID: "snap", Index: index, Term: term, Size: int64(buf.Len()), ClusterName: "test", CreatedAt: b.now}
	return meta, io.NopCloser(&buf), nil
}

func (b *backend) Restore(_ context.Context, meta archive.Meta, state io.Reader) error {
	b.set(func(b *backend) { b.restored = meta })
	return b.fsm.Restore(io.NopCloser(state))
}

// server is a backend behind a real listener.
type server struct {
	*backend
	t      testing.TB
	api    *httpapi.Server
	url    string
	client *http.Client
}

// option changes a server's configuration before it is built.
type option func(*httpapi.Config)

func newServer(tb testing.TB, opts ...option) *server {
	tb.Helper()
	b := newBackend()
	cfg := httpapi.Config{
		FSM: b.fsm, Status: b, Proposer: b, Reader: b, Sessions: b, Members: &b.board, Agent: b, Operator: b,
		Keyring: b, Snapshots: b, Cluster: b, TempDir: tb.TempDir(), Version: "v1",
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pgraft_up 1\n") }),
	}
	for _, change := range opts {
		change(&cfg)
	}
	s := httpapi.New(cfg)
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = s.HTTPServer()
	ts.Start()
	tb.Cleanup(func() {
		s.Close()
		ts.Close()
	})
	return &server{backend: b, t: tb, api: s, url: ts.URL, client: ts.Client()}
}

// newClient is the API's client for the server.
func (s *server) newClient() *api.Client {
	s.t.Helper()
	c, err := api.New(api.Config{Address: s.url})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// answer is a response, read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(tb testing.TB, out any) {
	tb.Helper()
	if err := json.Unmarshal([]byte(a.body), out); err != nil {
		tb.Fatalf("decode %q: %v", a.body, err)
	}
}

// call sends a request as it is written here, without a client's help.
func (s *server) call(method, path, body string, header ...string) answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := *s.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// must is a call that has to succeed.
func (s *server) must(method, path, body string, header ...string) answer {
	s.t.Helper()
	a := s.call(method, path, body, header...)
	if a.status != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

// mustFail is a call that has to fail with a status and a code.
func (s *server) mustFail(status int, code, method, path, body string, header ...string) *api.Error {
	s.t.Helper()
	a := s.call(method, path, body, header...)
	e := &api.Error{}
	a.json(s.t, e)
	if a.status != status || e.Code != code || e.Message == "" {
		s.t.Fatalf("%s %s: %d %s; want %d %s with a message", method, path, a.status, a.body, status, code)
	}
	return e
}

// serve runs a handler on a listener of its own and returns its URL.
func serve(tb testing.TB, h http.Handler) string {
	tb.Helper()
	ts := httptest.NewServer(h)
	tb.Cleanup(ts.Close)
	return ts.URL
}
