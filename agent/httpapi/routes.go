package httpapi

import (
	"net/http"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// place says where a route's request is answered.
type place int

const (
	placeLocal  place = iota // the asked node, of what it knows itself
	placeRead                // the leader, unless ?stale
	placeLeader              // the leader, always: other nodes send the request there
	placeLog                 // any node: the operation goes through the replicated log
	placeNode                // the node that the body names: others send the request there
)

// param is one query parameter.
type param struct {
	name string
	doc  string
}

// route is one line of the API: method, path and what serves it. Paths are in ServeMux's syntax.
type route struct {
	method, path string
	place        place
	handle       func(*Server, http.ResponseWriter, *request) error
	anyNode      func(*request) (bool, error) // of placeRead: requests that the asked node answers all the same
	summary      string
	params       []param
	blocking     bool // takes ?index and ?wait
	stream       bool // answers until the client goes: its duration means nothing
	probe        bool // answers OPTIONS as GET, as load balancers ask
	in, out      any  // a value of the body's type, for the document; nil: no JSON
}

var (
	readParams = []param{
		{"stale", "The asked node answers from its own memory, leader or not."},
		{"consistent", "The leader answers after a quorum confirmed that it still leads."},
	}
	blockParams = []param{
		{"index", "Answer when something newer than this X-Pgraft-Index exists."},
		{"wait", "How long to wait for that, such as 30s; default 300s, at most 600s."},
	}
	logParams = []param{
		{"redirect", "Answer 307 with the leader's address instead of forwarding."},
	}
)

// allParams is what the route takes: its own and those of its kind.
func (rt *route) allParams() []param {
	all := append([]param(nil), rt.params...)
	if rt.place == placeRead {
		all = append(all, readParams...)
	}
	if rt.blocking {
		all = append(all, blockParams...)
	}
	if rt.place == placeLog {
		all = append(all, logParams...)
	}
	return all
}

func (rt *route) knows(name string) bool {
	for _, p := range rt.allParams() {
		if p.name == name {
			return true
		}
	}
	return false
}

// documented is the path as documents write it.
func (rt *route) documented() string {
	return strings.ReplaceAll(strings.ReplaceAll(rt.path, "{$}", ""), "...}", "}")
}

// kvPrefix is served without the multiplexer, which would redirect keys such as a//b and ../c to other keys.
const kvPrefix = "/v1/kv/"

// routes returns the whole API.
func routes() []route {
	all := [][]route{
		statusRoutes(), kvRoutes(), sessionRoutes(), eventRoutes(), settingRoutes(), agentRoutes(),
		clusterRoutes(), operatorRoutes(), snapshotRoutes(), healthRoutes(), patroniRoutes(), documentRoutes(),
	}
	var out []route
	for _, part := range all {
		out = append(out, part...)
	}
	return out
}

func statusRoutes() []route {
	return []route{
		{
			method: "GET", path: "/v1/status", handle: (*Server).getStatus, out: api.Status{},
			summary: "This node and the cluster, whole",
		},
		{
			method: "GET", path: "/v1/status/leader", handle: (*Server).getLeader, out: api.Leader{},
			summary: "Who leads; 503 no_leader when nobody does",
		},
		{
			method: "GET", path: "/v1/status/peers", handle: (*Server).getPeers, out: []api.PeerStatus{},
			summary: "How far the other servers' logs reach",
		},
	}
}

func kvRoutes() []route {
	cas := param{"cas", "Only if the key's modify_index is this; 0: only if the key doesn't exist. Else 412."}
	return []route{
		{
			method: "GET", path: "/v1/kv", place: placeRead, blocking: true, handle: (*Server).kvStats, out: api.KVStats{},
			summary: "How many keys and bytes there are; also at /v1/kv/",
		},
		{
			method: "GET", path: "/v1/kv/{key...}", place: placeRead, blocking: true, handle: (*Server).kvGet,
			out: []api.KVPair{}, summary: "One key, or with recurse or keys all that start with it; 404 when there is no such key",
			params: []param{
				{"raw", "The value's bytes instead of JSON."},
				{"recurse", "Every key that starts with the one given; an empty array when there is none."},
				{"keys", "Names only, of every key that starts with the one given."},
				{"separator", "With keys: names only up to this text after the prefix, each once."},
			},
		},
		{
			method: "PUT", path: "/v1/kv/{key...}", place: placeLog, handle: (*Server).kvPut, out: api.WriteResult{},
			summary: "Write one key: the body is the value, at most 512 KiB",
			params: []param{
				cas, {"flags", "A number to keep with the value."},
				{"acquire", "A session that takes the key's lock with the write; 409 when another holds it."},
				{"release", "A session that gives the key's lock back with the write."},
			},
		},
		{
			method: "DELETE", path: "/v1/kv/{key...}", place: placeLog, handle: (*Server).kvDelete, out: api.WriteResult{},
			summary: "Delete one key",
			params:  []param{cas, {"recurse", "Delete every key that starts with the one given."}},
		},
		{
			method: "PUT", path: "/v1/txn", place: placeLog, handle: (*Server).putTxn,
			in: api.TxnRequest{}, out: api.TxnResponse{},
			summary: "Compare, then run one of two lists of operations: all of it or nothing",
		},
	}
}

func sessionRoutes() []route {
	return []route{
		{
			method: "PUT", path: "/v1/session/create", place: placeLog, handle: (*Server).sessionCreate,
			in: api.Session{}, out: api.Session{}, summary: "Start a session; the answer has its id",
		},
		{
			method: "PUT", path: "/v1/session/destroy/{id}", place: placeLog, handle: (*Server).sessionDestroy,
			out: api.WriteResult{}, summary: "End a session: its locks are released, or its keys deleted",
		},
		{
			method: "PUT", path: "/v1/session/renew/{id}", place: placeLeader, handle: (*Server).sessionRenew,
			out: api.Session{}, summary: "Start a session's TTL anew",
		},
		{
			method: "GET", path: "/v1/session/info/{id}", place: placeRead, blocking: true, handle: (*Server).sessionInfo,
			out: api.Session{}, summary: "One session; 404 when it is over",
		},
		{
			method: "GET", path: "/v1/session/list", place: placeRead, blocking: true, handle: (*Server).sessionList,
			out: []api.Session{}, summary: "All sessions",
		},
	}
}

func eventRoutes() []route {
	return []route{{
		method: "GET", path: "/v1/events", place: placeRead, blocking: true, handle: (*Server).getEvents, out: []api.Event{},
		anyNode: followsEvents,
		summary: "The cluster's history, oldest first; with follow as server-sent events from the asked node",
		params: []param{
			{"since", "Only events whose index is above this."},
			{"limit", "Only the latest so many."},
			{"follow", "Stream server-sent events, the kept ones after since first; Last-Event-ID resumes."},
		},
	}}
}

func settingRoutes() []route {
	return []route{
		{
			method: "GET", path: "/v1/settings", place: placeRead, blocking: true, handle: (*Server).settingList,
			out: []api.Setting{}, summary: "All cluster-wide settings",
		},
		{
			method: "GET", path: "/v1/settings/{name}", place: placeRead, blocking: true, handle: (*Server).settingGet,
			out: api.Setting{}, summary: "One cluster-wide setting; 404 when it isn't set",
		},
		{
			method: "PUT", path: "/v1/settings/{name}", place: placeLog, handle: (*Server).settingPut, out: api.WriteResult{},
			summary: "Set one cluster-wide setting: the body is the value as text",
		},
		{
			method: "DELETE", path: "/v1/settings/{name}", place: placeLog, handle: (*Server).settingDelete,
			out: api.WriteResult{}, summary: "Unset one cluster-wide setting",
		},
	}
}

func agentRoutes() []route {
	return []route{
		{
			method: "GET", path: "/v1/agent/self", handle: (*Server).agentSelf, out: api.Self{},
			summary: "Who this agent is",
		},
		{
			method: "GET", path: "/v1/agent/info", handle: (*Server).agentInfo, out: []api.InfoValue{},
			summary: "This agent's effective configuration, and where each value comes from",
		},
		{
			method: "GET", path: "/v1/agent/members", blocking: true, handle: (*Server).agentMembers, out: []api.Member{},
			summary: "The nodes as this agent's gossip sees them; its index belongs to this agent's view",
		},
		{
			method: "GET", path: "/v1/agent/monitor", stream: true, handle: (*Server).agentMonitor,
			summary: "This agent's log from now on, a line each",
			params: []param{
				{"loglevel", "trace, debug, info, warn or error; default info."}, {"logjson", "Lines in JSON."},
			},
		},
		{
			method: "PUT", path: "/v1/agent/join/{addr}", handle: (*Server).agentJoin, out: api.JoinResult{},
			summary: "Join the cluster of the agent that gossips at this address",
		},
		{
			method: "PUT", path: "/v1/agent/leave", handle: (*Server).agentLeave,
			summary: "Leave the cluster for good and stop",
		},
		{
			method: "PUT", path: "/v1/agent/force-leave/{node}", place: placeLeader, handle: (*Server).agentForceLeave,
			summary: "Remove a failed node from the cluster",
		},
		{
			method: "PUT", path: "/v1/agent/reload", handle: (*Server).agentReload, out: api.ReloadResult{},
			summary: "Read the configuration again; names what needs a restart",
		},
	}
}

func operatorRoutes() []route {
	id := func(doc string) []param { return []param{{"id", doc}} }
	keyring := "/v1/operator/keyring"
	return []route{
		{
			method: "GET", path: "/v1/operator/raft/configuration", place: placeRead, handle: (*Server).raftConfiguration,
			out: api.RaftConfiguration{}, summary: "The Raft servers",
		},
		{
			method: "DELETE", path: "/v1/operator/raft/peer", place: placeLeader, handle: (*Server).raftRemovePeer,
			summary: "Take a server out of the Raft configuration",
			params:  id("Server id, node_id, name or Raft address."),
		},
		{
			method: "POST", path: "/v1/operator/raft/transfer-leader", place: placeLeader, handle: (*Server).raftTransfer,
			summary: "Hand the leadership over",
			params:  id("To whom: server id, node_id or name; default: whose log reaches furthest."),
		},
		{
			method: "GET", path: "/v1/operator/autopilot/configuration", place: placeRead, handle: (*Server).autopilotGet,
			out: api.AutopilotConfig{}, summary: "What autopilot does on its own",
		},
		{
			method: "PUT", path: "/v1/operator/autopilot/configuration", place: placeLeader, handle: (*Server).autopilotPut,
			in: api.AutopilotConfig{}, summary: "Change autopilot's configuration; what the body doesn't name stays",
		},
		{
			method: "GET", path: "/v1/operator/autopilot/state", place: placeLeader, handle: (*Server).autopilotState,
			out: api.AutopilotState{}, summary: "The leader's judgement of the servers",
		},
		{
			method: "GET", path: keyring, handle: (*Server).keyringList, out: api.KeyringResponse{},
			summary: "Which gossip keys the nodes hold",
		},
		{
			method: "POST", path: keyring, handle: (*Server).keyringInstall, in: api.KeyringRequest{}, out: api.KeyringResponse{},
			summary: "Give a gossip key to every node",
		},
		{
			method: "PUT", path: keyring, handle: (*Server).keyringUse, in: api.KeyringRequest{}, out: api.KeyringResponse{},
			summary: "Encrypt with an installed gossip key",
		},
		{
			method: "DELETE", path: keyring, handle: (*Server).keyringRemove, in: api.KeyringRequest{}, out: api.KeyringResponse{},
			summary: "Take a gossip key that isn't in use from every node",
		},
	}
}

func snapshotRoutes() []route {
	return []route{
		{
			method: "GET", path: "/v1/snapshot", place: placeRead, handle: (*Server).snapshotGet, stream: true,
			summary: "A verified archive of the replicated state: tar, gzip",
		},
		{
			method: "PUT", path: "/v1/snapshot", place: placeLeader, handle: (*Server).snapshotPut, stream: true,
			summary: "Replace the cluster's state by an archive's, after all of it was checked",
		},
	}
}

func healthRoutes() []route {
	health := []param{
		{"verbose", "Each check by name."}, {"exclude", "Names of checks to leave out, with commas between."},
	}
	return []route{
		{
			method: "GET", path: "/livez", handle: (*Server).livez, params: health, out: api.Readiness{},
			summary: "200 while the agent answers; needs no quorum",
		},
		{
			method: "GET", path: "/readyz", handle: (*Server).readyz, params: health, out: api.Readiness{},
			summary: "200 when every check holds, else 503",
		},
		{
			method: "GET", path: "/readyz/{check}", handle: (*Server).readyz, params: health, out: api.Readiness{},
			summary: "One check: raft_leader, fsm_caught_up, postgres, voter, gossip or worker",
		},
	}
}

func documentRoutes() []route {
	return []route{
		{
			method: "GET", path: "/metrics", handle: (*Server).getMetrics,
			summary: "Metrics in Prometheus' text format",
			params:  []param{{"name[]", "Only metrics of this name."}},
		},
		{method: "GET", path: "/v1/openapi.json", handle: (*Server).getOpenAPI, summary: "This document"},
		{method: "GET", path: "/ui/{$}", handle: (*Server).getUI, summary: "The cluster's state as a page"},
		{method: "GET", path: "/{$}", handle: (*Server).getRoot, summary: "Redirects to /ui/"},
	}
}
