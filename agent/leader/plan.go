package leader

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// Member is one node as gossip sees it, with the registry row that it asks for.
type Member struct {
	Node   fsm.Node // NodeID is not known to gossip and stays 0
	Status string   // api.NodeAlive, NodeFailed, NodeLeft
	// ClusterID is what the node says it belongs to, "" if it does not know; HasState that it belonged to some cluster
	// before it was started.
	ClusterID string
	HasState  bool
	// StatusChanged is since when Status is so.
	StatusChanged time.Time
}

// Inputs is all that Plan looks at.
type Inputs struct {
	Self       string // this leader's server id
	ClusterID  string
	Members    []Member
	Registry   []fsm.Node
	RaftConfig []raft.Server
	Removed    func(serverID string) bool
}

// ActionKind names what a reconciliation can do.
type ActionKind string

// The actions, in the order in which Plan gives them.
const (
	ActionRegister     ActionKind = "register"      // write the registry row
	ActionAddServer    ActionKind = "add server"    // to the Raft configuration, as a non-voter
	ActionSetAddress   ActionKind = "set address"   // of a server in the Raft configuration
	ActionRemoveServer ActionKind = "remove server" // from the Raft configuration
	ActionRetire       ActionKind = "retire"        // from the registry, for ever
)

// Action is one change that brings registry or Raft configuration closer to what gossip says.
type Action struct {
	Kind     ActionKind
	ServerID string
	Name     string
	Address  string   // Raft address, for the server actions
	Node     fsm.Node // for ActionRegister
	Reason   string   // for ActionRetire
}

// Plan decides what to change. It is pure: the same inputs give the same actions in the same order. It never removes
// the leader itself and removes at most one server in a round, since each removal shrinks the quorum and the next one
// has to be judged anew.
func Plan(in Inputs) []Action {
	members := slices.Clone(in.Members)
	// By name, so that nodes which come together get their ids in an order that people expect.
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Node.Name, b.Node.Name), strings.Compare(a.Node.ServerID, b.Node.ServerID))
	})
	var actions []Action
	for _, m := range members {
		if m.Status == api.NodeAlive && !in.Removed(m.Node.ServerID) && ours(in, m) {
			actions = append(actions, admit(in, m)...)
		}
	}
	return append(actions, expel(in, members)...)
}

// ours keeps out servers of other clusters: those that say so, and those that have a log but do not know yet whose it
// is. One of the latter that is ours is in the Raft configuration already, and learns it from there.
func ours(in Inputs, m Member) bool {
	if m.ClusterID != "" {
		return m.ClusterID == in.ClusterID
	}
	_, server := serverOf(in.RaftConfig, m.Node.ServerID)
	return server || !m.HasState
}

// admit registers a live member and makes it a Raft server under its present address.
func admit(in Inputs, m Member) []Action {
	var actions []Action
	if row, ok := rowOf(in.Registry, m.Node.ServerID); !ok || !sameRow(row, m.Node) {
		actions = append(actions, Action{Kind: ActionRegister, ServerID: m.Node.ServerID, Name: m.Node.Name, Node: m.Node})
	}
	server, ok := serverOf(in.RaftConfig, m.Node.ServerID)
	action := Action{ServerID: m.Node.ServerID, Name: m.Node.Name, Address: m.Node.RaftAddress}
	switch {
	case !ok:
		action.Kind = ActionAddServer
		actions = append(actions, action)
	case string(server.Address) != m.Node.RaftAddress:
		action.Kind = ActionSetAddress
		actions = append(actions, action)
	}
	return actions
}

// expel finds the first server that has no place in the Raft configuration any more: one that left on purpose, or one
// that the registry counts as removed (retired, or its name taken over by a new server).
func expel(in Inputs, members []Member) []Action {
	for _, s := range in.RaftConfig {
		id := string(s.ID)
		if id == in.Self {
			continue
		}
		if in.Removed(id) {
			return []Action{{Kind: ActionRemoveServer, ServerID: id, Address: string(s.Address)}}
		}
		for _, m := range members {
			if m.Node.ServerID == id && m.Status == api.NodeLeft {
				remove := Action{Kind: ActionRemoveServer, ServerID: id, Name: m.Node.Name, Address: string(s.Address)}
				retire := Action{Kind: ActionRetire, ServerID: id, Name: m.Node.Name, Reason: "left"}
				return []Action{remove, retire}
			}
		}
	}
	return nil
}

func rowOf(rows []fsm.Node, serverID string) (fsm.Node, bool) {
	for _, r := range rows {
		if r.ServerID == serverID {
			return r, true
		}
	}
	return fsm.Node{}, false
}

func serverOf(servers []raft.Server, serverID string) (raft.Server, bool) {
	for _, s := range servers {
		if string(s.ID) == serverID {
			return s, true
		}
	}
	return raft.Server{}, false
}

// sameRow compares what a member says of itself; id and indexes are the store's.
func sameRow(row, member fsm.Node) bool {
	row.NodeID, row.CreateIndex, row.ModifyIndex = 0, 0, 0
	member.NodeID, member.CreateIndex, member.ModifyIndex = 0, 0, 0
	return row == member
}
