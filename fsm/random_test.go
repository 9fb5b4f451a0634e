package fsm_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// generator makes a random log out of a seed: all kinds of operations over few names, so that they meet; retries,
// entries that are damaged, clocks that step back, and configuration changes.
type generator struct {
	*rand.Rand
	entries []fsm.Entry // to retry
	now     time.Time
}

func randomLog(t *testing.T, seed uint64, n int) []*raft.Log {
	t.Helper()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), now: start}
	logs := make([]*raft.Log, 0, n)
	for i := range n {
		index := uint64(i)*2 + 1 // gaps, as Raft's own entries leave them
		logs = append(logs, g.log(t, index))
	}
	return logs
}

func (g *generator) log(t *testing.T, index uint64) *raft.Log {
	t.Helper()
	switch g.IntN(40) {
	case 0:
		return &raft.Log{Type: raft.LogConfiguration, Index: index, Term: 1 + index/100}
	case 1:
		return &raft.Log{Type: raft.LogCommand, Index: index, Term: 1 + index/100, Data: []byte("damaged")}
	}
	log := command(t, index, g.entry(index))
	log.Term = 1 + index/100
	return log
}

func (g *generator) entry(index uint64) fsm.Entry {
	g.now = g.now.Add(time.Duration(g.IntN(3000)-200) * time.Millisecond)
	if len(g.entries) > 0 && g.IntN(10) == 0 {
		e := g.entries[g.IntN(len(g.entries))]
		e.Time = g.now
		return e
	}
	e := fsm.Entry{Base: index / 2, Time: g.now}
	if g.IntN(4) > 0 {
		e.ID = fsm.EntryID{byte(index), byte(index >> 8), byte(g.Uint32()), 1}
	}
	for range 1 + g.IntN(4) {
		e.Ops = append(e.Ops, g.op())
	}
	g.entries = append(g.entries, e)
	return e
}

func (g *generator) name(prefix string, n int) string { return fmt.Sprint(prefix, g.IntN(n)) }

func (g *generator) request() fsm.Request {
	if g.IntN(3) > 0 {
		return fsm.Request{}
	}
	return fsm.Request{ID: g.name("request", 2000), Base: uint64(g.IntN(3))}
}

func (g *generator) cond() fsm.Cond {
	if g.IntN(3) > 0 {
		return fsm.Cond{}
	}
	return fsm.Cond{Kind: fsm.CondKind(g.IntN(4)), Number: uint64(g.IntN(4))}
}

func (g *generator) key() string { return g.name("dir", 5) + "/" + g.name("key", 40) }

func (g *generator) op() fsm.Op {
	switch g.IntN(20) {
	case 0, 1, 2:
		return fsm.KVSet{Request: g.request(), Key: g.key(), Value: make([]byte, g.IntN(20)), Cond: g.cond()}
	case 3:
		return fsm.KVSet{Request: g.request(), Key: g.key(), Acquire: g.name("session", 8)}
	case 4:
		return fsm.KVSet{Request: g.request(), Key: g.key(), Release: g.name("session", 8)}
	case 5:
		return fsm.KVDelete{Request: g.request(), Key: g.key(), Cond: g.cond()}
	case 6:
		return fsm.KVDelete{Request: g.request(), Key: g.key()[:6], Prefix: true}
	case 7:
		return fsm.Txn{Request: g.request(), Txn: g.txn()}
	case 8:
		return fsm.SessionCreate{Request: g.request(), ID: g.name("session", 8), LockDelay: time.Duration(g.IntN(9)) * time.Second,
			Behavior: []string{"", fsm.BehaviorRelease, fsm.BehaviorDelete, "nonsense"}[g.IntN(4)]}
	case 9:
		return fsm.SessionDestroy{Request: g.request(), ID: g.name("session", 8)}
	case 10:
		return g.nodeOp()
	case 11:
		return fsm.SettingSet{Request: g.request(), Name: g.name("setting", 6), Value: g.name("v", 100)}
	case 12:
		return fsm.SettingDelete{Request: g.request(), Name: g.name("setting", 6)}
	case 13:
		return fsm.EventAppend{Type: "test", Node: "n", Message: "m", Data: map[string]string{"b": "1", "a": g.name("", 9), "c": ""}}
	case 14:
		return fsm.ClusterInit{ClusterID: g.name("cluster", 9), ClusterName: "c"}
	case 15:
		return fsm.Noop{Request: g.request(), Data: []byte("noop")}
	default:
		return fsm.Primacy{Request: g.request(), Op: g.primacyOp()}
	}
}

func (g *generator) nodeOp() fsm.Op {
	name, server := g.name("node", 6), g.name("server", 30)
	switch g.IntN(4) {
	case 0:
		return fsm.NodeRemove{Request: g.request(), ServerID: server, Reason: "left"}
	case 1:
		return fsm.NodeBind{Request: g.request(), Name: name, NodeID: g.IntN(9)}
	default:
		return fsm.NodeRegister{Node: fsm.Node{Name: name, ServerID: server, NodeID: g.IntN(2) * g.IntN(9), Zone: g.name("z", 2)}}
	}
}

