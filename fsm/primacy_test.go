package fsm_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/fsm/primacy"
)

const secret = "the replication password"

// primacyOps has one operation of each kind, with every field set, and leads a cluster through two epochs.
func primacyOps() []primacy.Op {
	branch := primacy.Branch{Epoch: 1, ServerID: "s1", Timeline: 7, Switch: 9}
	return []primacy.Op{
		primacy.FoundOp{Epoch: 1, ServerID: "s1", Memory: "m1", How: primacy.FoundInit, Secret: secret},
		primacy.ReadyOp{Epoch: 1, ServerID: "s1", SystemID: "77", Major: 15, Timeline: 1, Switch: 1},
		primacy.NextOp{Epoch: 1, Version: 1, Next: primacy.Sync{Version: 2, Acks: 1,
			Members: []primacy.Member{{ServerID: "s1", Memory: "m1"}, {ServerID: "s2", Memory: "m2"}}}},
		primacy.ConfirmOp{Epoch: 1, Version: 2},
		primacy.AckedOp{Epoch: 1, LSN: 1 << 40},
		primacy.PauseOp{Paused: true},
		primacy.HandoverOp{Epoch: 1, Target: "s2"},
		primacy.FenceOp{Epoch: 2, Target: "s2", Reason: "asked for"},
		primacy.ReportOp{Epoch: 2, Report: primacy.Report{ServerID: "s2", Memory: "m2",
			Position: primacy.Position{Epoch: 1, LSN: 1<<40 + 1}, Timeline: 1}},
		primacy.PromoteOp{Epoch: 2, ServerID: "s2", AllowDataLoss: true},
		primacy.ReadyOp{Epoch: 2, ServerID: "s2", SystemID: "77", Major: 15, Timeline: 2, Switch: 1 << 40,
			Unready: []primacy.Branch{branch}},
		primacy.LostOp{ServerID: "s1", Memory: "m1"},
		primacy.ShrinkOp{Epoch: 2, Version: 2},
	}
}

// managed returns a machine in which all of primacyOps were applied, and two nodes.
func managed(tb testing.TB) *machine {
	tb.Helper()
	m := newMachine(tb)
	m.apply(register("a", "s1", 0), register("b", "s2", 0))
	for _, op := range primacyOps() {
		m.one(fsm.Primacy{Op: op})
	}
	return m
}

