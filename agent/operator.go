package agent

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// operator does what an operator asks of the leader. Its methods fail with not_leader elsewhere.
type operator struct{ a *Agent }

// ForceLeave retires a node, named by name, node_id or server id.
func (o operator) ForceLeave(ctx context.Context, node string) error {
	return o.retire(ctx, node, "removed by operator")
}

// RemovePeer takes a server out, named by server id, node_id, name or Raft address.
func (o operator) RemovePeer(ctx context.Context, id string) error {
	return o.retire(ctx, id, "removed by operator")
}

// retire takes a server out of the Raft configuration first and out of the registry then: in this order a failure in
// between leaves a registered server without a vote, which the next attempt finds again.
func (o operator) retire(ctx context.Context, node, reason string) error {
	if !o.a.raft.IsLeader() {
		return o.notLeader("remove node")
	}
	server, err := o.find(node)
	if err != nil {
		return err
	}
	if server == o.a.raft.ServerID() {
		return &api.Error{
			Code: api.CodeConflict, Message: "the leader does not remove itself",
			Hint: "run pgraft leave on that node, or move leadership away first",
		}
	}
	name := o.nameOf(server)
	if err := o.a.raft.RemoveServer(ctx, server); err != nil {
		return o.a.apiError(err)
	}
	if _, err := proposer(o).Propose(ctx, fsm.NodeRemove{ServerID: string(server), Reason: reason}); err != nil {
		return err
	}
	if name != "" {
		_ = o.a.gossip.ForceLeave(name) // fails for a live node, which will hear it from the prober
	}
	return nil
}

// TransferLeader hands over to the named server, or with "" to the best one.
func (o operator) TransferLeader(ctx context.Context, id string) error {
	if !o.a.raft.IsLeader() {
		return o.notLeader("transfer leadership")
	}
	var server raft.ServerID
	if id != "" {
		found, err := o.find(id)
		if err != nil {
			return err
		}
		server = found
	}
	return o.a.apiError(o.a.raft.TransferLeadership(ctx, server))
}

// RaftConfiguration lists the servers.
func (o operator) RaftConfiguration(context.Context) (api.RaftConfiguration, error) {
	index, servers := o.a.raft.Configuration()
	leader, _ := o.a.raft.Leader()
	out := api.RaftConfiguration{Index: index, Servers: make([]api.RaftServer, 0, len(servers))}
	for _, s := range servers {
		row := api.RaftServer{
			ServerID: string(s.ID), Address: string(s.Address), Leader: s.ID == leader, Voter: s.Suffrage == raft.Voter,
		}
		if n := o.registered(s.ID); n != nil {
			row.NodeID, row.Name = n.NodeID, n.Name
		}
		out.Servers = append(out.Servers, row)
	}
	return out, nil
}

// find looks a server up by whatever an operator may call it.
func (o operator) find(word string) (raft.ServerID, error) {
	_, nodes := o.a.fsm.Store().Nodes(nil)
	for _, n := range nodes {
		if word == n.Name || word == n.ServerID || word == strconv.Itoa(n.NodeID) || word == n.RaftAddress {
			return raft.ServerID(n.ServerID), nil
		}
	}
	_, servers := o.a.raft.Configuration()
	for _, s := range servers {
		if word == string(s.ID) || word == string(s.Address) {
			return s.ID, nil
		}
	}
	return "", &api.Error{
		Code: api.CodeNotFound, Message: fmt.Sprintf("no node %q in this cluster", word),
		Hint: "name it by name, node_id, server id or Raft address: see pgraft members",
	}
}

func (o operator) registered(id raft.ServerID) *fsm.Node {
	_, nodes := o.a.fsm.Store().Nodes(nil)
	for i := range nodes {
		if nodes[i].ServerID == string(id) {
			return &nodes[i]
		}
	}
	return nil
}

func (o operator) nameOf(id raft.ServerID) string {
	if n := o.registered(id); n != nil {
		return n.Name
	}
	return ""
}

// notLeader is the refusal of what only the leader does; its hint says who that is.
func (o operator) notLeader(what string) error {
	e := &api.Error{Code: api.CodeNotLeader, Message: "cannot " + what + ": this node is not the leader"}
	leader, known := o.a.Leader()
	if !known {
		e.Hint = "the cluster has no leader at the moment; try again"
		return e
	}
	e.Leader = leader
	e.Hint = fmt.Sprintf("the leader is node %d (%s) at %s", leader.NodeID, leader.Name, cmp.Or(leader.HTTPAddress, leader.RaftAddress))
	return e
}
