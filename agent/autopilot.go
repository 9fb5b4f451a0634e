package agent

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
)

// autopilotConfig is what is in force: the cluster's setting if there is one, else this node's files.
func autopilotConfig(files config.Autopilot, setting *api.Setting) (api.AutopilotConfig, error) {
	c := api.AutopilotConfig{
		CleanupDeadServers: files.CleanupDeadServers, MinQuorum: uint(files.MinQuorum),
		DeadServerThreshold:     files.DeadServerThreshold.String(),
		ServerStabilizationTime: files.ServerStabilizationTime.String(),
		MaxTrailingLogs:         files.MaxTrailingLogs, LastContactThreshold: files.LastContactThreshold.String(),
	}
	if setting == nil {
		return c, nil
	}
	if err := json.Unmarshal([]byte(setting.Value), &c); err != nil {
		return c, fmt.Errorf("read setting %s: %w", config.AutopilotSetting, err)
	}
	return c, nil
}

func (a *Agent) autopilotConfig() (api.AutopilotConfig, error) {
	_, setting := a.fsm.Store().Setting(nil, config.AutopilotSetting)
	return autopilotConfig(a.cfg.Autopilot, setting)
}

// AutopilotConfig returns what is in force.
func (o operator) AutopilotConfig(context.Context) (api.AutopilotConfig, error) {
	return o.a.autopilotConfig()
}

// SetAutopilotConfig changes it for the whole cluster.
func (o operator) SetAutopilotConfig(ctx context.Context, cfg api.AutopilotConfig) error {
	value, err := json.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("encode autopilot's configuration: %w", err)
	}
	_, err = proposer(o).Propose(ctx, fsm.SettingSet{Name: config.AutopilotSetting, Value: string(value)})
	return err
}

// AutopilotState returns the leader's judgement of the servers.
func (o operator) AutopilotState(context.Context) (api.AutopilotState, error) {
	if !o.a.raft.IsLeader() {
		return api.AutopilotState{}, o.notLeader("judge the servers")
	}
	return o.a.autopilot.State(), nil
}

// autopilotSource tells autopilot what gossip and registry know.
type autopilotSource struct{ a *Agent }

// AutopilotConfig returns what is in force now.
func (s *autopilotSource) AutopilotConfig() (api.AutopilotConfig, error) {
	return s.a.autopilotConfig()
}

// KnownServers returns all servers that gossip and registry know.
func (s *autopilotSource) KnownServers() []consensus.AutopilotServer {
	_, registry := s.a.fsm.Store().Nodes(nil)
	return leader.KnownServers(registry, leaderMembers(s.a.gossip.Members()))
}

// ServerRemoved retires a dead server whose vote autopilot has taken, so that its return is noticed and refused.
func (s *autopilotSource) ServerRemoved(server consensus.AutopilotServer, reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), consensus.DefaultProposeTimeout)
	defer cancel()
	op := fsm.NodeRemove{ServerID: string(server.ID), Reason: reason}
	if _, err := (proposer{s.a}).Propose(ctx, op); err != nil {
		s.a.log.Warn("dead server is out of the Raft configuration but still registered", "node", server.Name, "error", err)
	}
}
