package agent

import (
	"context"
	"fmt"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/agent/status"
	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/pgext"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/managed"
)

// serverStatus is the managed PostgreSQL for the status, nil where there is none.
func (a *Agent) serverStatus() *status.Server {
	if a.managed == nil {
		return nil
	}
	c := a.managed.drive()
	if c == nil {
		return &status.Server{}
	}
	s, v := c.Status(), c.View()
	out := &status.Server{
		Running: v.Running, InRecovery: v.Standby, Gated: s.Gated, ReadOnly: s.ReadOnly, Fenced: s.Role == controller.RoleFenced,
		WasPrimary: !v.Standby, Epoch: v.Position.Epoch, Timeline: s.Timeline, LSN: s.LSN, ReplayLSN: s.ReplayLSN,
		ProofUntil: a.provenUntil(), PendingRestart: s.PendingRestart,
		Action: actionName(s.Action), Done: s.Done, Total: s.Total, Error: s.Problem,
	}
	if s.InDoubtLSN == "" {
		out.Acked = s.LSN
	}
	a.fillReplicas(out, v)
	return out
}

// fillReplicas says who streams from this primary, and how many of them acknowledge its commits.
func (a *Agent) fillReplicas(out *status.Server, v controller.View) {
	store := a.fsm.Store()
	rule := a.primacy().Sync
	for _, standby := range v.Standbys {
		nodeID, memory, ok := managed.ParseStandbyName(standby.Name)
		node, known := store.NodeByID(nodeID)
		if !ok || !known {
			continue
		}
		if out.Replicas == nil {
			out.Replicas = make(map[string]probe.Replica)
		}
		out.Replicas[node.ServerID] = probe.Replica{State: standby.State, FlushLSN: standby.Flush, ReplayLSN: standby.Replay}
		m, member := primacy.MemberOf(rule, node.ServerID)
		if member && !m.Lost && m.Memory == memory && standby.State == "streaming" {
			out.Acks++
		}
	}
}

// actionName is the status's word for what a controller does, "" for what takes no time.
func actionName(a controller.Action) string {
	switch a {
	case controller.InitDB, controller.Adopt:
		return status.ActionInitDB
	case controller.Clone:
		return status.ActionClone
	case controller.Rewind:
		return status.ActionRewind
	case controller.StartPrimary, controller.StartStandby:
		return status.ActionStart
	case controller.Stop, controller.HandOver:
		return status.ActionStop
	case controller.Restart:
		return status.ActionRestart
	case controller.PromoteSelf:
		return status.ActionPromote
	}
	return ""
}

// probeServer is what this node tells the others of its PostgreSQL.
func probeServer(s *status.Server) (probe.Server, map[string]probe.Replica) {
	if s == nil {
		return probe.Server{}, nil
	}
	return probe.Server{
		Epoch: s.Epoch, Timeline: s.Timeline, LSN: s.LSN, ReplayLSN: s.ReplayLSN, PendingRestart: s.PendingRestart,
		Action: s.Action, ProgressDone: s.Done, ProgressTotal: s.Total,
	}, s.Replicas
}

// localHands puts the place of this agent into the data directory before each start: on a standby, whose data is the
// primary's, the file that came with it names another agent.
type localHands struct {
	controller.Postgres
	dataDir string
	local   pgext.Local
}

// Start starts the server.
func (h localHands) Start(ctx context.Context) error {
	if err := pgext.WriteLocal(h.dataDir, h.local); err != nil {
		return fmt.Errorf("say where the agent is: %w", err)
	}
	return h.Postgres.Start(ctx)
}

func (a *Agent) hands() controller.Postgres {
	return localHands{
		Postgres: controller.Hands{Server: a.managed.server}, dataDir: a.cfg.Postgres.DataDir,
		local: pgext.Local{RunDir: a.cfg.RunDir, ConsolePort: a.cfg.Ports.Console, NodeName: a.cfg.NodeName},
	}
}
