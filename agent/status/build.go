package status

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// Identity is what never changes while an agent runs.
type Identity struct {
	ServerID, Name, ClusterName, Version string
	Witness                              bool
	StartedAt                            time.Time
}

// Raft is what consensus knows on this node.
type Raft struct {
	State       string // leader, follower, candidate, shutdown
	Term        uint64
	LeaderID    string    // server id, "" = none known
	LeaseUntil  time.Time // leader's proof; zero when there is none
	LastContact time.Time // with the leader; zero = never
	// ContactTimeout is how long a follower may go without hearing its leader before it stops naming it.
	ContactTimeout time.Duration
	Servers        []raft.Server
	Log            api.LogStats
	Counters       api.Counters
}

// Member is one node's gossip state.
type Member struct {
	Status   string // api.NodeAlive, NodeFailed, NodeLeft
	LastSeen time.Time
}

// Inputs is all that Build looks at.
type Inputs struct {
	Now       time.Time
	Identity  Identity
	ClusterID string
	Raft      Raft
	Registry  []fsm.Node
	Members   map[string]Member // by server id
	// GossipHealth is gossip's judgement of this node's own health: 0 is well.
	GossipHealth int
	Peers        map[string]probe.Peer // by server id
	Postgres     api.PostgresStatus
	// Primacy is what the cluster agreed on about its managed PostgreSQL, its zero value where nothing is managed.
	Primacy primacy.State
	// Waiting says why there is no ready primary, "" where there is one or nobody knows.
	Waiting string
	// Fresh tells that the state machine has caught up since the agent started: Primacy is not an old one.
	Fresh bool
	// Server is the managed PostgreSQL beside the agent, nil where there is none.
	Server *Server
	// Recovering tells that the node is catching up: its state machine with the log, or PostgreSQL with the store.
	Recovering bool
	// Fault is what keeps the agent as a whole from working, "" if nothing.
	Fault string
}

// silentAfter is how long a server may leave our question unanswered before its rows say so; probes come every second.
const silentAfter = 5 * time.Second

// Build makes the status of one moment.
func Build(in Inputs) api.Status {
	s := api.Status{
		AsOf: in.Now, Version: in.Identity.Version, ClusterName: in.Identity.ClusterName, ClusterID: in.ClusterID,
		Name: in.Identity.Name, ServerID: in.Identity.ServerID, StartedAt: in.Identity.StartedAt,
		State: in.Raft.State, Term: in.Raft.Term, Log: in.Raft.Log, Counters: in.Raft.Counters, Postgres: in.Postgres,
		GossipHealth: in.GossipHealth,
		Voter:        isVoter(in.Raft.Servers, in.Identity.ServerID),
	}
	if own := nodeOf(in.Registry, in.Identity.ServerID); own != nil {
		s.NodeID = own.NodeID
	}
	leadership(&s, in)
	s.Role = ownRole(in, s.HasQuorum)
	agreed(&s, in)
	server(&s, in)
	s.WorkerState, s.WorkerMessage = worker(in, s)
	s.Nodes = nodes(in, s)
	s.Peers = peers(in)
	return s
}

// leadership fills in who leads, as far as this node can prove it.
func leadership(s *api.Status, in Inputs) {
	r := in.Raft
	leading := r.State == "leader" && in.Now.Before(r.LeaseUntil)
	contact := in.Now.Sub(r.LastContact)
	following := r.State == "follower" && r.LeaderID != "" && !r.LastContact.IsZero() && contact < r.ContactTimeout
	switch {
	case r.State == "leader":
		s.LastContactMS = 0
	case r.LastContact.IsZero():
		s.LastContactMS = -1
	default:
		s.LastContactMS = contact.Milliseconds()
	}
	s.IsLeader, s.HasQuorum = leading, leading || following
	if leading {
		s.LeaseUntil = r.LeaseUntil
	}
	if !s.HasQuorum {
		return
	}
	if leader := nodeOf(in.Registry, r.LeaderID); leader != nil {
		s.LeaderID, s.LeaderName, s.LeaderHTTP = leader.NodeID, leader.Name, leader.HTTPAddress
	}
}

// worker says how the agent is doing, and why if not well.
func worker(in Inputs, s api.Status) (api.WorkerState, string) {
	p := in.Postgres
	if in.Fault != "" {
		return api.WorkerError, in.Fault
	}
	if in.Server != nil {
		if state, message := managedWorker(in, s); message != "" {
			return state, message
		}
	}
	switch {
	case p.Enabled && p.Error != "":
		return api.WorkerError, p.Error
	case p.Enabled && !p.Up:
		return api.WorkerError, "PostgreSQL at " + p.Address + " does not answer"
	case in.Recovering:
		return api.WorkerRecovering, "catching up with the cluster"
	}
	return api.WorkerRunning, ""
}

