package agent

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/datadir"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/membership"
)

// runLeadership does the leader's duties while this node leads.
func (a *Agent) runLeadership(ctx context.Context) {
	changes := a.raft.NotifyLeadership()
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case leading := <-changes:
			// Two times the same in a row mean a change and a change back: what was begun belongs to an older term.
			stop()
			stop = func() {}
			a.touchStatus()
			if leading {
				stop = a.startDuties(ctx)
			}
		}
	}
}

func (a *Agent) startDuties(ctx context.Context) (stop func()) {
	a.log.Info("this node is the leader")
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		if a.failover != nil {
			wg.Go(func() { a.failover.Run(ctx) })
		}
		a.duties.Run(ctx)
		wg.Wait()
	}()
	return func() {
		cancel()
		<-done
		a.log.Info("this node is no longer the leader")
	}
}

// runGossip passes on what gossip says: to reconciliation, to the API's view of the members, and to the log.
func (a *Agent) runGossip(ctx context.Context) {
	a.board.Set(apiMembers(a.gossip.Members()))
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.gossip.Changed():
			a.board.Set(apiMembers(a.gossip.Members()))
			a.duties.Poke()
			a.touchStatus()
		case e := <-a.gossip.Events():
			a.logGossip(e)
			a.forgetRetired(e)
		}
	}
}

// forgetRetired lets a retired server's silence count as a goodbye: nobody waits for it to come back.
func (a *Agent) forgetRetired(e membership.Event) {
	if e.Type != membership.EventFail || !a.fsm.Store().Removed(e.Member.Meta.ServerID) {
		return
	}
	if err := a.gossip.ForceLeave(e.Member.Name); err != nil {
		a.log.Debug("retired server stays in gossip's list for now", "node", e.Member.Name, "error", err)
	}
}

func (a *Agent) logGossip(e membership.Event) {
	level := a.log.Info
	if e.Type == membership.EventConflict || e.Type == membership.EventFail {
		level = a.log.Warn
	}
	if e.Member.Name == "" {
		level("gossip", "event", string(e.Type), "message", e.Message)
		return
	}
	level("gossip", "event", string(e.Type), "node", e.Member.Name, "address", e.Member.Address.String(), "message", e.Message)
}

// runClusterID records the cluster's id once the first entry brought it, and refuses to go on if it is another than the
// data directory's.
func (a *Agent) runClusterID(ctx context.Context) {
	for {
		// Before the look, so that what comes between the two is not waited for: an idle cluster has no next entry.
		next := a.fsm.Store().Index() + 1
		if a.fsm.Store().ClusterID() != "" {
			break
		}
		if err := a.fsm.WaitIndex(ctx, next); err != nil {
			return
		}
	}
	store := a.fsm.Store()
	id := store.ClusterID()
	if err := datadir.WriteCluster(a.cfg.DataDir, datadir.Cluster{ID: id, Name: store.ClusterName()}); err != nil {
		a.stop(err)
		return
	}
	a.clusterID.Store(&id)
	a.touchStatus()
}

// runSettings obeys the cluster-wide settings as they change.
func (a *Agent) runSettings(ctx context.Context) {
	for {
		store := a.fsm.Store()
		ws := memdb.NewWatchSet()
		store.Settings(ws)
		if err := a.applyLive(); err != nil {
			a.log.Error("cluster-wide settings are not applied", "error", err)
		}
		ws.Add(store.AbandonCh())
		if ws.WatchCtx(ctx) != nil {
			return
		}
	}
}

// bootstrapInterval is how often a node without a cluster looks whether it can found one.
const bootstrapInterval = 500 * time.Millisecond

// runBootstrap founds the cluster together with the others, if there is none and bootstrap_expect asks for it.
func (a *Agent) runBootstrap(ctx context.Context) {
	if a.cfg.BootstrapExpect == 0 || a.cfg.NonVoting {
		return
	}
	ticker := time.NewTicker(bootstrapInterval)
	defer ticker.Stop()
	var last string
	for {
		outcome, reason, err := a.raft.MaybeBootstrap(ctx, a.bootstrapCandidates())
		if err != nil {
			reason = err.Error()
		}
		if reason != last && ctx.Err() == nil {
			last = reason
			a.log.Info("founding a cluster", "outcome", string(outcome), "reason", reason)
		}
		if bootstrapDone(outcome) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// bootstrapDone tells that there is nothing more to found. That another server belongs to a cluster is no end: it may be
// a wrong one, taken out again by its operator.
func bootstrapDone(o consensus.BootstrapOutcome) bool {
	return o == consensus.BootstrapFounded || o == consensus.BootstrapMember || o == consensus.BootstrapNever
}

func (a *Agent) bootstrapCandidates() []consensus.Peer {
	var candidates []consensus.Peer
	for _, m := range a.gossip.Members() {
		if m.Status != api.NodeAlive {
			continue
		}
		candidates = append(candidates, consensus.Peer{
			ServerID: raft.ServerID(m.Meta.ServerID), Name: m.Name, Addr: m.Meta.RaftAddress,
			Expect: m.Meta.Expect, NonVoting: m.Meta.NonVoting,
		})
	}
	return candidates
}
