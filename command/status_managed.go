package command

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// managed tells whether pgraft runs the cluster's PostgreSQL.
func managed(s *api.Status) bool { return s.Epoch > 0 || s.Postgres.Mode == "managed" }

func primaryLine(s *api.Status) string {
	line := fmt.Sprintf("%s (node %d), epoch %d", s.PrimaryName, s.PrimaryID, s.Epoch)
	switch {
	case s.Epoch == 0 && s.Waiting != "":
		return "none yet: " + s.Waiting
	case s.Epoch == 0:
		return "none yet: where PostgreSQL begins is not decided"
	case s.Phase == api.PhaseFenced:
		line = fmt.Sprintf("NONE: epoch %d is begun, and the nodes tell how far their data reaches", s.Epoch)
	case s.Phase == api.PhasePromoting:
		line = fmt.Sprintf("NONE: epoch %d is begun, and the chosen node is being promoted", s.Epoch)
	case s.PrimaryID == 0:
		line = fmt.Sprintf("none that is proven, epoch %d", s.Epoch)
	}
	if s.EpochReason != "" {
		line += " (" + s.EpochReason + ")"
	}
	if s.Handover != "" {
		line += "; switchover to " + s.Handover + " under way"
	}
	if s.Paused {
		line += "; automatic failover is PAUSED"
	}
	return line
}

func syncLine(s *api.Status) string {
	rule := s.Sync
	switch rule.Mode {
	case "":
		return "-"
	case api.SyncAsync:
		return "ASYNC: acknowledged before another node has them"
	}
	line := fmt.Sprintf("acknowledged when %d of %s have them, beside the primary", rule.Acks, count(len(rule.Members)-1, "other member"))
	if rule.Acks == 0 {
		line = "acknowledged by the primary alone"
	}
	line += ": " + strings.Join(rule.Members, ", ")
	if rule.Next != nil {
		line += fmt.Sprintf("; changing to %d of %s", rule.Next.Acks, strings.Join(rule.Next.Members, ", "))
	}
	return line
}

// managedLine is this node's own PostgreSQL.
func managedLine(s *api.Status) string {
	p := s.Postgres
	if p.Action != "" || !p.Up {
		doing := cmp.Or(actionText(p.Action, p.ProgressDone, p.ProgressTotal), "DOWN")
		return fmt.Sprintf("%s at %s (managed), %s", s.Role, p.Address, doing)
	}
	what := s.Role
	if p.ReadOnly {
		what += ", READ-ONLY"
	}
	line := fmt.Sprintf("%s at %s, database %s, managed, %s, timeline %d, WAL to %s; rows at index %d",
		shortVersion(p.ServerVersion), p.Address, p.Database, what, p.Timeline, cmp.Or(p.LSN, "?"), p.AppliedIndex)
	if p.InDoubtLSN != "" {
		line += fmt.Sprintf("; IN DOUBT: the last %s up to %s", bytesText(p.InDoubtBytes), p.InDoubtLSN)
	}
	return line
}

func managedTable(s *api.Status) *table {
	t := newTable("ID", "NODE", "STATUS", "RAFT", "ROLE", "POSTGRESQL", "SYNC", "LAG", "TL", "DOING")
	t.shrink = []int{1, 5}
	for _, n := range s.Nodes {
		name := n.Name
		if n.NodeID == s.NodeID {
			name += " (this)"
		}
		timeline := "-"
		if n.Timeline > 0 {
			timeline = strconv.FormatUint(uint64(n.Timeline), 10)
		}
		t.add(strconv.Itoa(n.NodeID), name, statusWord(n), raftWord(n), orDash(n.Role), orDash(n.PostgresAddress), syncWord(s, n), lagText(n),
			timeline, orDash(doing(s, n)))
	}
	return t
}

// syncWord says what a node is to the commits.
func syncWord(s *api.Status, n api.NodeStatus) string {
	switch {
	case n.Witness || s.Sync.Mode == "" || n.Name == "":
		return "-"
	case slices.Contains(s.Sync.Lost, n.Name):
		return "lost"
	case s.Sync.Mode == api.SyncAsync:
		return "async"
	case n.Sync:
		return "quorum"
	}
	return "no"
}

func lagText(n api.NodeStatus) string {
	switch {
	case n.Witness:
		return "-"
	case n.LagBytes < 0:
		return "?"
	}
	return bytesText(n.LagBytes)
}

// doing is what goes on with a node's PostgreSQL, or what waits.
func doing(s *api.Status, n api.NodeStatus) string {
	switch {
	case n.Status != api.NodeAlive:
		return "seen " + seen(s, n)
	case n.Action != "":
		return actionText(n.Action, n.ProgressDone, n.ProgressTotal)
	case len(n.PendingRestart) > 0:
		return "restart due"
	case n.Replication != "" && n.Replication != "streaming":
		return n.Replication
	}
	return ""
}

func actionText(action string, done, total int64) string {
	switch {
	case action == "":
		return ""
	case total > 0:
		return fmt.Sprintf("%s %d%% of %s", action, 100*min(done, total)/total, bytesText(total))
	case done > 0:
		return action + " " + bytesText(done)
	}
	return action
}
