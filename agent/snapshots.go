package agent

import (
	"context"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api/archive"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/internal/version"
)

// snapshots takes and restores snapshots of the replicated state.
type snapshots struct{ a *Agent }

// Snapshot returns the leader's state as of a barrier, or this node's if it is asked for that.
func (s snapshots) Snapshot(ctx context.Context) (archive.Meta, io.ReadCloser, error) {
	meta, state, err := s.a.raft.Snapshot(ctx)
	if err != nil {
		return archive.Meta{}, nil, s.a.apiError(err)
	}
	store := s.a.fsm.Store()
	return archive.Meta{
		ID: meta.ID, Index: meta.Index, Term: meta.Term, Size: meta.Size, CreatedAt: time.Now(),
		ClusterID: store.ClusterID(), ClusterName: store.ClusterName(), NodeName: s.a.cfg.NodeName, Pgraft: version.Version,
	}, state, nil
}

// Restore replaces the cluster's state. It runs on the leader, with a state that was validated.
func (s snapshots) Restore(ctx context.Context, meta archive.Meta, state io.Reader) error {
	if err := s.a.raft.Restore(ctx, &raft.SnapshotMeta{ID: meta.ID, Index: meta.Index, Term: meta.Term, Size: meta.Size}, state); err != nil {
		return s.a.apiError(err)
	}
	// Until the next command the state machine's index is that of the restored content, which readers and the applier
	// have passed long ago.
	_, err := proposer(s).Propose(ctx, fsm.Noop{})
	return err
}
