package leader

import (
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
)

// KnownServers tells autopilot which servers there are: those of the registry, and those that gossip sees and the
// registry does not have yet. A registered server that gossip has forgotten is a failed one.
func KnownServers(registry []fsm.Node, members []Member) []consensus.AutopilotServer {
	seen := make(map[string]Member, len(members))
	for _, m := range members {
		seen[m.Node.ServerID] = m
	}
	servers := make([]consensus.AutopilotServer, 0, len(registry))
	for _, n := range registry {
		m, ok := seen[n.ServerID]
		delete(seen, n.ServerID)
		if !ok {
			m = Member{Status: api.NodeFailed}
		}
		servers = append(servers, autopilotServer(n, m))
	}
	for _, m := range members {
		if _, unregistered := seen[m.Node.ServerID]; unregistered {
			servers = append(servers, autopilotServer(m.Node, m))
		}
	}
	return servers
}

func autopilotServer(n fsm.Node, m Member) consensus.AutopilotServer {
	server := consensus.AutopilotServer{
		ID: raft.ServerID(n.ServerID), Name: n.Name, Address: n.RaftAddress, Version: n.Version,
		NonVoting: n.NonVoting, Status: m.Status,
	}
	if m.Status != api.NodeAlive {
		server.FailedSince = m.StatusChanged
	}
	return server
}
