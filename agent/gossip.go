package agent

import (
	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/agent/status"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/internal/version"
	"github.com/pgraft/pgraft/membership"
)

// protocol is the version of what agents say to each other; each release can talk to the one before it.
const protocol = 1

// ownMeta is what this node tells the others about itself.
func ownMeta(cfg *config.Config, hasState bool) membership.Meta {
	return membership.Meta{
		RaftAddress: cfg.RaftAdvertise(), HTTPAddress: cfg.HTTPURLForOthers(), PostgresAddress: cfg.PostgresAdvertise(),
		Version: version.Version, Protocol: protocol, Expect: cfg.BootstrapExpect,
		NonVoting: cfg.NonVoting, Witness: cfg.Witness, Zone: cfg.Zone, HasState: hasState,
	}
}

// leaderMembers turns gossip's view into what reconciliation compares with the registry.
func leaderMembers(members []membership.Member) []leader.Member {
	out := make([]leader.Member, 0, len(members))
	for _, m := range members {
		out = append(out, leader.Member{Status: m.Status, ClusterID: m.Meta.ClusterID, HasState: m.Meta.HasState,
			StatusChanged: m.StatusChanged, Node: fsm.Node{
				Name: m.Name, ServerID: m.Meta.ServerID, RaftAddress: m.Meta.RaftAddress, GossipAddress: m.Address.String(),
				HTTPAddress: m.Meta.HTTPAddress, PostgresAddress: m.Meta.PostgresAddress, Version: m.Meta.Version,
				Protocol: m.Meta.Protocol, NonVoting: m.Meta.NonVoting, Witness: m.Meta.Witness, Zone: m.Meta.Zone,
			}})
	}
	return out
}

func statusMembers(members []membership.Member) map[string]status.Member {
	out := make(map[string]status.Member, len(members))
	for _, m := range members {
		out[m.Meta.ServerID] = status.Member{Status: m.Status, LastSeen: m.LastSeen}
	}
	return out
}

func apiMembers(members []membership.Member) []api.Member {
	out := make([]api.Member, 0, len(members))
	for _, m := range members {
		out = append(out, m.API())
	}
	return out
}