func (g *generator) txn() api.TxnRequest {
	ops := func() (ops []api.TxnOp) {
		for range g.IntN(4) {
			op := []string{"set", "get", "get_prefix", "delete", "delete_prefix"}[g.IntN(5)]
			ops = append(ops, api.TxnOp{Op: op, Key: g.key()})
		}
		return ops
	}
	return api.TxnRequest{
		Compares: []api.TxnCompare{{Key: g.key(), Target: "exists", Exists: g.IntN(2) == 0}},
		Success:  ops(), Failure: ops(),
	}
}

// TestDeterminism applies one log in three ways and compares every answer and the state, byte for byte.
func TestDeterminism(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			logs := randomLog(t, seed, 3000)
			single := fsm.New(hclog.NewNullLogger())
			want := applyBatches(t, single, logs, func() int { return 1 }, 0)

			wantBytes := storeBytes(t, single.Store())
			sizes := rand.New(rand.NewPCG(seed, 2))
			for _, way := range []struct {
				name    string
				size    func() int
				restore int
			}{
				{"random batches", func() int { return 1 + sizes.IntN(64) }, 0},
				{"batches and a restore", func() int { return 100 }, 1500},
				{"restore late", func() int { return 7 }, 2800},
			} {
				f := fsm.New(hclog.NewNullLogger())
				got := applyBatches(t, f, logs, way.size, way.restore)
				for i := range want {
					if !reflect.DeepEqual(got[i], want[i]) {
						t.Fatalf("%s: index %d: got %+v, want %+v", way.name, logs[i].Index, got[i], want[i])
					}
				}
				if !bytes.Equal(storeBytes(t, f.Store()), wantBytes) {
					t.Fatalf("%s: the states differ", way.name)
				}
			}
		})
	}
}

// applyBatches applies a log in batches and, after restoreAt entries, replaces the store by its own snapshot.
func applyBatches(t *testing.T, f *fsm.FSM, logs []*raft.Log, size func() int, restoreAt int) []any {
	t.Helper()
	var responses []any
	for len(responses) < len(logs) {
		rest := logs[len(responses):]
		n := min(size(), len(rest))
		if restoreAt > len(responses) {
			n = min(n, restoreAt-len(responses))
		}
		responses = append(responses, f.ApplyBatch(rest[:n])...)
		if len(responses) == restoreAt {
			(&machine{FSM: f, t: t}).restore(storeBytes(t, f.Store()))
		}
	}
	return responses
}

// TestFeedFollowsRandomLog keeps a copy of the mirrored tables by the feed alone and compares it with the store.
func TestFeedFollowsRandomLog(t *testing.T) {
	f := fsm.New(hclog.NewNullLogger())
	applyBatches(t, f, randomLog(t, 7, 4000), func() int { return 50 }, 0)
	copied := map[fsm.Table]map[string]any{}
	index := uint64(0)
	for {
		changes, ok := f.Feed().Since(index, 100)
		if !ok {
			t.Fatalf("the feed does not reach back to %d", index)
		}
		if len(changes) == 0 {
			break
		}
		for _, c := range changes {
			if c.Index <= index {
				t.Fatalf("change at %d follows %d", c.Index, index)
			}
			index = c.Index
			copyRows(copied, c.Rows)
		}
	}
	equal(t, "index", index, f.Store().Index())
	if want := tables(f.Store()); !reflect.DeepEqual(copied, want) {
		t.Errorf("the copy differs: got %v, want %v", copied, want)
	}
}

func copyRows(copied map[fsm.Table]map[string]any, rows []fsm.Row) {
	for _, r := range rows {
		if copied[r.Table] == nil {
			copied[r.Table] = map[string]any{}
		}
		switch {
		case r.Deleted():
			delete(copied[r.Table], r.Key)
		case r.KV != nil:
			copied[r.Table][r.Key] = *r.KV
		case r.Node != nil:
			copied[r.Table][r.Key] = *r.Node
		case r.Setting != nil:
			copied[r.Table][r.Key] = *r.Setting
		case r.Event != nil:
			copied[r.Table][r.Key] = *r.Event
		}
	}
}

func tables(s *fsm.Store) map[fsm.Table]map[string]any {
	kv, node, setting, event := map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	_, pairs := s.KVList(nil, "")
	for _, p := range pairs {
		kv[p.Key] = p
	}
	_, nodes := s.Nodes(nil)
	for _, n := range nodes {
		node[n.Name] = n
	}
	_, settings := s.Settings(nil)
	for _, row := range settings {
		setting[row.Name] = row
	}
	_, events := s.Events(nil, 0, 0)
	for _, e := range events {
		event[fsm.EventKey(e.Index)] = e
	}
	return map[fsm.Table]map[string]any{
		fsm.TableKV: kv, fsm.TableNode: node, fsm.TableSetting: setting, fsm.TableEvent: event,
	}
}
