package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
)

// catchUpEntries is how far behind a server may be that is to take leadership over.
const catchUpEntries = 256

// TransferLeadership hands leadership to a voter, or with an empty id to the one that is most up to date, and returns
// when another server leads. Writes are refused for the moment that it takes; Propose repeats them at the new leader.
//
// The lease is given up first, and what was handed out of it is waited out, since the servers are about to be asked to
// elect another leader in spite of what they promised. If the request to take over went out and nothing came of it, it
// may still arrive, so this leader claims no lease again in its term: it steps down, and an election decides.
func (n *Node) TransferLeadership(ctx context.Context, id raft.ServerID) error {
	if !n.transferMu.TryLock() {
		return &RejectedError{Code: api.CodeUnavailable, Message: "a leadership transfer is under way already"}
	}
	defer n.transferMu.Unlock()
	term := n.raft.CurrentTerm()
	if !n.IsLeader() {
		return n.rejectNotLeader("transfer leadership")
	}
	target, err := n.awaitSuccessor(ctx, id, term)
	if err != nil {
		return err
	}
	n.lease.suspended.Store(term)
	n.transport.transfer.open(term)
	err = n.transferTo(ctx, target)
	if sent := n.transport.transfer.close(); err != nil {
		return n.settleTransfer(err, target, term, sent)
	}
	n.logger.Info("handed leadership over", "server_id", target.ID, "term", term)
	return nil
}

// awaitSuccessor gives the servers one heartbeat timeout to answer this leader, which may be new.
func (n *Node) awaitSuccessor(ctx context.Context, id raft.ServerID, term uint64) (raft.Server, error) {
	limit := time.After(n.cfg.Timers.Heartbeat)
	for {
		answered := n.acks.changed()
		target, err := n.chooseSuccessor(id, term)
		var rejected *RejectedError
		if err == nil || (errors.As(err, &rejected) && rejected.Code != api.CodeUnavailable) {
			return target, err
		}
		select {
		case <-answered:
		case <-limit:
			return target, err
		case <-ctx.Done():
			return target, err
		}
	}
}

// chooseSuccessor returns the server to hand over to. It must have answered a heartbeat of late and be nearly up to
// date: a transfer that waits in vain for a server to catch up can wedge the leader for good (raft#696). In raft 1.8.0
// such an attempt leaves a request behind in the channel of the server's replication, which the next attempt blocks
// on, and while it does all writes are refused, even after another election.
func (n *Node) chooseSuccessor(id raft.ServerID, term uint64) (raft.Server, error) {
	var best raft.Server
	var bestLog uint64
	known := false
	for _, server := range n.latestConfiguration().Servers {
		if server.Suffrage != raft.Voter || server.ID == n.cfg.ServerID || (id != "" && server.ID != id) {
			continue
		}
		known = true
		answer, ok := n.acks.of(server.ID, term)
		fresh := ok && time.Since(answer.sent) < n.cfg.Timers.Heartbeat
		if fresh && answer.lastLog >= max(bestLog, 1) && answer.lastLog+catchUpEntries >= n.raft.LastIndex() {
			best, bestLog = server, answer.lastLog
		}
	}
	switch {
	case !known && id == "":
		return best, &RejectedError{Code: api.CodeUnavailable, Message: "there is no other voter to transfer leadership to"}
	case !known:
		return best, &RejectedError{Code: api.CodeNotFound, Message: fmt.Sprintf("server %s is not another voter of this cluster", id)}
	case best.ID == "":
		return best, &RejectedError{Code: api.CodeUnavailable, Message: "no server that could take over is reachable and up to date"}
	}
	return best, nil
}

func (n *Node) transferTo(ctx context.Context, target raft.Server) error {
	if err := n.lease.runOut(ctx); err != nil {
		return err
	}
	// raft answers within two election timeouts, unless it is wedged.
	ctx, cancel := context.WithTimeout(ctx, 3*n.cfg.Timers.Election+time.Second)
	defer cancel()
	if err := await(ctx, n.raft.LeadershipTransferToServer(target.ID, target.Address)); err != nil {
		return err
	}
	for {
		change := n.leadership.change()
		switch leader, _ := n.Leader(); leader {
		case "":
		case n.cfg.ServerID:
			return errors.New("this server was elected again")
		default:
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return errors.New("no leader was elected yet")
		}
	}
}

// settleTransfer brings a leader whose transfer failed back to a state without doubt.
func (n *Node) settleTransfer(cause error, target raft.Server, term uint64, sent bool) error {
	if !sent {
		n.lease.suspended.CompareAndSwap(term, 0)
	} else if n.IsLeader() && n.raft.CurrentTerm() == term {
		n.logger.Warn("stepping down after a leadership transfer without outcome", "server_id", target.ID, "error", cause)
		n.stepDown(term)
	}
	return &RejectedError{Code: api.CodeUnavailable, Message: fmt.Sprintf("cannot transfer leadership to server %s", target.ID), Cause: cause}
}

// stepDown makes this leader a follower, so that an election follows. raft has no call for it; it does so when a
// verification of its leadership fails, so the heartbeats of this term are answered with a refusal, by ourselves.
func (n *Node) stepDown(term uint64) {
	n.transport.denied.Store(term)
	limit := time.After(2 * n.cfg.Timers.Election)
	for n.IsLeader() && n.raft.CurrentTerm() == term {
		change := n.leadership.change()
		n.transport.pacer.hurry(time.Now())
		n.raft.VerifyLeader()
		select {
		case <-change:
		case <-time.After(n.cfg.Timers.Heartbeat / 10):
		case <-limit:
			return
		case <-n.ctx.Done():
			return
		}
	}
}

// stuckTransfer notices when raft refuses writes for a leadership transfer that nobody is waiting for any more
// (raft#696). Only a restart of the process clears it; until then this server passes leadership on each time that it
// gets it, so that the cluster works.
type stuckTransfer struct{ since atomic.Int64 }

func (s *stuckTransfer) note(n *Node, err error) {
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) || !n.transferMu.TryLock() {
		s.since.Store(0)
		return
	}
	n.transferMu.Unlock()
	now := time.Now().UnixNano()
	if s.since.CompareAndSwap(0, now) {
		return
	}
	if time.Duration(now-s.since.Load()) > 3*n.cfg.Timers.Election+time.Second {
		n.logger.Error("raft is stuck in a leadership transfer and this server steps down: restart the agent")
		s.since.Store(0)
		go n.stepDown(n.raft.CurrentTerm()) // ends by itself soon; Close need not wait for it
	}
}
