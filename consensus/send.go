package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// retryDelay is how long an entry that was turned away waits for news of the leader before it tries again.
const (
	firstRetryDelay = 5 * time.Millisecond
	maxRetryDelay   = 200 * time.Millisecond
)

// sendEntry brings an entry to whoever leads, as often as it takes, and gives its operations their outcome.
func (n *Node) sendEntry(ctx context.Context, e *entry) {
	if len(e.proposals) == 0 {
		return
	}
	ops := len(e.proposals)
	ctx, cancel := context.WithDeadline(ctx, e.deadline)
	defer cancel()
	e.finish(n.seeThrough(ctx, e))
	if hook := n.cfg.Hooks.Entry; hook != nil {
		hook(ops, len(e.bytes), e.forwarded, time.Since(e.started))
	}
}

// seeThrough returns the results of an entry, one per operation, or a RejectedError or InDoubtError.
func (n *Node) seeThrough(ctx context.Context, e *entry) ([]fsm.Result, error) {
	for delay := firstRetryDelay; ; delay = min(2*delay, maxRetryDelay) {
		change := n.leadership.change()
		results, err := n.attempt(ctx, e)
		if err == nil {
			return spread(results, len(e.proposals))
		}
		if errors.Is(err, raft.ErrAbortedByRestore) {
			return nil, &RejectedError{Code: api.CodeUnavailable, Message: "a snapshot was restored meanwhile", Cause: err}
		}
		select {
		case <-change:
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, n.giveUp(ctx, e)
		}
		if ctx.Err() != nil {
			return nil, n.giveUp(ctx, e)
		}
	}
}

// attempt makes one try with the leader that is known now.
func (n *Node) attempt(ctx context.Context, e *entry) (results []fsm.Result, err error) {
	leader, _ := n.Leader()
	var maybe bool
	switch leader {
	case "":
		err = errNoLeader
	case n.cfg.ServerID:
		if e.lent {
			e.bytes = bytes.Clone(e.bytes)
		}
		e.lent = true
		results, maybe, err = n.applyEntry(ctx, e.bytes)
	default:
		e.forwarded = true
		results, maybe, err = n.forward(ctx, leader, e.bytes)
	}
	e.note(maybe, err)
	return results, err
}

// note keeps, of all that went wrong, what left the entry in doubt, and else what says more than that time is up.
func (e *entry) note(maybe bool, err error) {
	tells := err != nil && !errors.Is(err, errNoLeader) && (e.cause == nil || !isContextError(err))
	if tells && (maybe || !e.sent) {
		e.cause = err
	}
	e.sent = e.sent || maybe
}

var errNoLeader = errors.New("the cluster has no leader")

func isContextError(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func (n *Node) giveUp(ctx context.Context, e *entry) error {
	cause := e.cause
	if cause == nil {
		cause = ctx.Err()
	}
	leader, _ := n.Leader()
	switch {
	case e.sent:
		return &InDoubtError{Cause: cause}
	case n.batcher.ctx.Err() != nil:
		return rejectClosed()
	case leader == "":
		return n.rejectNoLeader(e.cause)
	}
	return &RejectedError{Code: api.CodeUnavailable, Message: "the leader did not take the write", Leader: leader, Cause: cause}
}

// spread gives each operation its result. An entry that could not be decoded has one for all.
func spread(results []fsm.Result, ops int) ([]fsm.Result, error) {
	if len(results) == ops {
		return results, nil
	}
	if len(results) != 1 {
		return nil, &InDoubtError{Cause: fmt.Errorf("%d results for %d operations", len(results), ops)}
	}
	all := make([]fsm.Result, ops)
	for i := range all {
		all[i] = results[0]
	}
	return all, nil
}

// applyEntry puts an entry into this leader's log and waits until it is applied. maybe tells for an error whether the
// entry may be, or come, into the log. The bytes belong to raft from then on.
func (n *Node) applyEntry(ctx context.Context, encoded []byte) (results []fsm.Result, maybe bool, err error) {
	if err := fsm.StampTime(encoded, time.Now()); err != nil {
		return nil, false, err
	}
	var patience time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		patience = max(time.Until(deadline), time.Millisecond)
	}
	future := n.raft.Apply(encoded, patience)
	if err := await(ctx, future); err != nil {
		n.stuck.note(n, err)
		return nil, mayBeApplied(err), fmt.Errorf("apply entry: %w", n.diskFault(err))
	}
	n.learnCommit(future.Index())
	results, ok := future.Response().([]fsm.Result)
	if !ok {
		return nil, true, fmt.Errorf("apply entry: the state machine answered with a %T", future.Response())
	}
	return results, false, nil
}

// diskFault replaces raft's account of a failed write to the log by the cause itself.
func (n *Node) diskFault(err error) error {
	if fault := n.store.wal.err(); fault != nil && !isContextError(err) && mayBeApplied(err) {
		return fmt.Errorf("write raft log: %w", fault)
	}
	return err
}

// knownCommit returns the highest index that this node knows to be committed.
func (n *Node) knownCommit() uint64 {
	return max(n.raft.CommitIndex(), n.counters.committed.Load())
}

func (n *Node) learnCommit(index uint64) {
	for {
		known := n.counters.committed.Load()
		if known >= index || n.counters.committed.CompareAndSwap(known, index) {
			return
		}
	}
}
