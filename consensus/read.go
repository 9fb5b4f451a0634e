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

// lease is what was promised to those who asked for it.
type lease struct {
	// suspended is a term in which this leader claims no lease: a leadership transfer is or was under way.
	suspended atomic.Uint64
	// granted is the latest end, in Unix nanoseconds, that was ever handed out.
	granted atomic.Int64
}

// Lease returns until when no other server can be leader, as far as is known now. ok is false when this server is not
// the leader, or when no quorum has confirmed it lately, or while it hands leadership over. The argument is in acks.go.
func (n *Node) Lease() (until time.Time, ok bool) {
	term := n.raft.CurrentTerm()
	if !n.IsLeader() || n.lease.suspended.Load() == term {
		return time.Time{}, false
	}
	now := time.Now()
	until, ok = n.acks.leaseUntil(term, n.latestConfiguration(), n.cfg.ServerID, now, n.cfg.Timers.LeaderLease)
	// The wall clock has a say too: the monotonic one stands still while a virtual machine is suspended.
	if !ok || !until.After(now) || !until.Round(0).After(now.Round(0)) {
		return time.Time{}, false
	}
	n.lease.grant(until)
	// A transfer may have begun meanwhile, and it waits only for what was granted before.
	if n.lease.suspended.Load() == term || !n.IsLeader() || n.raft.CurrentTerm() != term {
		return time.Time{}, false
	}
	return until, true
}

// LeaseRenewal returns a channel that is closed when the lease can be had for longer than at the time of the call: a
// quorum has answered the next beat of heartbeats. It serves one caller, who calls again each time, before he looks at
// Lease. It stays open while there is no lease, when this server is alone, and perhaps when the configuration changes,
// so the caller looks now and then by himself.
func (n *Node) LeaseRenewal() <-chan struct{} {
	configuration := n.latestConfiguration()
	confirmed, ok := n.acks.confirmedAt(n.raft.CurrentTerm(), configuration, n.cfg.ServerID, time.Now())
	if !ok {
		return nil
	}
	return n.acks.awaitRenewal(configuration, n.cfg.ServerID, confirmed.Add(n.transport.pacer.beat/2))
}

func (l *lease) grant(until time.Time) {
	for nanos := until.UnixNano(); ; {
		granted := l.granted.Load()
		if granted >= nanos || l.granted.CompareAndSwap(granted, nanos) {
			return
		}
	}
}

// runOut waits until no lease that was handed out can still hold.
func (l *lease) runOut(ctx context.Context) error {
	select {
	case <-time.After(time.Until(time.Unix(0, l.granted.Load()))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// LastContact returns when this server last heard from a leader. ok is false if it never did. A leader hears itself.
func (n *Node) LastContact() (time.Time, bool) {
	if n.IsLeader() {
		return time.Now(), true
	}
	last := n.raft.LastContact()
	return last, !last.IsZero()
}

// ConsistentBarrier returns when reads of this server's state see all that was committed anywhere before the call. Only
// the leader can say so; others return a RejectedError that names it.
func (n *Node) ConsistentBarrier(ctx context.Context) error {
	term, err := n.awaitReady(ctx)
	if err != nil {
		return err
	}
	commit := n.raft.CommitIndex()
	if err := n.confirm(ctx, term); err != nil {
		return err
	}
	return n.waitApplied(ctx, commit)
}

// awaitReady waits until this leader has committed an entry of its own term, which it returns.
func (n *Node) awaitReady(ctx context.Context) (uint64, error) {
	for {
		change := n.leadership.change()
		term := n.raft.CurrentTerm()
		if !n.IsLeader() {
			return 0, n.rejectNotLeader("read consistently")
		}
		if n.leadership.ready.Load() == term {
			return term, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return 0, rejectTimeout(fmt.Errorf("this leader is new and no quorum has confirmed it yet: %w", ctx.Err()))
		case <-n.ctx.Done():
			return 0, rejectClosed()
		}
	}
}

// confirm returns when a quorum has answered heartbeats that were sent after it was called.
func (n *Node) confirm(ctx context.Context, term uint64) error {
	start := time.Now()
	for {
		answered, change := n.acks.changed(), n.leadership.change()
		if !n.IsLeader() || n.raft.CurrentTerm() != term {
			return n.rejectNotLeader("read consistently")
		}
		at, ok := n.acks.confirmedAt(term, n.latestConfiguration(), n.cfg.ServerID, time.Now())
		if ok && !at.Before(start) {
			return nil
		}
		n.askConfirm()
		select {
		case <-answered:
		case <-change:
		case <-ctx.Done():
			return rejectTimeout(fmt.Errorf("no quorum confirmed that this node is still the leader: %w", ctx.Err()))
		case <-n.ctx.Done():
			return rejectClosed()
		}
	}
}

func (n *Node) askConfirm() {
	select {
	case n.reads <- struct{}{}:
	default: // a round is due anyway, and it will begin after now
	}
}

// runConfirm makes raft send heartbeats at once when a read waits for them. One round serves all reads that began
// before it.
func (n *Node) runConfirm() {
	for {
		select {
		case <-n.reads:
		case <-n.ctx.Done():
			return
		}
		answered := n.acks.changed()
		n.transport.pacer.hurry(time.Now())
		n.raft.VerifyLeader() // for its heartbeats; its verdict counts answers that are too old
		select {
		case <-answered:
		case <-time.After(n.cfg.Timers.Heartbeat / 10):
		case <-n.ctx.Done():
			return
		}
	}
}

// waitApplied waits until the state machine has applied all up to a committed index. Entries that never reach it
// (raft's own no-ops and barriers) are not waited for.
func (n *Node) waitApplied(ctx context.Context, index uint64) error {
	if n.cfg.FSM.Store().Index() >= index {
		return nil
	}
	index, err := n.lastApplicable(index)
	if err != nil {
		return &RejectedError{Code: api.CodeUnavailable, Message: "cannot read the raft log", Cause: err}
	}
	if err := n.cfg.FSM.WaitIndex(ctx, index); err != nil {
		return rejectTimeout(fmt.Errorf("wait for the state machine: %w", err))
	}
	return nil
}

// lastApplicable returns the highest index up to the given one whose entry the state machine gets to see, 0 if the log
// no longer has one: what is gone from the log is in a snapshot, which was applied whole.
func (n *Node) lastApplicable(index uint64) (uint64, error) {
	for ; index > 0; index-- {
		var entry raft.Log
		err := n.store.logs.GetLog(index, &entry)
		if errors.Is(err, raft.ErrLogNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			return index, nil
		}
	}
	return 0, nil
}

// Barrier returns when everything that was proposed to this leader before the call is in its state.
func (n *Node) Barrier(ctx context.Context) error {
	if !n.IsLeader() {
		return n.rejectNotLeader("run a barrier")
	}
	if err := await(ctx, n.raft.Barrier(0)); err != nil {
		return n.rejectRaft("run a barrier", err)
	}
	return nil
}

// rejectRaft makes a RejectedError of raft's refusal to do something that changes no data.
func (n *Node) rejectRaft(what string, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return rejectTimeout(fmt.Errorf("%s: %w", what, err))
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost):
		return n.rejectNotLeader(what)
	}
	return &RejectedError{Code: api.CodeUnavailable, Message: "cannot " + what, Cause: err}
}
