package command

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// drillLag is how much WAL a standby may have to replay in a cluster that is whole.
const drillLag = 16 << 20

// drillObstacles says what a drill would make worse, or could not tell apart from its own doing. It is pure.
func drillObstacles(s *api.Status, node string, gentle bool) []string {
	switch {
	case !managed(s):
		return []string{"pgraft does not manage this PostgreSQL"}
	case !s.HasQuorum:
		return []string{"the quorum is lost as seen from here"}
	case s.PrimaryID == 0 || s.Phase != api.PhaseReady:
		return []string{"there is no primary"}
	}
	var why []string
	if s.Paused {
		why = append(why, "automatic failover is paused (pgraft resume ends that)")
	}
	if s.Handover != "" {
		why = append(why, "a switchover is under way")
	}
	if s.Sync.Mode == api.SyncAsync && !gentle {
		why = append(why, "commits are asynchronous, and a failover may lose some: use -switchover")
	}
	why = append(why, drillUnwell(s)...)
	if others := dataNodes(s); len(others) < 2 {
		why = append(why, "there is no standby that could take over")
	}
	if node != "" {
		why = append(why, drillTarget(s, node)...)
	}
	return why
}

// dataNodes are those that may be primary.
func dataNodes(s *api.Status) []api.NodeStatus {
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(n api.NodeStatus) bool { return n.Witness || n.NonVoting })
}

// drillUnwell names the nodes that keep the cluster from being whole.
func drillUnwell(s *api.Status) []string {
	var why []string
	for _, n := range s.Nodes {
		if n.Status != api.NodeAlive {
			why = append(why, n.Name+" is "+n.Status)
			continue
		}
		if n.Witness || n.NonVoting || n.NodeID == s.PrimaryID {
			continue
		}
		switch {
		case n.Action != "":
			why = append(why, n.Name+" is busy: "+actionText(n.Action, n.ProgressDone, n.ProgressTotal))
		case n.Role != api.RoleStandby || n.Replication != "streaming":
			why = append(why, n.Name+" does not stream from the primary")
		case n.LagBytes < 0 || n.LagBytes > drillLag:
			why = append(why, n.Name+" is behind: "+lagText(n))
		case s.Sync.Mode == api.SyncQuorum && (!slices.Contains(s.Sync.Members, n.Name) || s.Sync.Next != nil || slices.Contains(s.Sync.Lost, n.Name)):
			why = append(why, n.Name+" does not count for commits yet")
		}
	}
	return why
}

func drillTarget(s *api.Status, node string) []string {
	i := slices.IndexFunc(s.Nodes, func(n api.NodeStatus) bool {
		return node == n.Name || node == n.ServerID || node == strconv.Itoa(n.NodeID)
	})
	switch {
	case i < 0:
		return []string{"there is no node " + node}
	case s.Nodes[i].NodeID == s.PrimaryID:
		return []string{node + " is the primary already"}
	case s.Nodes[i].Witness || s.Nodes[i].NonVoting:
		return []string{node + " can't be primary"}
	}
	return nil
}

func drillPlan(s *api.Status, node string, gentle bool) string {
	how := "is cut off and replaced by"
	if gentle {
		how = "hands over to"
	}
	return fmt.Sprintf("%s, the primary of cluster %s in epoch %d, %s %s while one connection writes to the table %s, which is dropped at the end. %s comes "+
		"back as a standby.", s.PrimaryName, s.ClusterName, s.Epoch, how, cmp.Or(node, "the best standby"), drillTable, s.PrimaryName)
}

// drillMissing says what keeps the drill from its end: the old primary must follow and count, and all others again, too.
func drillMissing(now, before *api.Status, epoch uint64) string {
	if !now.HasQuorum {
		return "the asked node is in touch with no leader"
	}
	if now.Epoch < epoch || now.PrimaryID == 0 || now.Phase != api.PhaseReady {
		return "the asked node knows no primary of the new epoch"
	}
	if now.PrimaryID == before.PrimaryID {
		return before.PrimaryName + " is the primary again"
	}
	return strings.Join(drillUnwell(now), "; ")
}

// drillDSN reaches every PostgreSQL that may be primary; the rest comes from the environment, as with psql.
func drillDSN(s *api.Status) string {
	var hosts, ports []string
	for _, n := range dataNodes(s) {
		host, port, err := net.SplitHostPort(n.PostgresAddress)
		if err != nil {
			continue
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	return fmt.Sprintf("host=%s port=%s dbname='%s'", strings.Join(hosts, ","), strings.Join(ports, ","), strings.ReplaceAll(strings.ReplaceAll(s.Postgres.Database, `\`, `\\`), `'`, `\'`))
}
