package fsm

import (
	"fmt"
	"strconv"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// binding ties a node id to a name. It outlives the node's registration and is never undone.
type binding struct {
	Name   string
	NodeID int
}

// removed marks a server id that may not register again.
type removed struct {
	ServerID string
	Index    uint64
}

// Nodes returns the registered nodes by node id.
func (s *Store) Nodes(ws memdb.WatchSet) (uint64, []Node) {
	txn := s.read()
	var nodes []Node
	each(txn, ws, tableNode, indexNodeID, func(n *Node) bool {
		nodes = append(nodes, *n)
		return true
	})
	return changed(txn, nil, tableNode), nodes
}

// NodeByName returns the node that is registered under a name.
func (s *Store) NodeByName(name string) (Node, bool) {
	return found(first[*Node](s.read(), nil, tableNode, indexID, name))
}

// NodeByID returns the registered node with a node id.
func (s *Store) NodeByID(id int) (Node, bool) {
	return found(first[*Node](s.read(), nil, tableNode, indexNodeID, uint64(id)))
}

// NodeByServerID returns the registered node with a Raft server id.
func (s *Store) NodeByServerID(id string) (Node, bool) {
	return found(first[*Node](s.read(), nil, tableNode, indexServer, id))
}

// NodeBinding returns the node id that is bound to a name, 0 if none is.
func (s *Store) NodeBinding(name string) int {
	if b := first[*binding](s.read(), nil, tableBinding, indexID, name); b != nil {
		return b.NodeID
	}
	return 0
}

// Removed reports whether a server was removed for ever.
func (s *Store) Removed(serverID string) bool {
	return first[*removed](s.read(), nil, tableRemoved, indexID, serverID) != nil
}

func found(n *Node) (Node, bool) {
	if n == nil {
		return Node{}, false
	}
	return *n, true
}

func (w *write) nodeRegister(op NodeRegister) Result {
	node := op.Node
	if w.isRemoved(node.ServerID) {
		return w.refuse(api.CodeConflict, fmt.Sprintf(
			"server %s was removed from the cluster: wipe the data directory of node %q to join as a new server",
			node.ServerID, node.Name))
	}
	id, refused := w.bind(node.Name, node.NodeID)
	if refused != nil {
		return *refused
	}
	node.NodeID = id
	w.storeNode(node)
	result := w.done()
	result.NodeID = id
	return result
}

func (w *write) isRemoved(serverID string) bool {
	return first[*removed](w.txn, nil, tableRemoved, indexID, serverID) != nil
}

// storeNode writes the registration over the one that the name has, and over the one that the server had under another
// name.
func (w *write) storeNode(node Node) {
	old := first[*Node](w.txn, nil, tableNode, indexID, node.Name)
	if old != nil && old.ServerID != node.ServerID {
		w.retire(old.ServerID)
		w.leaveEvent(old, "replaced by server "+node.ServerID)
	}
	before := first[*Node](w.txn, nil, tableNode, indexServer, node.ServerID)
	if before != nil && before.Name != node.Name {
		w.dropNode(before)
	}
	node.CreateIndex, node.ModifyIndex = w.index, w.index
	if old != nil && old.ServerID == node.ServerID {
		node.CreateIndex = old.CreateIndex
		if sameNode(*old, node) {
			return
		}
	}
	w.put(tableNode, &node)
	w.touch(tableNode)
	w.emit(Row{Table: TableNode, Key: node.Name, Node: &node})
	if before == nil || before.Name != node.Name {
		w.joinEvent(&node, before)
	}
}

func sameNode(a, b Node) bool {
	a.ModifyIndex, b.ModifyIndex = 0, 0
	return a == b
}

func (w *write) dropNode(node *Node) {
	w.drop(tableNode, node)
	w.touch(tableNode)
	w.emit(Row{Table: TableNode, Key: node.Name})
}

// retire bars a server id for ever and reports whether it was not barred yet.
func (w *write) retire(serverID string) bool {
	if w.isRemoved(serverID) {
		return false
	}
	w.put(tableRemoved, &removed{ServerID: serverID, Index: w.index})
	return true
}

func (w *write) nodeRemove(op NodeRemove) Result {
	result := w.done()
	node := first[*Node](w.txn, nil, tableNode, indexServer, op.ServerID)
	if !w.retire(op.ServerID) {
		return result
	}
	if node == nil {
		node = &Node{ServerID: op.ServerID}
	} else {
		w.dropNode(node)
	}
	w.leaveEvent(node, op.Reason)
	result.NodeID = node.NodeID
	return result
}

func (w *write) nodeBind(op NodeBind) Result {
	id, refused := w.bind(op.Name, op.NodeID)
	if refused != nil {
		return *refused
	}
	result := w.done()
	result.NodeID = id
	return result
}

// bind returns the node id of a name. A name without one gets the wanted id or, with 0, the lowest that was never
// given.
func (w *write) bind(name string, want int) (int, *Result) {
	if b := first[*binding](w.txn, nil, tableBinding, indexID, name); b != nil {
		if want != 0 && want != b.NodeID {
			refused := w.refuse(api.CodeConflict,
				fmt.Sprintf("node %q has node id %d for ever: it can't get %d", name, b.NodeID, want))
			return 0, &refused
		}
		return b.NodeID, nil
	}
	if want == 0 {
		want = w.freeNodeID()
	}
	if b := first[*binding](w.txn, nil, tableBinding, indexNodeID, uint64(want)); b != nil {
		refused := w.refuse(api.CodeConflict,
			fmt.Sprintf("node id %d belongs to node %q for ever: choose another", want, b.Name))
		return 0, &refused
	}
	w.put(tableBinding, &binding{Name: name, NodeID: want})
	return want, nil
}

func (w *write) freeNodeID() int {
	free := 1
	each(w.txn, nil, tableBinding, indexNodeID, func(b *binding) bool {
		if b.NodeID > free {
			return false
		}
		free = b.NodeID + 1
		return true
	})
	return free
}

// The two events that the registry writes by itself, so that no crash between two proposals can lose one.

func (w *write) joinEvent(node, before *Node) {
	message := fmt.Sprintf("node %s joined as node %d", node.Name, node.NodeID)
	if before != nil {
		message = fmt.Sprintf("node %s changed its name to %s and is node %d", before.Name, node.Name, node.NodeID)
	}
	w.event("join", node.Name, message, nodeData(node))
}

func (w *write) leaveEvent(node *Node, reason string) {
	name := node.Name
	if name == "" {
		name = "with server id " + node.ServerID
	}
	if reason == "" {
		reason = "no reason given"
	}
	data := nodeData(node)
	data["reason"] = reason
	w.event("removed", node.Name, fmt.Sprintf("node %s was removed: %s", name, reason), data)
}

func nodeData(node *Node) map[string]string {
	return map[string]string{"node_id": strconv.Itoa(node.NodeID), "server_id": node.ServerID}
}