func TestPrimacyRoundTrip(t *testing.T) {
	for _, op := range primacyOps() {
		want := fsm.Primacy{Request: fsm.Request{ID: "request", Base: 42}, Op: op}
		b, err := fsm.EncodeOp(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fsm.DecodeOp(b)
		if err != nil {
			t.Fatalf("%T: %v", op, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}
		for n := range b {
			if _, err := fsm.DecodeOp(b[:n]); err == nil {
				t.Fatalf("%T cut at byte %d of %d was accepted", op, n, len(b))
			}
		}
	}
	for _, b := range [][]byte{{14}, {14, 0, 0x80}, {14, 99, 0x80}} {
		if op, err := fsm.DecodeOp(b); err == nil {
			t.Errorf("%v was read as %+v", b, op)
		}
	}
	if _, err := fsm.EncodeOp(fsm.Primacy{}); err == nil {
		t.Error("encoded a Primacy without an operation")
	}
}

func TestPrimacyWatched(t *testing.T) {
	m := newMachine(t)
	index, state := m.Store().Primacy(nil)
	equal(t, "index of nothing", index, 1)
	equal(t, "phase of nothing", state.Phase, primacy.PhaseNone)
	m = managed(t)
	ws := memdb.NewWatchSet()
	index, state = m.Store().Primacy(ws)
	equal(t, "index", index, m.index)
	equal(t, "primary", state.Primary, "s2")
	equal(t, "secret", state.Secret, secret)
	m.one(set("k", "v"))
	m.one(fsm.Primacy{Op: primacy.PauseOp{Paused: true}}) // as it is
	again, _ := m.Store().Primacy(nil)
	equal(t, "index after what changes nothing", again, index)
	m.one(fsm.Primacy{Op: primacy.PauseOp{}})
	if timedOut := ws.Watch(time.After(10 * time.Second)); timedOut {
		t.Error("the watch did not fire")
	}
	again, _ = m.Store().Primacy(nil)
	equal(t, "index after a change", again, m.index)
}

func TestPrimacyRefused(t *testing.T) {
	m := managed(t)
	before := m.bytes()
	result := m.refused(api.CodeConflict, fsm.Primacy{Op: primacy.AckedOp{Epoch: 1, LSN: 5}})
	if want := "in epoch 2 node b is the primary"; !strings.Contains(result.Message, want) {
		t.Errorf("got %q, want something with %q", result.Message, want)
	}
	long := strings.Repeat("x", fsm.MaxNameSize+1)
	for _, tc := range []struct {
		code string
		op   primacy.Op
	}{
		{api.CodeBadRequest, nil},
		{api.CodeBadRequest, primacy.FoundOp{}},
		{api.CodeBadRequest, primacy.LostOp{ServerID: "a\x00", Memory: "m"}},
		{api.CodeTooLarge, primacy.PromoteOp{ServerID: long}},
		{api.CodeTooLarge, primacy.HandoverOp{Epoch: 2, Target: long}},
		{api.CodeTooLarge, primacy.FenceOp{Epoch: 3, Reason: strings.Repeat("x", fsm.MaxPrimacyReason+1)}},
		{api.CodeTooLarge, primacy.FoundOp{ServerID: "s", Memory: "m", How: primacy.FoundInit, Secret: long}},
		{api.CodeTooLarge, primacy.ReadyOp{ServerID: "s", SystemID: long, Major: 15, Timeline: 1}},
		{api.CodeBadRequest, primacy.NextOp{Epoch: 2, Version: 3, Next: primacy.Sync{Members: manyMembers(fsm.MaxPrimacyMembers + 1)}}},
	} {
		if tc.op != nil {
			m.refused(tc.code, fsm.Primacy{Op: tc.op})
		}
		if err := fsm.Validate(fsm.Primacy{Op: tc.op}); err == nil {
			t.Errorf("%T is valid", tc.op)
		}
	}
	if _, state := m.Store().Primacy(nil); state.Epoch != 2 {
		t.Error("a refused operation changed the state")
	}
	equal(t, "bytes of the snapshot", len(m.bytes()), len(before))
}

func manyMembers(n int) (members []primacy.Member) {
	for i := range n {
		members = append(members, primacy.Member{ServerID: fmt.Sprint("s", i), Memory: "m"})
	}
	return members
}

func TestPrimacyEvents(t *testing.T) {
	_, events := managed(t).Store().Events(nil, 0, 0)
	var types []string
	for _, e := range events {
		if e.Type == "join" {
			continue
		}
		types = append(types, e.Type)
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(line, []byte(secret)) {
			t.Errorf("the secret is in %s", line)
		}
		if bytes.Contains([]byte(e.Message), []byte("server s")) {
			t.Errorf("no name for a server in %q", e.Message)
		}
	}
	equal(t, "types", strings.Join(types, " "),
		"found ready sync sync pause handover fence report promote ready lost sync")
	last := events[len(events)-1]
	equal(t, "node", last.Node, "b")
	equal(t, "server id", last.Data["server_id"], "s2")
	equal(t, "epoch", last.Data["epoch"], "2")
}

func TestPrimacyInSnapshot(t *testing.T) {
	m := managed(t)
	b := m.bytes()
	equal(t, "version", b[7], 2)
	other := newMachine(t)
	other.restore(b)
	index, want := m.Store().Primacy(nil)
	gotIndex, got := other.Store().Primacy(nil)
	equal(t, "index", gotIndex, index)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	info, err := fsm.InspectSnapshot(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "version told", info.Version, 2)
	equal(t, "primary told", info.Primacy.Primary, "s2")
	equal(t, "secret told", info.Primacy.Secret, "")
	info, err = fsm.InspectSnapshot(bytes.NewReader(lived(t).bytes()))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "version without", info.Version, 1)
	if info.Primacy != nil {
		t.Error("a primary is told of a cluster without one")
	}
}

func TestNodeWithoutPostgresIsReadableForOldVersions(t *testing.T) {
	node := fsm.Node{Name: "n", ServerID: "s"}
	for _, known := range []bool{false, true} {
		node.Postgres, node.Priority = known, 100
		if !known {
			node.Priority = 0
		}
		b, err := fsm.EncodeOp(fsm.NodeRegister{Node: node})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "Postgres written", bytes.Contains(b, []byte("\xa8Postgres")), known)
		equal(t, "Priority written", bytes.Contains(b, []byte("Priority")), known)
		if got, err := fsm.DecodeOp(b); err != nil || got.(fsm.NodeRegister).Node != node {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

// primacyOp makes an operation that may fit the state the log has led to, since epochs and versions stay low.
func (g *generator) primacyOp() primacy.Op {
	server, memory := g.name("server", 3), g.name("m", 2)
	epoch, version := uint64(g.IntN(4)), uint64(g.IntN(5))
	switch g.IntN(14) {
	case 0, 1:
		return primacy.FoundOp{Epoch: 1, ServerID: server, Memory: memory, How: primacy.FoundInit, Secret: "s"}
	case 2:
		return primacy.FenceOp{Epoch: epoch, Target: server, Reason: "test"}
	case 3, 4:
		return primacy.ReportOp{Epoch: epoch, Report: primacy.Report{ServerID: server, Memory: memory,
			Position: primacy.Position{Epoch: epoch / 2, LSN: 5}}}
	case 5:
		return primacy.PromoteOp{Epoch: epoch, ServerID: server, AllowDataLoss: g.IntN(2) == 0}
	case 6, 7:
		return primacy.ReadyOp{Epoch: epoch, ServerID: server, SystemID: "1", Major: 15, Timeline: 1, Switch: 5}
	case 8:
		return primacy.LostOp{ServerID: server, Memory: memory}
	case 9:
		return primacy.NextOp{Epoch: epoch, Version: version, Next: primacy.Sync{Acks: 1, Members: []primacy.Member{
			{ServerID: "server0", Memory: memory}, {ServerID: "server1", Memory: memory}}}}
	case 10:
		return primacy.ConfirmOp{Epoch: epoch, Version: version}
	case 11:
		return primacy.AckedOp{Epoch: epoch, LSN: 4}
	case 12:
		return primacy.HandoverOp{Epoch: epoch, Target: server}
	default:
		return primacy.PauseOp{Paused: g.IntN(2) == 0}
	}
}
