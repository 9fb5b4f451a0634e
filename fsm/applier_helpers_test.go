package fsm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/pgext"
)

// history is a state machine and the log that is applied to it.
type history struct {
	*fsm.FSM
	tb          testing.TB
	index, term uint64
}

// newHistory returns the state machine of a cluster with the given id.
func newHistory(tb testing.TB, cluster string) *history {
	tb.Helper()
	h := &history{FSM: fsm.New(hclog.NewNullLogger()), tb: tb, term: 1}
	h.apply(fsm.ClusterInit{ClusterID: cluster, ClusterName: "test"})
	return h
}

// apply applies ops as one log entry, all of which must succeed.
func (h *history) apply(ops ...fsm.Op) {
	h.tb.Helper()
	h.index++
	data, err := fsm.EncodeEntry(fsm.Entry{ID: fsm.EntryID(uuid.New()), Time: time.Unix(1700000000, 0), Ops: ops})
	if err != nil {
		h.tb.Fatal(err)
	}
	response := h.Apply(&raft.Log{Type: raft.LogCommand, Index: h.index, Term: h.term, Data: data})
	for _, r := range response.([]fsm.Result) {
		if err := r.Err(); err != nil {
			h.tb.Fatalf("apply entry %d: %v", h.index, err)
		}
	}
}

// fork returns another state machine that continues from a snapshot of this one.
func (h *history) fork() *history {
	h.tb.Helper()
	var snapshot bytes.Buffer
	if _, err := h.Store().Snapshot().WriteTo(&snapshot); err != nil {
		h.tb.Fatal(err)
	}
	fork := &history{FSM: fsm.New(hclog.NewNullLogger()), tb: h.tb, index: h.index, term: h.term}
	if err := fork.Restore(io.NopCloser(&snapshot)); err != nil {
		h.tb.Fatal(err)
	}
	return fork
}

func put(key, value string) fsm.KVSet { return fsm.KVSet{Key: key, Value: []byte(value)} }

// fillAll makes rows of every table, and such that are gone again.
func (h *history) fillAll() {
	h.tb.Helper()
	h.apply(put("a", "1"), put("b/1", "x"), put("b/2", "y"), put("c", ""), put("ü", "grüße"), put("a", "2"))
	h.apply(fsm.KVSet{Key: "binary", Value: []byte{0, 0xff, 'x'}, Flags: 1 << 63})
	h.apply(put("turns binary", "text"), fsm.KVSet{Key: "turns text", Value: []byte{0}})
	h.apply(put("turns text", "text"), fsm.KVSet{Key: "turns binary", Value: []byte{0xff}})
	h.apply(fsm.KVDelete{Key: "b/", Prefix: true}, fsm.KVDelete{Key: "c"}, put("c/2", "again"))
	session := uuid.NewString()
	h.apply(fsm.SessionCreate{ID: session, Node: "n1"})
	h.apply(fsm.KVSet{Key: "lock", Value: []byte("held"), Acquire: session})
	h.apply(fsm.Txn{Txn: api.TxnRequest{
		Compares: []api.TxnCompare{{Key: "a", Target: "version", Op: "==", Number: 2}},
		Success:  []api.TxnOp{{Op: "set", Key: "txn/1", Value: []byte("1")}, {Op: "set", Key: "txn/2"}, {Op: "delete", Key: "a"}},
	}})
	for i := range 3 {
		h.apply(fsm.NodeRegister{Node: fsm.Node{
			Name: fmt.Sprintf("n%d", i), ServerID: uuid.NewString(), RaftAddress: "10.0.0.1:7401", Zone: "z", Witness: i == 2,
		}})
	}
	removed, _ := h.node("n1")
	h.apply(fsm.NodeRemove{ServerID: removed.ServerID, Reason: "left"})
	h.apply(fsm.SettingSet{Name: "work_mem", Value: "4MB"}, fsm.SettingSet{Name: "gone", Value: "1"})
	h.apply(fsm.SettingDelete{Name: "gone"}, fsm.SettingSet{Name: "work_mem", Value: "8MB"})
	h.apply(fsm.EventAppend{Type: "test", Message: "with data", Data: map[string]string{"k": `"v" \ ü`}})
	h.apply(fsm.EventAppend{Type: "test", Node: "n0", Message: "without"})
}

func (h *history) node(name string) (fsm.Node, bool) {
	_, nodes := h.Store().Nodes(nil)
	for _, n := range nodes {
		if n.Name == name {
			return n, true
		}
	}
	return fsm.Node{}, false
}

// target is a database to apply to.
type target struct {
	tb  testing.TB
	dsn string
}

func (d target) connect(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, d.dsn) }

// prepare installs the schema without touching the machine's extension directory.
func (d target) prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := pgext.Install(ctx, conn, pgext.InstallOptions{RunDir: "/nonexistent", ConsolePort: 7403, NodeName: "n0", NoFiles: true})
	return err
}

// open returns a running applier of h to the target that the test's cleanup closes.
func (d target) open(h *history, change ...func(*fsm.ApplierConfig)) *fsm.Applier {
	d.tb.Helper()
	cfg := fsm.ApplierConfig{FSM: h.FSM, Connect: d.connect, Prepare: d.prepare, NodeName: "n0"}
	for _, c := range change {
		c(&cfg)
	}
	a := fsm.NewApplier(cfg)
	a.Open()
	d.tb.Cleanup(a.Close)
	return a
}

