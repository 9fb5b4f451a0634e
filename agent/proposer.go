package agent

import (
	"context"
	"errors"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
)

// proposer gives consensus' outcomes the words of the API.
type proposer struct{ a *Agent }

// Propose puts an operation into the replicated log, from any node.
func (p proposer) Propose(ctx context.Context, op fsm.Op) (fsm.Result, error) {
	if set, ok := op.(fsm.SettingSet); ok {
		if err := config.CheckSetting(set.Name, set.Value, p.a.cfg.Managed() || p.a.cfg.Witness); err != nil {
			return fsm.Result{}, &api.Error{Code: api.CodeBadRequest, Message: err.Error()}
		}
	}
	result, err := p.a.raft.Propose(ctx, op)
	return result, p.a.apiError(err)
}

// apiError turns consensus' errors into *api.Error; others pass as they are.
func (a *Agent) apiError(err error) error {
	if rejected, ok := errors.AsType[*consensus.RejectedError](err); ok {
		e := &api.Error{Code: rejected.Code, Message: rejected.Error(), Hint: rejectedHint(rejected.Code)}
		if leader, known := a.Leader(); known {
			e.Leader = leader
		}
		return e
	}
	if doubt, ok := errors.AsType[*consensus.InDoubtError](err); ok {
		return &api.Error{
			Code: api.CodeInDoubt, Message: doubt.Error(), RequestID: doubt.RequestID,
			Hint: "read before you write again, or write again with the same request id",
		}
	}
	return err
}

func rejectedHint(code string) string {
	switch code {
	case api.CodeNoLeader:
		return "a majority of the voters must be up and reach each other: see pgraft members"
	case api.CodeTimeout:
		return "try again; nothing was changed"
	}
	return ""
}

// Leader returns who leads, as far as this node knows.
func (a *Agent) Leader() (*api.Leader, bool) {
	id, address := a.raft.Leader()
	if id == "" {
		return nil, false
	}
	leader := &api.Leader{RaftAddress: address}
	_, nodes := a.fsm.Store().Nodes(nil)
	for _, n := range nodes {
		if n.ServerID == string(id) {
			leader.NodeID, leader.Name, leader.HTTPAddress, leader.RaftAddress = n.NodeID, n.Name, n.HTTPAddress, n.RaftAddress
		}
	}
	return leader, true
}

// reader tells the API what a read answered by this node is worth.
type reader struct{ a *Agent }

// IsLeader reports whether this node leads, holds its lease, and has all that its predecessor acknowledged.
func (r reader) IsLeader() bool {
	_, ok := r.a.raft.Lease()
	return ok && r.a.raft.Ready()
}

// ConsistentBarrier returns nil once a quorum confirmed the leadership and all that was committed is applied here.
func (r reader) ConsistentBarrier(ctx context.Context) error {
	return r.a.apiError(r.a.raft.ConsistentBarrier(ctx))
}

// LastContact is how long ago the leader was heard: 0 on the leader, negative for never.
func (r reader) LastContact() time.Duration {
	if r.a.raft.IsLeader() {
		return 0
	}
	last, ok := r.a.raft.LastContact()
	if !ok {
		return -1
	}
	return time.Since(last)
}

// KnownLeader reports whether a leader is known, and was heard lately if it is another node.
func (r reader) KnownLeader() bool {
	if r.IsLeader() {
		return true
	}
	id, _ := r.a.raft.Leader()
	contact := r.LastContact()
	return id != "" && contact > 0 && contact < 2*r.a.cfg.RaftTimers().Heartbeat
}
