package controller

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// How old what was seen may be, and how long a look may take.
const (
	filesAge    = time.Second
	observeTime = time.Second
	saveEvery   = 2 * time.Second
	keepEvery   = 10 * time.Second
	ackedEvery  = time.Second
	// ackedAtLeast is how long what moved only a little may go unrecorded.
	ackedAtLeast = 20 * time.Second
	endEvery     = 500 * time.Millisecond
)

// gather looks at everything that the planner needs, and notes what only can be learnt by looking.
func (c *Controller) gather(ctx context.Context) Inputs {
	m := &c.memo
	now := time.Now()
	in := Inputs{Self: c.cfg.ServerID, Names: c.name, Fresh: c.cfg.Raft.Fresh()}
	c.mu.Lock()
	if c.stale {
		c.stale, m.inForce = false, nil
	}
	c.mu.Unlock()
	c.lookForRoom(now)
	c.lookForTLS(now)
	c.gatherState(&in, now)
	c.gatherProcess(ctx, &in, now)
	if in.Running {
		c.observe(ctx, &in)
	}
	c.learn(&in, now)
	if c.cfg.Settings != nil {
		in.Wanted = c.cfg.Settings()
	}
	in.CanFailover = c.cfg.CanFailover != nil && c.cfg.CanFailover()
	in.Local, in.NoPromise, in.Cut, in.InForce = m.local.clone(), m.noPromise, m.cut, m.inForce
	in.Ended = m.ended
	in.Died, in.Starting, in.Barrier, in.Acked = m.died, m.starting, m.barrier, m.acked
	in.EndWaiting = now.Sub(m.endedAt) >= endEvery
	in.AckedDue, in.AckedLate = now.Sub(m.ackedAt) >= ackedEvery, now.Sub(m.ackedAt) >= ackedAtLeast
	in.Housekeeping = m.kept != c.slots() && now.Sub(m.keptAt) >= time.Second || now.Sub(m.keptAt) >= keepEvery
	in.Source = c.source(in.State)
	c.mu.Lock()
	in.Asked = c.asked
	c.mu.Unlock()
	in.Gone = c.goneWhy(ctx, &in, now)
	return in
}