// session returns a connection that the test's cleanup closes.
func (d target) session() *pgx.Conn {
	d.tb.Helper()
	conn, err := d.connect(testContext(d.tb))
	if err != nil {
		d.tb.Fatal(err)
	}
	d.tb.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may be gone
	return conn
}

func (d target) exec(sql string, args ...any) {
	d.tb.Helper()
	conn := d.session()
	if _, err := conn.Exec(testContext(d.tb), sql, args...); err != nil {
		d.tb.Fatalf("%s: %v", sql, err)
	}
}

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// waitApplier waits until the applier's status is as wanted.
func waitApplier(tb testing.TB, a *fsm.Applier, what string, ok func(fsm.ApplierStatus) bool) fsm.ApplierStatus {
	tb.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		status := a.Status()
		if ok(status) {
			return status
		}
		if time.Now().After(deadline) {
			tb.Fatalf("waited for %s in vain, last status: %+v", what, status)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// waitApplied waits until the rows are the store's state by the applier's word.
func waitApplied(tb testing.TB, a *fsm.Applier, h *history) {
	tb.Helper()
	waitApplier(tb, a, "the rows to follow", func(s fsm.ApplierStatus) bool {
		index, term := h.Store().Applied()
		return s.Known && s.AppliedIndex == index && s.AppliedTerm == term && s.LastError == ""
	})
}

// assertRows compares all tables with the store.
func assertRows(tb testing.TB, conn *pgx.Conn, h *history) {
	tb.Helper()
	compare(tb, "kv", wantKV(h), readRows(tb, conn, `SELECT format('%s=%s|%s|%s|%s|%s|%s|%s', key, coalesce(value, 'NULL'),
		coalesce(encode(value_bytes, 'hex'), 'NULL'), flags, version, create_index, modify_index, coalesce(session, 'NULL'))
		FROM pgraft.kv ORDER BY key COLLATE "C"`))
	compare(tb, "node", wantNodes(h), readRows(tb, conn, `SELECT concat_ws('|', node_id, name, server_id, raft_address, zone,
		non_voting, witness, create_index, modify_index) FROM pgraft.node ORDER BY name COLLATE "C"`))
	compare(tb, "setting", wantSettings(h), readRows(tb, conn, `SELECT concat_ws('|', name, value, create_index, modify_index)
		FROM pgraft.setting ORDER BY name COLLATE "C"`))
	compare(tb, "event", wantEvents(h), readRows(tb, conn, `SELECT concat_ws('|', index, extract(epoch FROM "time")::bigint, type,
		coalesce(node, 'NULL'), message, coalesce(data ->> 'k', 'NULL')) FROM pgraft.event ORDER BY index`))
	index, term := h.Store().Applied()
	compare(tb, "meta", []string{fmt.Sprintf("%s|%d|%d", h.Store().ClusterID(), index, term)},
		readRows(tb, conn, "SELECT concat_ws('|', cluster_id, applied_index, applied_term) FROM pgraft.meta"))
}

func compare(tb testing.TB, table string, want, got []string) {
	tb.Helper()
	for i := range max(len(want), len(got)) {
		w, g := "no row", "no row"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			tb.Fatalf("table %s: %d rows, want %d; first difference: got %.200q, want %.200q", table, len(got), len(want), g, w)
		}
	}
}

func readRows(tb testing.TB, conn *pgx.Conn, sql string) []string {
	tb.Helper()
	rows, err := conn.Query(testContext(tb), sql)
	if err != nil {
		tb.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return got
}

func orNull(s string) string {
	if s == "" {
		return "NULL"
	}
	return s
}

func wantKV(h *history) []string {
	_, pairs := h.Store().KVList(nil, "")
	var want []string
	for _, p := range pairs {
		text, raw := string(p.Value), "NULL"
		for _, r := range text {
			if r == 0 || r == '\uFFFD' { // the tests' binary values have one or the other
				text, raw = "NULL", fmt.Sprintf("%x", p.Value)
				break
			}
		}
		want = append(want, fmt.Sprintf("%s=%s|%s|%d|%d|%d|%d|%s", p.Key, text, raw, int64(p.Flags), p.Version,
			p.CreateIndex, p.ModifyIndex, orNull(p.Session)))
	}
	return want
}

func wantNodes(h *history) []string {
	letter := map[bool]string{true: "t", false: "f"}
	_, nodes := h.Store().Nodes(nil)
	var want []string
	for _, n := range nodes {
		want = append(want, fmt.Sprintf("%d|%s|%s|%s|%s|%s|%s|%d|%d", n.NodeID, n.Name, n.ServerID, n.RaftAddress, n.Zone,
			letter[n.NonVoting], letter[n.Witness], n.CreateIndex, n.ModifyIndex))
	}
	return want
}

func wantSettings(h *history) []string {
	_, settings := h.Store().Settings(nil)
	var want []string
	for _, s := range settings {
		want = append(want, fmt.Sprintf("%s|%s|%d|%d", s.Name, s.Value, s.CreateIndex, s.ModifyIndex))
	}
	return want
}

func wantEvents(h *history) []string {
	_, events := h.Store().Events(nil, 0, 0)
	var want []string
	for _, e := range events {
		want = append(want, fmt.Sprintf("%d|%d|%s|%s|%s|%s", e.Index, e.Time.Unix(), e.Type, orNull(e.Node), e.Message, orNull(e.Data["k"])))
	}
	return want
}
