package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgraft/pgraft/api"
)

func checkPrimary(s *api.Status) []problem {
	if s.Epoch == 0 || !s.HasQuorum || s.PrimaryID != 0 {
		return nil
	}
	what := fmt.Sprintf("PostgreSQL has no primary in epoch %d: nothing can be written.", s.Epoch)
	if s.Phase == api.PhaseReady {
		what = fmt.Sprintf("This node can't prove that it is the primary of epoch %d: it takes no writes.", s.Epoch)
	}
	if s.Waiting != "" {
		what += " It is waited for this: " + sentence(s.Waiting)
	}
	return []problem{{
		what: what,
		next: "A failover takes about a second: look again. If it lasts: pgraft events tells which nodes have not reported; start them. " +
			"Only if they are gone for good: pgraft failover -h",
	}}
}

func checkInDoubt(s *api.Status) []problem {
	if s.InDoubtLSN == "" {
		return nil
	}
	return []problem{{
		what: fmt.Sprintf("The PostgreSQL of %s holds %s of WAL, up to %s, that may never have been acknowledged.", s.Name,
			bytesText(s.Postgres.InDoubtBytes), s.InDoubtLSN),
		next: "Don't rely on rows read from it. Once it is in touch with the cluster they are either acknowledged, or taken back: pgraft events says which.",
	}}
}

func checkSync(s *api.Status) []problem {
	var out []problem
	dataNodes := 0
	for _, n := range s.Nodes {
		if !n.Witness && !n.NonVoting {
			dataNodes++
		}
	}
	rule := s.Sync
	switch {
	case rule.Mode == api.SyncAsync && rule.Warning != "":
		out = append(out, problem{
			what: "Commits are asynchronous: " + rule.Warning + ".",
			next: `Where that must not be: synchronous = "quorum" in block postgres.`,
		})
	case rule.Mode == api.SyncQuorum && rule.Acks == 0 && dataNodes > 1:
		out = append(out, problem{
			what: "Commits are on the primary alone: no other node is there to acknowledge them.",
			next: "Start the standbys again: they count by themselves once they have caught up.",
		})
	}
	if len(rule.Lost) > 0 {
		out = append(out, problem{
			what: "The data is gone of: " + strings.Join(rule.Lost, ", ") + ".",
			next: "It is cloned anew by itself while the agent runs there; until then fewer nodes may fail.",
		})
	}
	return out
}

func checkPaused(s *api.Status) []problem {
	if !s.Paused {
		return nil
	}
	return []problem{{what: "Automatic failover is paused: a primary that is lost is not replaced.", next: "End it with: pgraft resume"}}
}

func checkPendingRestart(s *api.Status) []problem {
	var nodes, parameters []string
	for _, n := range s.Nodes {
		if len(n.PendingRestart) == 0 {
			continue
		}
		if n.Role == api.RolePrimary {
			nodes = append(nodes, n.Name)
		} else {
			nodes = slices.Insert(nodes, 0, n.Name)
		}
		for _, p := range n.PendingRestart {
			if !slices.Contains(parameters, p) {
				parameters = append(parameters, p)
			}
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	slices.Sort(parameters)
	return []problem{{
		what: fmt.Sprintf("PostgreSQL must be restarted on %s for: %s.", strings.Join(nodes, ", "), strings.Join(parameters, ", ")),
		next: "Restart them one after the other, in a safe order: pgraft restart",
	}}
}
