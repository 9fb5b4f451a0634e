package httpapi

import "github.com/pgraft/pgraft/api"

func clusterRoutes() []route {
	order := func(name string, at place, handle handler, summary string) route {
		return route{
			method: "POST", path: "/v1/cluster/" + name, place: at, handle: handle, in: api.ClusterRequest{}, out: api.ClusterResult{},
			summary: summary,
		}
	}
	return []route{
		order("failover", placeLeader, (*Server).clusterFailover, "Replace the primary now, dead or alive"),
		order("switchover", placeLeader, (*Server).clusterSwitchover, "Hand the primary's part to another node, losing nothing"),
		order("restart", placeNode, (*Server).clusterRestart, "Restart one node's PostgreSQL, or without a node each whose settings wait for it, one after the other"),
		order("reinit", placeNode, (*Server).clusterReinit, "Throw one standby's data away and clone it anew"),
		order("pause", placeLeader, (*Server).clusterPause, "Turn automatic failover off"),
		order("resume", placeLeader, (*Server).clusterResume, "Turn automatic failover on again"),
	}
}

// patroniRoutes are the routes of Patroni's REST API that load balancers and exporters use.
func patroniRoutes() []route {
	lag := param{"lag", "Only if the node has replayed all of the primary's WAL but so much, such as 1048576 or 16MB."}
	state := param{"replication_state", "Only if the primary sees the node in this state, such as streaming."}
	check := func(path string, holds condition, summary string, params ...param) route {
		return route{
			method: "GET", path: path, handle: probeOf(holds), out: api.PatroniStatus{}, summary: summary, params: params, probe: true,
		}
	}
	const primary = "200 on the primary while it takes writes"
	return []route{
		check("/primary", writable, primary),
		check("/leader", writable, primary),
		check("/read-write", writable, primary),
		check("/master", writable, primary),
		check("/standby-leader", never, "503: pgraft has no cluster that follows another"),
		check("/replica", replica, "200 on a standby", lag, state),
		check("/read-only", readable, "200 on a standby and on the primary", lag),
		check("/synchronous", synchronous, "200 on a standby that has every acknowledged commit"),
		check("/sync", synchronous, "200 on a standby that has every acknowledged commit"),
		check("/quorum", quorumMember, "200 on a standby that counts when commits are acknowledged"),
		check("/asynchronous", asynchronous, "200 on a standby that doesn't count when commits are acknowledged", lag),
		check("/async", asynchronous, "200 on a standby that doesn't count when commits are acknowledged", lag),
		check("/health", running, "200 while PostgreSQL answers"),
		check("/readiness", readyForReads, "200 on the primary, and on a standby that streams and is at most lag behind, 1MB unless given", lag),
		check("/liveness", always, "200 while the agent answers"),
		check("/patroni", always, "200 with this node's state"),
		{
			method: "GET", path: "/cluster", handle: (*Server).patroniCluster, out: api.PatroniCluster{}, probe: true,
			summary: "200 with the nodes that have a PostgreSQL",
		},
		{
			method: "GET", path: "/history", handle: (*Server).patroniHistory, out: [][]any{}, probe: true,
			summary: "200 with the timelines that ended: number, last byte, why, when (left empty), who became primary",
		},
	}
}
