package fsm_test

import (
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func register(name, server string, id int) fsm.NodeRegister {
	return fsm.NodeRegister{Node: fsm.Node{Name: name, ServerID: server, NodeID: id, RaftAddress: "10.0.0.1:7401"}}
}

func TestNodeIDs(t *testing.T) {
	m := newMachine(t)
	equal(t, "first", m.one(register("a", "sa", 0)).NodeID, 1)
	m.one(fsm.NodeBind{Name: "c", NodeID: 3})
	m.one(fsm.NodeBind{Name: "c", NodeID: 3})
	equal(t, "lowest free", m.one(register("b", "sb", 0)).NodeID, 2)
	equal(t, "past the bound one", m.one(register("d", "sd", 0)).NodeID, 4)
	equal(t, "the bound one", m.one(register("c", "sc", 0)).NodeID, 3)
	equal(t, "chosen", m.one(register("e", "se", 77)).NodeID, 77)

	m.refused(api.CodeConflict, register("f", "sf", 77))
	m.refused(api.CodeConflict, register("a", "sa", 9))
	m.refused(api.CodeConflict, fsm.NodeBind{Name: "a", NodeID: 9})
	m.refused(api.CodeConflict, fsm.NodeBind{Name: "z", NodeID: 1})

	m.one(fsm.NodeRemove{ServerID: "sa", Reason: "left"})
	if _, ok := m.Store().NodeByName("a"); ok {
		t.Error("a removed node is registered")
	}
	equal(t, "binding after removal", m.Store().NodeBinding("a"), 1)
	equal(t, "not given to another", m.one(register("g", "sg", 0)).NodeID, 5)
	equal(t, "given back to its name", m.one(register("a", "sa2", 0)).NodeID, 1)
}

func TestNodeTakeover(t *testing.T) {
	m := newMachine(t)
	m.one(register("a", "s1", 0))
	m.one(register("a", "s2", 0))
	node, _ := m.Store().NodeByID(1)
	equal(t, "server", node.ServerID, "s2")
	equal(t, "old server removed", m.Store().Removed("s1"), true)
	m.refused(api.CodeConflict, register("a", "s1", 0))
	m.refused(api.CodeConflict, register("b", "s1", 0))
	if _, ok := m.Store().NodeByServerID("s1"); ok {
		t.Error("the old server is registered")
	}
}

func TestNodeRename(t *testing.T) {
	m := newMachine(t)
	m.one(register("a", "s1", 0))
	equal(t, "new id", m.one(register("b", "s1", 0)).NodeID, 2)
	_, nodes := m.Store().Nodes(nil)
	equal(t, "nodes", len(nodes), 1)
	equal(t, "name", nodes[0].Name, "b")
}

func TestNodeUpdate(t *testing.T) {
	m := newMachine(t)
	m.one(register("a", "s1", 0))
	m.one(register("a", "s1", 0))
	index, _ := m.Store().Nodes(nil)
	equal(t, "index after the same registration", index, 1)
	changed := register("a", "s1", 0)
	changed.Node.Version = "2"
	m.one(changed)
	index, nodes := m.Store().Nodes(nil)
	equal(t, "index", index, 3)
	equal(t, "create index", nodes[0].CreateIndex, 1)
	equal(t, "version", nodes[0].Version, "2")
}

func TestNodeEvents(t *testing.T) {
	m := newMachine(t)
	m.one(register("a", "s1", 0))
	m.one(register("a", "s1", 0)) // no news
	m.one(register("a", "s2", 0)) // replaces
	m.one(fsm.NodeRemove{ServerID: "s2", Reason: "dead"})
	m.one(fsm.NodeRemove{ServerID: "s2", Reason: "dead"}) // no news
	m.one(fsm.NodeRemove{ServerID: "never seen"})
	_, events := m.Store().Events(nil, 0, 0)
	want := []struct{ kind, node string }{{"join", "a"}, {"removed", "a"}, {"join", "a"}, {"removed", "a"}, {"removed", ""}}
	if len(events) != len(want) {
		t.Fatalf("got %d events %+v, want %d", len(events), events, len(want))
	}
	for i, e := range events {
		equal(t, "type", e.Type, want[i].kind)
		equal(t, "node", e.Node, want[i].node)
		equal(t, "index", e.Index, uint64(i+1))
	}
	equal(t, "reason", events[3].Data["reason"], "dead")
	equal(t, "unknown server is barred", m.Store().Removed("never seen"), true)
}
