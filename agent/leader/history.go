package leader

import (
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// Scene is what the history compares: who is alive and who votes, by server id.
type Scene struct {
	Status map[string]string
	Voter  map[string]bool
	Name   map[string]string
	order  []string
}

// SceneOf sums up one round's inputs. Servers come in the order of the Raft configuration.
func SceneOf(in Inputs) Scene {
	s := Scene{Status: map[string]string{}, Voter: map[string]bool{}, Name: map[string]string{}}
	for _, m := range in.Members {
		s.Status[m.Node.ServerID], s.Name[m.Node.ServerID] = m.Status, m.Node.Name
	}
	for _, server := range in.RaftConfig {
		id := string(server.ID)
		s.Voter[id] = server.Suffrage == raft.Voter
		s.order = append(s.order, id)
	}
	return s
}

// History tells as events what became different between two rounds. What a leader finds when it begins is no news.
func History(before, now Scene) []fsm.EventAppend {
	var events []fsm.EventAppend
	tell := func(kind, id, what string) {
		name := now.Name[id]
		if name == "" {
			name = id
		}
		events = append(events, fsm.EventAppend{Type: kind, Node: name, Message: "node " + name + " " + what})
	}
	for _, id := range now.order {
		was, is := before.Status[id], now.Status[id]
		switch {
		case was == api.NodeAlive && is == api.NodeFailed:
			tell("failed", id, "does not answer")
		case was == api.NodeFailed && is == api.NodeAlive:
			tell("alive", id, "is back")
		}
		voted, known := before.Voter[id]
		switch {
		case known && !voted && now.Voter[id]:
			tell("promoted", id, "votes from now on")
		case known && voted && !now.Voter[id]:
			tell("demoted", id, "has no vote any more")
		}
	}
	return events
}
