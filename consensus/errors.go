package consensus

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
)

// ErrClosed is returned for anything asked of a node that was closed.
var ErrClosed = errors.New("this node is shutting down")

// RejectedError says that something was certainly not done, and why.
type RejectedError struct {
	// Code is api.CodeNoLeader, CodeNotLeader, CodeUnavailable, CodeTimeout or CodeTooMany.
	Code    string
	Message string
	// Leader is who could have done it, "" if unknown.
	Leader        raft.ServerID
	LeaderAddress string
	// Cause is what stood in the way, if more is known than the code says.
	Cause error
}

// Error returns the message and its cause.
func (e *RejectedError) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *RejectedError) Unwrap() error { return e.Cause }

// InDoubtError says that a write was sent and its outcome is not known: it may be applied, now or later, or not.
type InDoubtError struct {
	// RequestID is the client's own id for the write, "" if it gave none. With it the write can be repeated safely.
	RequestID string
	Cause     error
}

// Error returns what happened and what to do next.
func (e *InDoubtError) Error() string {
	what := "the write may or may not be applied"
	if e.Cause != nil {
		what += ": " + e.Cause.Error()
	}
	if e.RequestID == "" {
		return what + "; read before you repeat it"
	}
	return fmt.Sprintf("%s; repeat it with request id %s to be sure", what, e.RequestID)
}

// Unwrap returns the cause.
func (e *InDoubtError) Unwrap() error { return e.Cause }

func rejectTimeout(cause error) *RejectedError {
	return &RejectedError{Code: api.CodeTimeout, Message: "the time ran out before anything was done", Cause: cause}
}

func rejectClosed() *RejectedError {
	return &RejectedError{Code: api.CodeUnavailable, Message: ErrClosed.Error(), Cause: nil}
}

// rejectNotLeader says that this node can't do it and who could.
func (n *Node) rejectNotLeader(what string) *RejectedError {
	id, addr := n.Leader()
	if id == "" {
		return &RejectedError{Code: api.CodeNoLeader, Message: fmt.Sprintf("cannot %s: the cluster has no leader", what)}
	}
	message := fmt.Sprintf("cannot %s: this node is not the leader", what)
	return &RejectedError{Code: api.CodeNotLeader, Message: message, Leader: id, LeaderAddress: addr}
}

// mayBeApplied tells for an error of raft.Apply whether the entry can have got into the log.
func mayBeApplied(err error) bool {
	for _, definite := range []error{
		raft.ErrNotLeader, raft.ErrEnqueueTimeout, raft.ErrLeadershipTransferInProgress, raft.ErrAbortedByRestore,
	} {
		if errors.Is(err, definite) {
			return false
		}
	}
	return true
}
