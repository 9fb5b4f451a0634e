package health

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// managed tells whether pgraft runs the cluster's PostgreSQL.
func managed(s *api.Status) bool { return s.Epoch > 0 || s.Postgres.Mode == "managed" }

func pendingRestart(f Facts) *api.Check {
	if f.Status.Postgres.Mode != "managed" {
		return nil
	}
	c := &api.Check{Name: PendingRestart, Status: api.CheckOK, Message: "no parameter waits for a restart of this PostgreSQL"}
	if waiting := f.Status.Postgres.PendingRestart; len(waiting) > 0 {
		c.Status, c.Message = api.CheckWarning, "PostgreSQL must be restarted for: "+strings.Join(waiting, ", ")
		c.Next = "Restart the nodes one after the other, in a safe order: pgraft restart"
	}
	return c
}

// replication judges on the primary all standbys, and on a standby itself.
func replication(f Facts) *api.Check {
	s := f.Status
	if !managed(s) || s.Role != api.RolePrimary && s.Role != api.RoleStandby {
		return nil
	}
	c := &api.Check{Name: Replication, Status: api.CheckOK, Message: "there is no standby"}
	standbys, most := 0, int64(0)
	for _, n := range s.Nodes {
		if n.Witness || n.NodeID == s.PrimaryID || s.Role == api.RoleStandby && n.NodeID != s.NodeID {
			continue
		}
		standbys++
		most = max(most, n.LagBytes)
		if status, message := standby(s, n); severity(status) > severity(c.Status) {
			c.Status, c.Message, c.Next = status, message, "pgraft status shows what it does. Its agent's log: pgraft monitor -http-addr="+n.HTTPAddress
		}
	}
	switch {
	case c.Status != api.CheckOK || standbys == 0:
	case s.Role == api.RoleStandby:
		c.Message = "this standby is " + size(most) + " behind the primary"
	default:
		c.Message = fmt.Sprintf("%s, at most %s behind", count(standbys, "standby"), size(most))
		c.Message = strings.Replace(c.Message, "standbys", "standbys stream", 1)
	}
	return c
}

// standby judges one standby.
func standby(s *api.Status, n api.NodeStatus) (api.CheckStatus, string) {
	switch {
	case s.Role == api.RolePrimary && n.Status != api.NodeAlive:
		return api.CheckWarning, n.Name + " does not answer: nothing is replicated to it"
	case s.Role == api.RolePrimary && n.Replication != "streaming":
		return api.CheckWarning, n.Name + " does not stream from the primary"
	case n.LagBytes < 0:
		return api.CheckUnknown, "how far " + n.Name + " is behind is not known"
	case n.LagBytes >= lagCritical:
		return api.CheckCritical, fmt.Sprintf("%s is %s of WAL behind the primary", n.Name, size(n.LagBytes))
	case n.LagBytes >= lagWarning:
		return api.CheckWarning, fmt.Sprintf("%s is %s of WAL behind the primary", n.Name, size(n.LagBytes))
	}
	return api.CheckOK, ""
}

// syncMembers judges the rule by which commits are acknowledged.
func syncMembers(f Facts) *api.Check {
	rule := f.Status.Sync
	if rule.Mode == "" {
		return nil
	}
	c := &api.Check{Name: SyncMembers, Status: api.CheckOK}
	others := slices.DeleteFunc(slices.Clone(f.Status.Nodes), func(n api.NodeStatus) bool {
		return n.Witness || n.NonVoting || n.NodeID == f.Status.PrimaryID
	})
	switch {
	case len(rule.Lost) > 0:
		c.Status, c.Message = api.CheckWarning, "the data is gone of: "+strings.Join(rule.Lost, ", ")
		c.Next = "It is cloned anew by itself while the agent runs there; until then fewer nodes may fail."
	case rule.Mode == api.SyncAsync:
		c.Message = "commits are acknowledged at once, as configured"
		if rule.Warning != "" {
			c.Status, c.Message = api.CheckWarning, "commits are asynchronous: "+rule.Warning
			c.Next = `Where that must not be: synchronous = "quorum" in block postgres.`
		}
	case rule.Acks == 0 && len(others) > 0:
		c.Status, c.Message = api.CheckWarning, "commits are on the primary alone: no other node is there to acknowledge them"
		c.Next = "Start the standbys again: they count by themselves once they have caught up."
	default:
		c.Message = fmt.Sprintf("commits need %d of %d members beside the primary, and none has lost its data", rule.Acks, max(len(rule.Members)-1, 0))
	}
	return c
}

func versions(f Facts) *api.Check {
	var found []string
	for _, n := range f.Status.Nodes {
		if n.Status == api.NodeAlive && n.Version != "" && !slices.Contains(found, n.Version) {
			found = append(found, n.Version)
		}
	}
	if len(f.Status.Nodes) < 2 {
		return nil
	}
	slices.Sort(found)
	if len(found) > 1 {
		return &api.Check{
			Name: Versions, Status: api.CheckWarning, Message: "the nodes run different versions: " + strings.Join(found, ", "),
			Next: "Finish the upgrade: pgraft members shows who runs which.",
		}
	}
	return &api.Check{Name: Versions, Status: api.CheckOK, Message: "the nodes that answer run " + strings.Join(found, "")}
}
