package agent

import (
	"context"
	"time"

	"github.com/pgraft/pgraft/agent/health"
	"github.com/pgraft/pgraft/api"
)

// newMeasurer prepares the measuring of what the status does not know by itself.
func (a *Agent) newMeasurer() *health.Measurer {
	cfg := health.Config{
		DataDir: a.cfg.DataDir, Peers: a.prober.Peers, Elections: a.electionTimes,
		Started: func() uint64 { return a.raft.Stats().Elections },
	}
	if a.tls != nil {
		cfg.Expires = a.tls.Expiry
	}
	if a.database != nil {
		cfg.Postgres = a.measurePostgres
	}
	return health.New(cfg)
}

// checks judges this node, of which the rest of the status is made already.
//
// Of the clocks it takes what the peers answered by now: the latest measurement of a cluster that has just begun is from
// before any of them did.
func (a *Agent) checks(s *api.Status) []api.Check {
	measured := a.health.Latest()
	measured.Clocks = health.Clocks(a.prober.Peers())
	return health.Checks(health.Facts{Status: s, DataDir: a.cfg.DataDir, Measured: measured})
}

// info is every value in force, where it came from, and whether it fits what this node measures.
func (a *Agent) info() []api.InfoValue {
	cfg, s := a.current(), a.Status()
	values := cfg.Values()
	unfit := health.Unfit(health.Facts{Status: &s, DataDir: a.cfg.DataDir, Measured: a.health.Latest()}, health.Settings{
		Profile: cfg.Gossip.Profile, Own: cfg.Raft.HeartbeatTimeout != 0, Heartbeat: cfg.RaftTimers().Heartbeat, MaxBatchDelay: cfg.Raft.MaxBatchDelay,
	})
	for i := range values {
		values[i].Unfit = unfit[values[i].Name]
	}
	return values
}

// electionTimes are those of the history.
func (a *Agent) electionTimes() []time.Time {
	_, events := a.fsm.Store().Events(nil, 0, 0)
	var times []time.Time
	for _, e := range events {
		if e.Type == api.EventElection {
			times = append(times, e.Time)
		}
	}
	return times
}

// measurePostgres looks at the PostgreSQL beside the agent. One that is down is left alone: the status says so.
func (a *Agent) measurePostgres(ctx context.Context) health.Postgres {
	var found health.Postgres
	if a.cfg.Managed() {
		found.Disk = health.PostgresDisk(a.cfg.Postgres.DataDir)
	}
	if !a.database.status().Up {
		return found
	}
	conn, err := a.database.connect(ctx)
	if err != nil {
		found.SlotsErr = err.Error()
		return found
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	found.Primary, found.Slots, err = health.ReadSlots(ctx, conn)
	if err != nil {
		found.SlotsErr = err.Error()
	}
	if !a.cfg.Managed() {
		dir, err := health.ReadDataDir(ctx, conn)
		if err != nil {
			found.Disk.Err = err.Error()
			return found
		}
		found.Disk = health.PostgresDisk(dir)
	}
	return found
}
