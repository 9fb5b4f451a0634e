package controller

import (
	"context"
	"time"

	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// Hands is a managed.Server as a Postgres.
type Hands struct{ *managed.Server }

var _ Postgres = Hands{}

// Inspect implements Postgres.
func (h Hands) Inspect(ctx context.Context) (Files, error) {
	d, err := h.Server.Inspect(ctx)
	if err != nil {
		return Files{}, err
	}
	return Files{
		Empty: d.Empty, Partial: d.Partial, SystemID: d.SystemID, Major: d.Major,
		// A promotion notes its timeline here until the first checkpoint.
		Timeline:   max(d.Timeline, d.MinRecoveryTimeline),
		Checkpoint: d.Checkpoint, InOrder: d.CleanShutdown(), Standby: d.StandbySignal,
	}, nil
}

// Stop implements Postgres.
func (h Hands) Stop(ctx context.Context) error { return h.StopQuickly(ctx) }

// Configure implements Postgres.
func (h Hands) Configure(ctx context.Context, s Settings) ([]string, error) {
	return h.WriteConfig(ctx, s.managed())
}

func (s Settings) managed() managed.Settings {
	return managed.Settings{
		Cluster: s.Cluster, PrimaryConninfo: s.Conninfo, PrimarySlot: s.Slot,
		SyncNames: s.SyncNames, ReadOnly: s.ReadOnly, Gated: s.Gated,
	}
}

// Observe implements Postgres.
func (h Hands) Observe(ctx context.Context) (Live, error) {
	seen, err := h.Server.Observe(ctx)
	if err != nil {
		return Live{}, err
	}
	live := Live{
		InRecovery: seen.InRecovery, Timeline: seen.Timeline, LSN: seen.Flushed,
		Receiving: seen.Receiver != nil, Streaming: seen.Receiver != nil && seen.Receiver.Status == "streaming",
	}
	if seen.InRecovery {
		live.LSN, live.Boundary = seen.Reach(), seen.Replayed
	}
	if live.Streaming {
		live.LastMessage = seen.Receiver.LastMessage
	}
	now := time.Now()
	for _, s := range seen.Standbys {
		standby := Standby{Name: s.Name, State: s.State, Flush: s.Flushed, Replay: s.Replay}
		if !s.RepliedAt.IsZero() {
			standby.ReplyAge = max(0, now.Sub(s.RepliedAt))
		}
		live.Standbys = append(live.Standbys, standby)
	}
	for _, p := range seen.PendingRestart {
		live.Pending = append(live.Pending, Pending(p))
	}
	return live, nil
}

// CutOff implements Postgres.
func (h Hands) CutOff(ctx context.Context, s Settings) error {
	return h.Server.CutOff(ctx, s.managed())
}

// Position implements Postgres.
func (h Hands) Position(ctx context.Context) (Cut, error) {
	f, err := h.FencedPosition(ctx)
	if err != nil {
		return Cut{}, err
	}
	return Cut{Timeline: f.Timeline, LSN: f.LSN, Boundary: f.Replayed}, nil
}

// Promote implements Postgres.
func (h Hands) Promote(ctx context.Context) (wal.Timeline, wal.LSN, error) {
	begin, err := h.Server.Promote(ctx)
	return begin.Timeline, begin.LSN, err
}

// InitDB implements Postgres.
func (h Hands) InitDB(ctx context.Context) error { return h.Server.InitDB(ctx, managed.InitOptions{}) }

// Clone implements Postgres.
func (h Hands) Clone(ctx context.Context, conninfo, slot string, progress func(done, total int64)) error {
	return h.Server.Clone(ctx, managed.CloneSource{Conninfo: conninfo, Slot: slot}, progress)
}

// Rewind implements Postgres.
func (h Hands) Rewind(ctx context.Context, conninfo string) error {
	_, err := h.Server.Rewind(ctx, conninfo)
	return err
}

// EnsureRole implements Postgres.
func (h Hands) EnsureRole(ctx context.Context, secret string) error {
	return h.EnsureReplicationRole(ctx, secret)
}

// TerminateClients implements Postgres.
func (h Hands) TerminateClients(ctx context.Context, onlyWaiting bool) error {
	_, err := h.Server.TerminateClients(ctx, onlyWaiting)
	return err
}