func ownRole(in Inputs, quorum bool) string {
	switch {
	case in.Identity.Witness:
		return api.RoleWitness
	case in.Server != nil:
		return managedRole(in, quorum)
	case !in.Postgres.Up:
		return api.RoleUnknown
	case in.Postgres.InRecovery:
		return api.RoleStandby
	}
	return api.RolePrimary
}

// nodes makes a row for each registered node, ordered by node_id.
func nodes(in Inputs, self api.Status) []api.NodeStatus {
	rows := make([]api.NodeStatus, 0, len(in.Registry))
	for _, n := range in.Registry {
		row := api.NodeStatus{
			NodeID: n.NodeID, Name: n.Name, ServerID: n.ServerID, Voter: isVoter(in.Raft.Servers, n.ServerID),
			Witness: n.Witness, NonVoting: n.NonVoting, Zone: n.Zone, PostgresAddress: n.PostgresAddress, GossipAddress: n.GossipAddress,
			HTTPAddress: n.HTTPAddress, Version: n.Version,
			IsLeader: self.HasQuorum && n.ServerID == in.Raft.LeaderID,
		}
		row.Address, row.Port = splitAddress(n.RaftAddress)
		if n.ServerID == in.Identity.ServerID {
			own(&row, in, self)
		} else {
			other(&row, in)
		}
		if in.Primacy.Epoch > 0 || in.Server != nil {
			replication(&row, in, self)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b api.NodeStatus) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return rows
}

func own(row *api.NodeStatus, in Inputs, self api.Status) {
	row.Role, row.Status, row.Version, row.LastSeen = self.Role, api.NodeAlive, self.Version, in.Now
	row.AppliedIndex, row.LagMS = in.Postgres.AppliedIndex, in.Postgres.LagMS
	if !in.Postgres.Enabled {
		row.AppliedIndex, row.LagMS = in.Raft.Log.AppliedIndex, 0
	}
}

// other joins gossip's word with the node's own latest answer: either of them shows that it lives.
func other(row *api.NodeStatus, in Inputs) {
	member, known := in.Members[row.ServerID]
	peer := in.Peers[row.ServerID]
	answers := !peer.Heard.IsZero() && in.Now.Sub(peer.Heard) < silentAfter && peer.Err == nil
	row.Status, row.Role, row.LagMS = api.NodeFailed, api.RoleUnknown, -1
	row.LastSeen = later(member.LastSeen, peer.Heard)
	switch {
	case answers, known && member.Status == api.NodeAlive:
		row.Status = api.NodeAlive
	case known && member.Status == api.NodeLeft:
		row.Status = api.NodeLeft
	}
	if !peer.Heard.IsZero() {
		row.AppliedIndex = peer.PostgresIndex
		if !peer.PostgresEnabled {
			row.AppliedIndex = peer.AppliedIndex
		}
	}
	if answers {
		row.Role, row.LagMS, row.Version = peer.Role, peer.PostgresLagMS, peer.Version
	}
}

// peers tells how far each other server's log reaches.
func peers(in Inputs) []api.PeerStatus {
	rows := make([]api.PeerStatus, 0, len(in.Raft.Servers))
	for _, s := range in.Raft.Servers {
		id := string(s.ID)
		if id == in.Identity.ServerID {
			continue
		}
		row := api.PeerStatus{ServerID: id, LagMS: -1}
		if n := nodeOf(in.Registry, id); n != nil {
			row.NodeID, row.Name = n.NodeID, n.Name
		}
		if peer := in.Peers[id]; !peer.Heard.IsZero() {
			row.MatchIndex = min(peer.LastIndex, in.Raft.Log.LastIndex)
			row.LagEntries = in.Raft.Log.LastIndex - row.MatchIndex
			row.LagMS = in.Now.Sub(peer.Heard).Milliseconds()
			row.IsActive = peer.Err == nil && in.Now.Sub(peer.Heard) < silentAfter
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b api.PeerStatus) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return rows
}

func isVoter(servers []raft.Server, id string) bool {
	for _, s := range servers {
		if string(s.ID) == id {
			return s.Suffrage == raft.Voter
		}
	}
	return false
}

func nodeOf(registry []fsm.Node, serverID string) *fsm.Node {
	if serverID == "" {
		return nil
	}
	for i := range registry {
		if registry[i].ServerID == serverID {
			return &registry[i]
		}
	}
	return nil
}

func splitAddress(addr string) (string, int) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return host, 0
	}
	return host, n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
