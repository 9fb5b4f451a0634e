package consensus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/pgraft/pgraft/api"
)

// AutopilotServer is a server as those who watch over membership know it.
type AutopilotServer struct {
	ID        raft.ServerID
	Name      string
	Address   string
	Version   string
	Status    string // api.NodeAlive, api.NodeFailed or api.NodeLeft
	NonVoting bool
	// FailedSince is since when the server is not alive, zero if that is not known: then it counts from when this
	// leader first saw it so.
	FailedSince time.Time
}

// AutopilotSource tells autopilot what Raft doesn't know. Its methods are called while this node leads, and must not
// wait for anything.
type AutopilotSource interface {
	// AutopilotConfig returns what is in force now.
	AutopilotConfig() (api.AutopilotConfig, error)
	// KnownServers returns all servers that gossip and registry know, this one too.
	KnownServers() []AutopilotServer
	// ServerRemoved is told, in a goroutine of its own, that a dead server was taken out of the Raft configuration.
	ServerRemoved(server AutopilotServer, reason string)
}

// Autopilot promotes servers that have caught up and proved stable, takes the vote from those that are meant to have
// none, and removes the dead. It works on the leader only: see Run.
type Autopilot struct {
	node              *Node
	source            AutopilotSource
	updateInterval    time.Duration
	reconcileInterval time.Duration

	removals sync.WaitGroup

	mu      sync.Mutex           // guards running
	running *autopilot.Autopilot // nil while this node does not lead
}

// NewAutopilot returns an autopilot that is not at work yet.
func NewAutopilot(n *Node, source AutopilotSource) *Autopilot {
	return &Autopilot{
		node: n, source: source,
		updateInterval: autopilot.DefaultUpdateInterval, reconcileInterval: autopilot.DefaultReconcileInterval,
	}
}

// Run works until ctx ends. The leader calls it when it gains leadership and ends it when it loses it.
func (a *Autopilot) Run(ctx context.Context) {
	// A server's id is what tells it apart; the order in which servers came and went in another term does not matter,
	// so each term of leadership begins with a new instance.
	pilot := autopilot.New(a.node.raft, &autopilotDelegate{a},
		autopilot.WithLogger(a.node.logger), autopilot.WithPromoter(newPromoter(a)),
		autopilot.WithUpdateInterval(a.updateInterval), autopilot.WithReconcileInterval(a.reconcileInterval))
	a.set(pilot)
	defer a.set(nil)
	pilot.Start(ctx)
	<-ctx.Done()
	<-pilot.Stop()
	a.removals.Wait()
}

func (a *Autopilot) set(pilot *autopilot.Autopilot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = pilot
}

// RemoveDead looks for dead servers at once.
func (a *Autopilot) RemoveDead() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running != nil {
		a.running.RemoveDeadServers()
	}
}

// State returns the leader's judgement of the servers, which is empty elsewhere.
func (a *Autopilot) State() api.AutopilotState {
	a.mu.Lock()
	pilot := a.running
	a.mu.Unlock()
	if pilot == nil {
		return api.AutopilotState{}
	}
	return describeState(pilot.GetState())
}

func describeState(state *autopilot.State) api.AutopilotState {
	if state == nil {
		return api.AutopilotState{}
	}
	described := api.AutopilotState{
		Healthy: state.Healthy, FailureTolerance: state.FailureTolerance, Leader: string(state.Leader),
	}
	for _, id := range state.Voters {
		described.Voters = append(described.Voters, string(id))
	}
	for id, server := range state.Servers {
		described.Servers = append(described.Servers, api.AutopilotServer{
			ServerID: string(id), Name: server.Server.Name, Address: string(server.Server.Address),
			NodeStatus: string(server.Server.NodeStatus), Status: string(server.State),
			Healthy: server.Health.Healthy, StableSince: server.Health.StableSince,
			LastContact: server.Stats.LastContact.String(), LastTerm: server.Stats.LastTerm, LastIndex: server.Stats.LastIndex,
		})
	}
	slices.SortFunc(described.Servers, func(a, b api.AutopilotServer) int { return strings.Compare(a.ServerID, b.ServerID) })
	return described
}

