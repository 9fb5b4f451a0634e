package pgext_test

import (
	"context"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/pgext"
)

// fakeBackend is an agent with a key/value store in memory. Before each call on the cluster it runs hook, if set.
type fakeBackend struct {
	mu     sync.Mutex // guards all
	index  uint64
	kv     map[string]api.KVPair
	status api.Status
	debug  bool
	calls  []string
	hook   func(ctx context.Context, call string) error
}

func newFakeBackend() *fakeBackend {
	return &fakeBackend{kv: map[string]api.KVPair{}, status: exampleStatus()}
}

func exampleStatus() api.Status {
	node := func(id int, name string, leader bool) api.NodeStatus {
		return api.NodeStatus{
			NodeID: id, Name: name, Address: "10.0.0.1" + strconv.Itoa(id), Port: 7401, IsLeader: leader, Role: "primary",
			Status: api.NodeAlive, Voter: true, PostgresAddress: "10.0.0.1:5432", AppliedIndex: 40, Version: "0.1.0",
			LastSeen: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		}
	}
	return api.Status{
		AsOf: time.Now(), Version: "0.1.0", ClusterName: "prod", ClusterID: "c1", NodeID: 1, Name: "pg1", ServerID: "s1",
		Role: "primary", WorkerState: api.WorkerRunning, State: "leader", Voter: true, IsLeader: true, LeaderID: 1,
		LeaderName: "pg1", Term: 7, HasQuorum: true, LeaseUntil: time.Now().Add(time.Hour),
		Log:      api.LogStats{Size: 10, LastIndex: 42, CommitIndex: 41, AppliedIndex: 40, DiskBytes: 1 << 20},
		Counters: api.Counters{MessagesProcessed: 5, HeartbeatsSent: 6, ElectionsTriggered: 1},
		Nodes:    []api.NodeStatus{node(1, "pg1", true), node(2, "pg2", false), node(3, "pg3", false)},
		Peers:    []api.PeerStatus{{NodeID: 2, Name: "pg2", MatchIndex: 41, LagEntries: 1, LagMS: 3, IsActive: true}},
		Postgres: api.PostgresStatus{Enabled: true, Up: true, AppliedIndex: 40},
	}
}

func (b *fakeBackend) call(ctx context.Context, call string) error {
	b.mu.Lock()
	b.calls = append(b.calls, call)
	hook := b.hook
	b.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, call)
}

func (b *fakeBackend) setHook(hook func(ctx context.Context, call string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook = hook
}

func (b *fakeBackend) Status() api.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *fakeBackend) Info() []api.InfoValue {
	return []api.InfoValue{{Name: "node_name", Value: "pg1", Source: "default"}}
}

func (b *fakeBackend) KVGet(ctx context.Context, key string) (*api.KVPair, error) {
	if err := b.call(ctx, "get "+key); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	pair, ok := b.kv[key]
	if !ok {
		return nil, nil
	}
	return &pair, nil
}

func (b *fakeBackend) KVKeys(ctx context.Context, prefix string) ([]string, error) {
	if err := b.call(ctx, "list "+prefix); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []string
	for key := range b.kv {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (b *fakeBackend) KVPut(ctx context.Context, key string, value []byte) (api.WriteResult, error) {
	if err := b.call(ctx, "put "+key); err != nil {
		return api.WriteResult{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set(key, value), nil
}

// set needs mu.
func (b *fakeBackend) set(key string, value []byte) api.WriteResult {
	b.index++
	pair := api.KVPair{Key: key, Value: slices.Clone(value), Version: b.kv[key].Version + 1, ModifyIndex: b.index}
	b.kv[key] = pair
	return api.WriteResult{Index: b.index, Version: pair.Version}
}

func (b *fakeBackend) KVCAS(ctx context.Context, key string, version uint64, value []byte) (api.WriteResult, error) {
	if err := b.call(ctx, "cas "+key); err != nil {
		return api.WriteResult{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kv[key].Version != version {
		return api.WriteResult{}, &api.Error{Code: api.CodePrecondition, Message: "the key has another version"}
	}
	return b.set(key, value), nil
}

func (b *fakeBackend) KVDelete(ctx context.Context, key string) (api.WriteResult, error) {
	if err := b.call(ctx, "delete "+key); err != nil {
		return api.WriteResult{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	_, ok := b.kv[key]
	delete(b.kv, key)
	if !ok {
		return api.WriteResult{Index: b.index}, nil
	}
	return api.WriteResult{Index: b.index, Deleted: 1}, nil
}

func (b *fakeBackend) AddNode(ctx context.Context, id int, address string, port int) error {
	return b.call(ctx, "add "+strconv.Itoa(id)+" "+address+" "+strconv.Itoa(port))
}

func (b *fakeBackend) RemoveNode(ctx context.Context, id int) error {
	return b.call(ctx, "remove "+strconv.Itoa(id))
}

func (b *fakeBackend) TransferLeadership(ctx context.Context, id int) error {
	return b.call(ctx, "transfer "+strconv.Itoa(id))
}

func (b *fakeBackend) Switchover(ctx context.Context, id int) error {
	return b.call(ctx, "switchover "+strconv.Itoa(id))
}

func (b *fakeBackend) Replicate(ctx context.Context, data []byte) (uint64, error) {
	if err := b.call(ctx, "replicate "+string(data)); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	return b.index, nil
}

func (b *fakeBackend) WaitIndex(ctx context.Context, index uint64) error {
	if err := b.call(ctx, "wait"); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.index < index {
		return context.DeadlineExceeded
	}
	return nil
}

func (b *fakeBackend) Snapshot(ctx context.Context) (uint64, error) {
	return 40, b.call(ctx, "snapshot")
}

func (b *fakeBackend) SetDebug(enabled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.debug = enabled
}

func (b *fakeBackend) Events(context.Context, int) ([]api.Event, error) {
	return []api.Event{{Index: 1, Time: time.Unix(0, 0), Type: "join", Node: "pg1", Message: "joined"}}, nil
}

func (b *fakeBackend) Settings(context.Context) ([]api.Setting, error) {
	return []api.Setting{{Name: "work_mem", Value: "8MB", ModifyIndex: 9}}, nil
}

const consolePort = 7403

// openConsole serves backend in a directory of its own, which it returns. PostgreSQL's user may connect.
func openConsole(tb testing.TB, backend pgext.Backend, change ...func(*pgext.ConsoleConfig)) string {
	tb.Helper()
	cfg := pgext.ConsoleConfig{Backend: backend, RunDir: openDir(tb), Port: consolePort, AllowUIDs: []uint32{serverUID(tb)}}
	for _, f := range change {
		f(&cfg)
	}
	console := pgext.NewConsole(cfg)
	if err := console.Open(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := console.Close(); err != nil {
			tb.Error(err)
		}
	})
	return cfg.RunDir
}

// serverUID is whom the test servers run as.
func serverUID(tb testing.TB) uint32 {
	tb.Helper()
	if os.Geteuid() != 0 {
		return uint32(os.Geteuid())
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		tb.Skipf("SKIPPED, needs the user postgres: %v", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return uint32(uid)
}
