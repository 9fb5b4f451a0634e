package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgraft/pgraft/agent/status"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/version"
	"github.com/pgraft/pgraft/pgext"
)

// freshFor is how long readers of the status file take a silent agent for alive. Above it is dead or frozen.
const freshFor = time.Second

const (
	// statusInterval is how often the status file is made anew when nothing happens. A change of leader, of the members
	// or of what this node is asks for it at once.
	statusInterval = 300 * time.Millisecond
	// leasePart is how often at least a leader's claim in the file is renewed, as a part of the lease. It is renewed
	// sooner: with each round of heartbeats, of which two or more fit into a lease. So the claim does not run out between
	// two writes, and there are no more of them than that, since each costs a file.
	leasePart = 2
)

// Status makes the node's status of this moment.
func (a *Agent) Status() api.Status {
	in := status.Inputs{
		Now: time.Now(), ClusterID: a.knownClusterID(), Raft: a.raftStatus(),
		Identity: status.Identity{
			ServerID: string(a.raft.ServerID()), Name: a.cfg.NodeName, ClusterName: a.cfg.ClusterName,
			Version: version.Version, Witness: a.cfg.Witness, StartedAt: a.started,
		},
		Members: statusMembers(a.gossip.Members()), GossipHealth: a.gossip.HealthScore(), Peers: a.prober.Peers(), Postgres: a.database.status(),
	}
	_, in.Registry = a.fsm.Store().Nodes(nil)
	in.Primacy, in.Fresh, in.Server = a.primacy(), agreement{a}.Fresh(), a.serverStatus()
	in.Waiting = a.waiting(in.Primacy)
	in.Recovering = in.ClusterID == "" || a.database.recovering() || !a.caughtUp()
	in.Fault = a.faultNow()
	s := status.Build(in)
	s.Checks = a.checks(&s)
	return s
}

// faultNow says what keeps this node from being a working member, "" if nothing does.
func (a *Agent) faultNow() string {
	if a.leaving.Load() {
		return "this node is leaving the cluster"
	}
	if fault := a.raft.Stats().DiskFault; fault != nil {
		return fmt.Sprintf("cannot write the Raft log in %s: %v: make room, then restart the agent if it does not go on by itself", a.cfg.DataDir, fault)
	}
	if refusal := a.gossip.Refusal(); refusal != nil {
		return "the cluster keeps this node out: " + refusal.Error()
	}
	return ""
}

// raftStatus is what consensus knows. The lease is asked for last of all, so that nothing slow comes between it and its
// use.
func (a *Agent) raftStatus() status.Raft {
	stats := a.raft.Stats()
	leaderID, _ := a.raft.Leader()
	_, servers := a.raft.Configuration()
	timers := a.cfg.RaftTimers()
	r := status.Raft{
		State: strings.ToLower(stats.State), Term: stats.Term, LeaderID: string(leaderID), Servers: servers,
		ContactTimeout: 2 * timers.Heartbeat, Log: logStats(stats, a.fsm.Commands()), Counters: counters(stats),
	}
	if contact, ok := a.raft.LastContact(); ok {
		r.LastContact = contact
	}
	if until, ok := a.raft.Lease(); ok {
		r.LeaseUntil = until
	}
	return r
}

// runStatus keeps the status file current, and takes it away when the agent stops.
func (a *Agent) runStatus(ctx context.Context) {
	w := statusWriter{a: a, file: pgext.StatusFile{Path: a.cfg.StatusPath()}}
	defer func() {
		if err := w.file.Remove(); err != nil {
			a.log.Warn("status file stays; it runs out by itself", "error", err)
		}
	}()
	failing := false
	for {
		// Asked for before the status is made, so that no change falls between the two.
		renewed, changed := a.raft.LeaseRenewal(), a.raft.LeaderChanged()
		err := w.write()
		if err != nil && !failing {
			a.log.Error("cannot write the status file: the SQL functions will say STOPPED", "error", err)
		}
		failing = err != nil
		w.stale = failing
		select {
		case <-ctx.Done():
			return
		case <-w.due():
		case <-renewed:
		case <-changed:
			w.stale = true
		case <-a.statusChanged:
			w.stale = true
		}
	}
}

// statusWriter writes the status file. A leader's lease has to be renewed in it a dozen times a second; the rest of the
// file is made less often.
type statusWriter struct {
	a     *Agent
	file  pgext.StatusFile
	last  api.Status // as it was made last
	body  pgext.StatusBody
	stale bool // something changed since
}

func (w *statusWriter) write() (err error) {
	if until, ok := w.mayRenew(time.Now()); ok {
		s := w.last
		s.LeaseUntil = until
		return w.file.WriteHead(s, w.body, time.Now(), freshFor)
	}
	w.last, w.stale = w.a.Status(), false
	w.a.database.saw(&w.last)
	if w.body, err = pgext.EncodeStatus(w.last); err != nil {
		return err
	}
	return w.file.WriteHead(w.last, w.body, w.last.AsOf, freshFor)
}

// mayRenew returns the lease with which the last status is still good: it is of a moment ago, of the same leadership, and
// nothing happened since.
func (w *statusWriter) mayRenew(now time.Time) (until time.Time, ok bool) {
	if w.stale || !w.last.IsLeader || now.Sub(w.last.AsOf) >= statusInterval || now.Before(w.last.AsOf) {
		return time.Time{}, false
	}
	until, ok = w.a.raft.Lease()
	return until, ok && w.a.raft.Term() == w.last.Term
}

// due says when the file is to be written again although nothing happened.
func (w *statusWriter) due() <-chan time.Time {
	if w.last.State == "leader" {
		return time.After(min(statusInterval, w.a.cfg.RaftTimers().Lease/leasePart))
	}
	return time.After(statusInterval)
}
