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

// How often the status file is written, as a part of the leader's lease: often enough that a leader's claim in the file
// never runs out between two writes, and no more, since each costs a file.
const leasePart = 3

// freshFor is how long readers of the status file take a silent agent for alive. Above it is dead or frozen.
const freshFor = time.Second

// followerInterval is how often a node without a claim to renew writes its status file.
const followerInterval = 200 * time.Millisecond

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
	in.Recovering = in.ClusterID == "" || a.database.recovering() || !a.caughtUp()
	in.Fault = a.faultNow()
	return status.Build(in)
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
	file := pgext.StatusFile{Path: a.cfg.StatusPath()}
	defer func() {
		if err := file.Remove(); err != nil {
			a.log.Warn("status file stays; it runs out by itself", "error", err)
		}
	}()
	failing := false
	for {
		s := a.Status()
		err := file.Write(s, s.AsOf, freshFor)
		if err != nil && !failing {
			a.log.Error("cannot write the status file: the SQL functions will say STOPPED", "error", err)
		}
		failing = err != nil
		if !a.waitStatus(ctx, s.State == "leader") {
			return
		}
	}
}

// waitStatus waits until the file is to be written again; false when the agent stops.
func (a *Agent) waitStatus(ctx context.Context, leading bool) bool {
	interval := followerInterval
	if leading {
		interval = a.cfg.RaftTimers().Lease / leasePart
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-a.statusChanged:
	}
	return true
}
