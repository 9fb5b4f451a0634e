package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// entryOverhead is more than what an entry adds to its one operation.
const entryOverhead = 128

// Propose commits one operation, from any node, and returns its outcome once the leader has applied it. Without a
// deadline in ctx it takes DefaultProposeTimeout at most.
//
// The error is a *RejectedError if the operation was certainly not applied, an *InDoubtError if that is not known, and
// an *api.Error if it was decided against by the state machine, or was not fit to be proposed.
func (n *Node) Propose(ctx context.Context, op fsm.Op) (fsm.Result, error) {
	start := time.Now()
	n.counters.proposed.Add(1)
	result, err := n.propose(ctx, op)
	n.count(err, time.Since(start))
	return result, err
}

func (n *Node) propose(ctx context.Context, op fsm.Op) (fsm.Result, error) {
	encoded, err := fsm.EncodeOp(op)
	if err != nil {
		return fsm.Result{}, &api.Error{Code: api.CodeBadRequest, Message: err.Error()}
	}
	if len(encoded)+entryOverhead > fsm.MaxEntrySize {
		return fsm.Result{}, &api.Error{Code: api.CodeTooLarge, Message: fmt.Sprintf("an operation of %d bytes is too large", len(encoded))}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultProposeTimeout)
		defer cancel()
	}
	p, err := n.batcher.enqueue(ctx, encoded)
	if err != nil {
		return fsm.Result{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if n.batcher.withdraw(p) {
			return fsm.Result{}, n.rejectQueued(ctx.Err())
		}
		if !p.finishes(ctx) {
			// Its entry goes on for the sake of the others in it, and may still be applied.
			return fsm.Result{}, &InDoubtError{RequestID: requestID(op), Cause: ctx.Err()}
		}
	}
	var doubt *InDoubtError
	if errors.As(p.err, &doubt) {
		return fsm.Result{}, &InDoubtError{RequestID: requestID(op), Cause: doubt.Cause}
	}
	if p.err != nil {
		return fsm.Result{}, p.err
	}
	return p.result, p.result.Err()
}

// lastWordPatience is how long a caller whose time is up waits for its entry, whose time is mostly up with it, to say
// what stood in the way.
const lastWordPatience = 30 * time.Millisecond

func (p *proposal) finishes(ctx context.Context) bool {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return false
	}
	select {
	case <-p.done:
		return true
	case <-time.After(lastWordPatience):
		return false
	}
}

// rejectQueued explains why an operation never left this node.
func (n *Node) rejectQueued(cause error) error {
	if id, _ := n.Leader(); id != "" {
		return rejectTimeout(cause)
	}
	return n.rejectNoLeader(cause)
}

func (n *Node) rejectNoLeader(cause error) *RejectedError {
	if fault := n.store.wal.err(); fault != nil {
		return &RejectedError{Code: api.CodeUnavailable, Message: "this node cannot write its raft log and knows no leader", Cause: fault}
	}
	return &RejectedError{Code: api.CodeNoLeader, Message: "the cluster has no leader", Cause: cause}
}

func (n *Node) count(err error, took time.Duration) {
	var refused *api.Error
	var doubt *InDoubtError
	outcome := "ok"
	switch {
	case err == nil:
		n.counters.succeeded.Add(1)
	case errors.As(err, &refused):
		n.counters.refused.Add(1)
		outcome = "refused"
	case errors.As(err, &doubt):
		n.counters.inDoubt.Add(1)
		outcome = "in_doubt"
	default:
		n.counters.rejected.Add(1)
		outcome = "rejected"
	}
	if hook := n.cfg.Hooks.Proposal; hook != nil {
		hook(outcome, took)
	}
}

// requestID returns the client's own id of an operation.
func requestID(op fsm.Op) string {
	switch op := op.(type) {
	case fsm.KVSet:
		return op.ID
	case fsm.KVDelete:
		return op.ID
	case fsm.Txn:
		return op.ID
	case fsm.SessionCreate:
		return op.ID
	case fsm.SessionDestroy:
		return op.ID
	case fsm.NodeBind:
		return op.ID
	case fsm.NodeRemove:
		return op.ID
	case fsm.SettingSet:
		return op.ID
	case fsm.SettingDelete:
		return op.ID
	case fsm.Noop:
		return op.ID
	case fsm.Primacy:
		return op.ID
	}
	return ""
}
