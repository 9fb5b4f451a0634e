package consensus

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// Configuration returns the latest configuration, which may not be committed yet, and the index of the latest
// committed one (0 if that was before this server started).
func (n *Node) Configuration() (uint64, []raft.Server) {
	return n.cfg.FSM.ConfigurationIndex(), n.latestConfiguration().Servers
}

// AddNonvoter adds a server that gets the log and has no vote, or changes the address of one that is there.
func (n *Node) AddNonvoter(ctx context.Context, id raft.ServerID, address string) error {
	return n.change(ctx, "add server", func(patience time.Duration) raft.IndexFuture {
		return n.raft.AddNonvoter(id, raft.ServerAddress(address), 0, patience)
	})
}

// AddVoter adds a server that votes from now on, or gives the vote to one that is there, or changes its address.
func (n *Node) AddVoter(ctx context.Context, id raft.ServerID, address string) error {
	return n.change(ctx, "add voter", func(patience time.Duration) raft.IndexFuture {
		return n.raft.AddVoter(id, raft.ServerAddress(address), 0, patience)
	})
}

// DemoteVoter takes a server's vote away.
func (n *Node) DemoteVoter(ctx context.Context, id raft.ServerID) error {
	return n.change(ctx, "demote voter", func(patience time.Duration) raft.IndexFuture {
		return n.raft.DemoteVoter(id, 0, patience)
	})
}

// RemoveServer removes a server. A leader that removes itself leads until that is committed.
func (n *Node) RemoveServer(ctx context.Context, id raft.ServerID) error {
	return n.change(ctx, "remove server", func(patience time.Duration) raft.IndexFuture {
		return n.raft.RemoveServer(id, 0, patience)
	})
}

// change runs a change of the configuration. One that fails for lack of time or leadership may still come about.
func (n *Node) change(ctx context.Context, what string, start func(patience time.Duration) raft.IndexFuture) error {
	if !n.IsLeader() {
		return n.rejectNotLeader(what)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultProposeTimeout)
		defer cancel()
	}
	deadline, _ := ctx.Deadline()
	err := await(ctx, start(max(time.Until(deadline), time.Millisecond)))
	switch {
	case err == nil:
		return nil
	case isContextError(err), mayBeApplied(err) && n.latestConfigurationMayChange(err):
		return &InDoubtError{Cause: err}
	}
	return n.rejectRaft(what, err)
}

// latestConfigurationMayChange tells raft's refusals of a change that makes no sense, which have no type of their own,
// from errors that leave its fate open.
func (n *Node) latestConfigurationMayChange(err error) bool {
	return errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrRaftShutdown) || n.store.wal.err() != nil
}