func (c *Controller) gatherState(in *Inputs, now time.Time) {
	m := &c.memo
	state, changed := m.state, m.changed
	if changed == nil || isClosed(changed) { // to watch costs something, so that one watch lasts
		state, changed = c.cfg.Raft.State()
	}
	if m.since.IsZero() || state.Epoch != m.state.Epoch || state.Phase != m.state.Phase {
		m.since, m.failures = now, 0
	}
	if state.Epoch != m.state.Epoch {
		m.took = map[string]string{}
		m.barrier, m.acked, m.proposed, m.repointed = nil, 0, nil, time.Time{}
	}
	m.state, m.changed = state, changed
	in.State, in.Since = state, now.Sub(m.since)
	in.Proof, m.proven = c.cfg.Raft.QuorumProof()
	if in.Proof {
		m.proofAt = now
	}
	in.Alone = now.Sub(m.proofAt)
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func (c *Controller) gatherProcess(ctx context.Context, in *Inputs, now time.Time) {
	m := &c.memo
	if pid := c.cfg.Postgres.PID(); pid != m.pid {
		m.died = m.died || m.led && m.pid != 0
		if pid != 0 {
			m.died, m.tries, m.ended = false, 0, nil
		}
		just := m.died && m.led
		if pid != 0 {
			m.kept = "" // it may be another copy
		}
		m.pid, m.led, m.cut, m.starting, m.barrier, m.filesFor, m.pidSince = pid, false, nil, 0, nil, -1, now
		if just {
			c.gatherDead(in)
			return
		}
	}
	m.exited = c.cfg.Postgres.Exited()
	in.Running = m.pid != 0
	if m.filesFor != m.pid || !in.Running && now.Sub(m.filesAt) > filesAge {
		files, err := c.cfg.Postgres.Inspect(ctx)
		switch {
		case err == nil:
			m.files, m.filesFor, m.filesAt = files, m.pid, now
		case !in.Running:
			in.Problem, m.filesFor = err.Error(), -1
			return
		default:
			// What runs must be fenced all the same.
			m.files, m.filesFor, m.problem = Files{Standby: true}, -1, err.Error()
		}
	}
	in.Files = m.files
	in.Replaced = c.replaced(in)
	if in.State.Major != 0 && !in.Files.Empty && in.Files.Major != 0 && in.Files.Major != in.State.Major {
		in.Problem = fmt.Sprintf("the data directory is PostgreSQL %d's and the cluster's version is %d", in.Files.Major, in.State.Major)
	}
}

// gatherDead tells what is known at once about a primary that has just died: looking at its files would take longer
// than the others need to hear of it.
func (c *Controller) gatherDead(in *Inputs) {
	m := &c.memo
	m.exited = nil
	in.Files = m.files
	in.Files.Standby, in.Files.InOrder, in.Files.Timeline = false, false, m.timeline
}

// replaced reports whether the directory is another one than the record's. One that is the cluster's only copy may
// move: there is nothing to compare it with.
func (c *Controller) replaced(in *Inputs) bool {
	m := &c.memo
	if m.local.Fingerprint == "" || m.local.Work != nil || in.Files.Empty {
		return false
	}
	now, err := c.cfg.Postgres.Fingerprint()
	if err != nil || m.local.is(now) {
		return false
	}
	alone := len(in.State.Sync.Members) == 1 && in.State.Next == nil && in.State.Primary == in.Self
	if !alone || in.Files.SystemID != in.State.SystemID {
		return true
	}
	c.logger.Info("data directory has moved", "memory", m.local.Memory)
	local := m.local.clone()
	local.Fingerprint, local.Mark = now, ""
	return c.save(local) != nil
}

func (c *Controller) observe(ctx context.Context, in *Inputs) {
	ctx, cancel := context.WithTimeout(ctx, observeTime)
	defer cancel()
	live, err := c.cfg.Postgres.Observe(ctx)
	if err != nil {
		c.logger.Debug("PostgreSQL does not answer", "error", err)
		return
	}
	live.PID = c.memo.pid
	in.Live = &live
	if live.Receiving || !live.InRecovery {
		c.memo.cut = nil // it was cut off, and is not any more
	}
	if live.Streaming && !c.memo.repointed.IsZero() {
		c.streams()
	}
}

// streams tells the history how long the new primary had to do without this standby.
func (c *Controller) streams() {
	m := &c.memo
	c.took("stream", m.repointed)
	c.event("follow", fmt.Sprintf("%%s streams from the new primary %s ms after that was ready", m.took["stream_ms"]), m.took)
	m.repointed = time.Time{}
}

// learn notes the epoch of a new timeline, and how far the copy reaches.
func (c *Controller) learn(in *Inputs, now time.Time) {
	m := &c.memo
	live := in.Live
	if live == nil || !in.Fresh || m.local.Fingerprint == "" || in.Replaced {
		return
	}
	in.Local = m.local
	epoch := in.epoch(live.Timeline)
	if !live.InRecovery && epoch == in.State.Epoch && in.State.Primary == in.Self {
		m.led = m.led || in.State.Phase == primacy.PhaseReady
		if m.starting == 0 {
			m.starting = live.LSN
		}
	}
	m.seen, m.timeline = live.LSN, live.Timeline
	local, dirty := m.local.clone(), false
	if _, known := local.Timelines[live.Timeline]; !known && epoch != 0 {
		// Those between may have been passed too quickly to be seen.
		for _, b := range primacy.Chain(in.State.Lineage, epoch) {
			if _, known := local.Timelines[b.Timeline]; !known && b.Timeline < live.Timeline {
				local.setTimeline(b.Timeline, b.Epoch)
			}
		}
		local.setTimeline(live.Timeline, epoch)
		dirty = true
	}
	at := primacy.Position{Epoch: epoch, LSN: c.boundary(in)}
	if at.Compare(local.Position) > 0 && now.Sub(m.savedAt) >= saveEvery {
		local.reached(at)
		local.Seen = primacy.Position{Epoch: epoch, LSN: live.LSN}
		m.savedAt, dirty = now, true
	}
	if dirty && c.save(local) == nil {
		in.Local = local
	}
}

// boundary is a position that the copy will reach again, whatever happens: where a record ends.
func (c *Controller) boundary(in *Inputs) (at wal.LSN) {
	live := in.Live
	if live.InRecovery {
		return live.Boundary
	}
	for _, s := range live.Standbys {
		if s.Replay <= live.LSN && s.Replay > at {
			at = s.Replay
		}
	}
	return at
}

// save replaces the record. Nothing may rely on a change that is not saved.
func (c *Controller) save(local Local) error {
	if err := SaveLocal(c.cfg.DataDir, local); err != nil {
		return err
	}
	c.memo.local = local
	return nil
}

// name is the standby name of a copy.
func (c *Controller) name(serverID, memory string) (string, bool) {
	if serverID == c.cfg.ServerID {
		return managed.StandbyName(c.cfg.NodeID, memory), true
	}
	peer, ok := c.cfg.Registry.Peer(serverID)
	if !ok {
		return "", false
	}
	return managed.StandbyName(peer.NodeID, memory), true
}

// source is where the primary listens.
func (c *Controller) source(state primacy.State) *Source {
	if state.Primary == "" || state.Primary == c.cfg.ServerID {
		return nil
	}
	peer, ok := c.cfg.Registry.Peer(state.Primary)
	if !ok || peer.Host == "" || peer.Port == 0 {
		return nil
	}
	return &Source{ServerID: peer.ServerID, Host: peer.Host, Port: peer.Port, Slot: managed.SlotName(c.cfg.NodeID)}
}

// slots names the replication slots that this server keeps for the others, in one text.
func (c *Controller) slots() string {
	var names []string
	for _, p := range c.cfg.Registry.Peers() {
		if p.ServerID != c.cfg.ServerID {
			names = append(names, managed.SlotName(p.NodeID))
		}
	}
	return strconv.FormatBool(c.memo.led) + " " + strings.Join(names, " ")
}
