package consensus

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// promoter makes autopilot's decisions. It promotes like the library's own, but never a server that is meant to have
// no vote, and it is slower to call a server dead.
type promoter struct {
	autopilot.StablePromoter
	pilot *Autopilot

	mu   sync.Mutex                  // guards dead
	dead map[raft.ServerID]time.Time // since when servers are not alive, as this leader saw it
}

func newPromoter(a *Autopilot) *promoter {
	return &promoter{pilot: a, dead: make(map[raft.ServerID]time.Time)}
}

// GetNodeTypes implements autopilot.Promoter: what KnownServers says stays.
func (p *promoter) GetNodeTypes(_ *autopilot.Config, state *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := make(map[raft.ServerID]autopilot.NodeType)
	for id, server := range state.Servers {
		types[id] = server.Server.NodeType
	}
	return types
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p *promoter) CalculatePromotionsAndDemotions(config *autopilot.Config, state *autopilot.State) autopilot.RaftChanges {
	changes := p.StablePromoter.CalculatePromotionsAndDemotions(config, state)
	changes.Promotions = slices.DeleteFunc(changes.Promotions, func(id raft.ServerID) bool {
		return state.Servers[id].Server.NodeType != autopilot.NodeVoter
	})
	slices.Sort(changes.Promotions)
	for id, server := range state.Servers {
		known, ok := server.Server.Ext.(AutopilotServer)
		// Not the leader: it hands leadership over first, which is for an operator to do.
		if ok && known.NonVoting && server.State == autopilot.RaftVoter {
			changes.Demotions = append(changes.Demotions, id)
		}
	}
	slices.Sort(changes.Demotions)
	return changes
}

// FilterFailedServerRemovals implements autopilot.Promoter. The library removes at once what it takes for dead, and
// servers that nobody knows without regard to the minimum: all of them pass by planRemovals here, and leave by the one
// way that tells the registry.
func (p *promoter) FilterFailedServerRemovals(
	_ *autopilot.Config, state *autopilot.State, failed *autopilot.FailedServers,
) *autopilot.FailedServers {
	settings, ok := p.pilot.settings()
	if !ok {
		return &autopilot.FailedServers{}
	}
	return p.filter(settings, len(state.Voters), failed, time.Now())
}

func (p *promoter) filter(
	settings autopilotSettings, voters int, failed *autopilot.FailedServers, now time.Time,
) *autopilot.FailedServers {
	candidates := p.candidates(failed, now)
	allowed := &autopilot.FailedServers{}
	for _, c := range planRemovals(settings, voters, candidates, now) {
		if c.voter {
			allowed.FailedVoters = append(allowed.FailedVoters, c.server)
		} else {
			allowed.FailedNonVoters = append(allowed.FailedNonVoters, c.server)
		}
	}
	return allowed
}

// removal is a server that is not alive.
type removal struct {
	server *autopilot.Server
	voter  bool
	since  time.Time
}

func (p *promoter) candidates(failed *autopilot.FailedServers, now time.Time) []removal {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[raft.ServerID]time.Time)
	var candidates []removal
	add := func(server *autopilot.Server, voter bool) {
		since, ok := p.dead[server.ID]
		if !ok {
			since = now
		}
		if known, ok := server.Ext.(AutopilotServer); ok && !known.FailedSince.IsZero() && known.FailedSince.Before(since) {
			since = known.FailedSince
		}
		seen[server.ID] = since
		candidates = append(candidates, removal{server, voter, since})
	}
	for _, id := range failed.StaleNonVoters {
		add(&autopilot.Server{ID: id}, false)
	}
	for _, id := range failed.StaleVoters {
		add(&autopilot.Server{ID: id}, true)
	}
	for _, server := range failed.FailedNonVoters {
		add(server, false)
	}
	for _, server := range failed.FailedVoters {
		add(server, true)
	}
	p.dead = seen
	return candidates
}

// planRemovals chooses who may go: those that are dead for longer than the threshold, the longest first; of voters so
// many that min_quorum of them remain, and less than half of them in one go.
func planRemovals(settings autopilotSettings, voters int, candidates []removal, now time.Time) []removal {
	slices.SortFunc(candidates, func(a, b removal) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.server.ID, b.server.ID))
	})
	var chosen []removal
	removed := 0
	for _, c := range candidates {
		switch {
		case now.Sub(c.since) < settings.deadServerThreshold:
		case !c.voter:
			chosen = append(chosen, c)
		case voters-removed-1 >= int(settings.MinQuorum) && removed < (voters-1)/2:
			chosen = append(chosen, c)
			removed++
		}
	}
	return chosen
}
