package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// Snapshot takes a snapshot of this server's state and opens it: on the leader of all that was proposed before the call,
// on another of what it has. The reader's content is what Restore takes.
func (n *Node) Snapshot(ctx context.Context) (*raft.SnapshotMeta, io.ReadCloser, error) {
	// Without a barrier an idle cluster can't be snapshotted: raft asks for something applied past the last change of
	// its configuration.
	if n.IsLeader() {
		if err := n.Barrier(ctx); err != nil {
			return nil, nil, err
		}
	}
	future := n.raft.Snapshot()
	err := await(ctx, future)
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return n.latestSnapshot()
	}
	if err != nil {
		return nil, nil, n.rejectRaft("take a snapshot", err)
	}
	return future.Open()
}

func (n *Node) latestSnapshot() (*raft.SnapshotMeta, io.ReadCloser, error) {
	list, err := n.store.snapshots.List()
	if err != nil {
		return nil, nil, fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) == 0 {
		return nil, nil, &RejectedError{Code: api.CodeUnavailable, Message: "there is nothing to take a snapshot of yet"}
	}
	return n.store.snapshots.Open(list[0].ID)
}

// Restore replaces the whole cluster's state by a snapshot's content, which it reads to the end and checks before
// anything is touched: raft panics when the state machine refuses a snapshot. The membership stays as it is. Writes
// that are under way are rejected. An [InDoubtError] says that it may be undone by a new leader; to repeat it is safe.
func (n *Node) Restore(ctx context.Context, meta *raft.SnapshotMeta, content io.Reader) error {
	if !n.IsLeader() {
		return n.rejectNotLeader("restore a snapshot")
	}
	file, size, err := n.spool(content)
	if err != nil {
		return err
	}
	defer file.Close()
	checked := raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: size}
	if meta != nil {
		checked.Index, checked.Term = meta.Index, meta.Term
	}
	// The call ends with raft's own work done, whatever becomes of ctx: to leave it in the middle helps nobody.
	before := n.cfg.FSM.Store()
	if err = n.raft.Restore(&checked, file, DefaultProposeTimeout); err == nil {
		err = n.Barrier(ctx)
	}
	if err == nil {
		return nil
	}
	if n.cfg.FSM.Store() != before {
		// Restored here. If the leadership was lost before the others had it, the next leader has it or has not.
		return &InDoubtError{Cause: fmt.Errorf("restore the snapshot: %w", err)}
	}
	return n.rejectRaft("restore the snapshot", err)
}

// spool copies a snapshot to an unnamed file and makes sure that it can be read.
func (n *Node) spool(content io.Reader) (file *os.File, size int64, err error) {
	file, err = os.CreateTemp(n.store.dir, "restore-")
	if err != nil {
		return nil, 0, fmt.Errorf("spool snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := os.Remove(file.Name()); err != nil {
		return nil, 0, fmt.Errorf("spool snapshot: %w", err)
	}
	if size, err = io.Copy(file, content); err != nil {
		return nil, 0, fmt.Errorf("spool snapshot: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, 0, fmt.Errorf("spool snapshot: %w", err)
	}
	if _, err := fsm.InspectSnapshot(file); err != nil {
		return nil, 0, &api.Error{Code: api.CodeBadRequest, Message: "this is not a sound snapshot: " + err.Error()}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, 0, fmt.Errorf("spool snapshot: %w", err)
	}
	return file, size, nil
}

// Reload changes what can change while the node runs: how often it takes snapshots and what it leaves of the log.
func (n *Node) Reload(snapshotInterval time.Duration, snapshotThreshold, trailingLogs uint64) error {
	config := n.raft.ReloadableConfig()
	config.SnapshotInterval, config.SnapshotThreshold, config.TrailingLogs = snapshotInterval, snapshotThreshold, trailingLogs
	if err := n.raft.ReloadConfig(config); err != nil {
		return fmt.Errorf("reload raft settings: %w", err)
	}
	return nil
}