// autopilotSettings are api.AutopilotConfig with its durations read.
type autopilotSettings struct {
	autopilot.Config
	deadServerThreshold time.Duration
}

func readAutopilotConfig(c api.AutopilotConfig) (autopilotSettings, error) {
	s := autopilotSettings{Config: autopilot.Config{
		CleanupDeadServers: c.CleanupDeadServers, MinQuorum: c.MinQuorum, MaxTrailingLogs: c.MaxTrailingLogs,
	}}
	for _, field := range []struct {
		name, text string
		value      *time.Duration
	}{
		{"dead_server_threshold", c.DeadServerThreshold, &s.deadServerThreshold},
		{"server_stabilization_time", c.ServerStabilizationTime, &s.ServerStabilizationTime},
		{"last_contact_threshold", c.LastContactThreshold, &s.LastContactThreshold},
	} {
		value, err := time.ParseDuration(field.text)
		if err != nil || value < 0 {
			return s, fmt.Errorf("autopilot %s: %q is not a duration", field.name, field.text)
		}
		*field.value = value
	}
	return s, nil
}

func (a *Autopilot) settings() (autopilotSettings, bool) {
	config, err := a.source.AutopilotConfig()
	if err == nil {
		var settings autopilotSettings
		if settings, err = readAutopilotConfig(config); err == nil {
			return settings, true
		}
	}
	a.node.logger.Error("autopilot does nothing without a sound configuration", "error", err)
	return autopilotSettings{}, false
}

// autopilotDelegate implements autopilot.ApplicationIntegration.
type autopilotDelegate struct{ *Autopilot }

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (d *autopilotDelegate) AutopilotConfig() *autopilot.Config {
	settings, _ := d.settings()
	return &settings.Config // its zero value removes nobody
}

// NotifyState implements autopilot.ApplicationIntegration.
func (d *autopilotDelegate) NotifyState(*autopilot.State) {}

// KnownServers implements autopilot.ApplicationIntegration. A server without a NodeType counts as one that will never
// vote, and none would ever be removed.
func (d *autopilotDelegate) KnownServers() map[raft.ServerID]*autopilot.Server {
	servers := make(map[raft.ServerID]*autopilot.Server)
	for _, server := range d.source.KnownServers() {
		known := &autopilot.Server{
			ID: server.ID, Name: server.Name, Address: raft.ServerAddress(server.Address), Version: server.Version,
			NodeStatus: autopilot.NodeStatus(server.Status), RaftVersion: raft.ProtocolVersionMax,
			IsLeader: server.ID == d.node.cfg.ServerID, Ext: server,
		}
		if !server.NonVoting {
			known.NodeType = autopilot.NodeVoter
		}
		servers[server.ID] = known
	}
	return servers
}

// FetchServerStats implements autopilot.ApplicationIntegration.
func (d *autopilotDelegate) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var mu sync.Mutex
	var wg sync.WaitGroup
	all := make(map[raft.ServerID]*autopilot.ServerStats)
	for id := range servers {
		wg.Go(func() {
			stats, err := d.node.FetchStats(ctx, id)
			if err != nil {
				d.node.logger.Debug("autopilot cannot ask a server", "server_id", id, "error", err)
				stats = ServerStats{LastContact: -1}
			}
			mu.Lock()
			defer mu.Unlock()
			all[id] = &autopilot.ServerStats{LastContact: stats.LastContact, LastTerm: stats.LastTerm, LastIndex: stats.LastIndex}
		})
	}
	wg.Wait()
	return all
}

// RemoveFailedServer implements autopilot.ApplicationIntegration.
func (d *autopilotDelegate) RemoveFailedServer(server *autopilot.Server) {
	d.removals.Go(func() {
		ctx, cancel := context.WithTimeout(d.node.ctx, DefaultProposeTimeout)
		defer cancel()
		if err := d.node.RemoveServer(ctx, server.ID); err != nil {
			d.node.logger.Error("cannot remove a dead server", "server_id", server.ID, "error", err)
			return
		}
		d.node.logger.Info("removed a dead server", "server_id", server.ID, "name", server.Name)
		removed, ok := server.Ext.(AutopilotServer)
		if !ok {
			removed = AutopilotServer{ID: server.ID}
		}
		d.source.ServerRemoved(removed, "dead")
	})
}
