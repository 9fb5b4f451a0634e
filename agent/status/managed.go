package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// What an agent does with its managed PostgreSQL, as Server.Action has it.
const (
	ActionInitDB  = "initdb"
	ActionAdopt   = "adopt"
	ActionClone   = "clone"
	ActionRewind  = "rewind"
	ActionStart   = "start"
	ActionStop    = "stop"
	ActionRestart = "restart"
	ActionPromote = "promote"
)

// Server is the managed PostgreSQL beside the agent, as its controller knows it.
type Server struct {
	Running    bool // there is a postmaster
	InRecovery bool // as last observed; nothing while PostgreSQL does not answer
	Gated      bool // clients are not let in
	ReadOnly   bool // clients may not write
	Fenced     bool // cut off, or stopped, by a fence, and not following a new primary yet
	// WasPrimary tells that the data was last written as Epoch's primary, and not rewound since.
	WasPrimary bool

	Epoch     uint64 // that its WAL follows or writes, 0 = none
	Timeline  wal.Timeline
	LSN       wal.LSN // how far its WAL reaches, as last known
	ReplayLSN wal.LSN // of a standby
	// Acked is how far the members that acknowledge have flushed what this primary wrote.
	Acked wal.LSN
	// Acks is how many members other than this primary acknowledge commits now.
	Acks     int
	Replicas map[string]probe.Replica // of this primary, by server id
	// ProofUntil is until when a quorum's answer proves that this node's view of who is primary holds.
	ProofUntil time.Time

	PendingRestart []string
	Action         string // one of the constants Action…, "" = none
	Done, Total    int64  // bytes of the action; Total 0 = unknown
	Error          string // what a person must mend
}

// provenPrimary reports whether this node is the primary and can prove it: the cluster decided so, a quorum was heard
// since within the lease, and PostgreSQL is out of recovery and open.
func provenPrimary(in Inputs, quorum bool) bool {
	s, state := in.Server, in.Primacy
	return in.Fresh && quorum && in.Now.Before(s.ProofUntil) &&
		state.Phase == primacy.PhaseReady && state.Primary == in.Identity.ServerID && s.Epoch == state.Epoch &&
		in.Postgres.Up && s.Running && !s.InRecovery && !s.Gated && !s.Fenced
}

// managedRole says what the managed PostgreSQL is.
func managedRole(in Inputs, quorum bool) string {
	s := in.Server
	switch {
	case s.Action == ActionClone:
		return api.RoleCloning
	case s.Action == ActionRewind:
		return api.RoleRewinding
	case !s.Running && (s.Action == "" || s.Action == ActionStop):
		return api.RoleStopped
	case !s.Running:
		return api.RoleStarting
	case !in.Postgres.Up && s.Action == ActionStop:
		return api.RoleUnknown
	case !in.Postgres.Up:
		return api.RoleStarting
	case s.Action == ActionPromote:
		return api.RoleStarting
	case s.Fenced:
		return api.RoleFenced
	case s.InRecovery:
		return api.RoleStandby
	case provenPrimary(in, quorum):
		return api.RolePrimary
	case s.Gated:
		return api.RoleStarting
	}
	return api.RoleUnknown
}

// managedWorker says what keeps a managed PostgreSQL from being what it shall be, "" if nothing does.
func managedWorker(in Inputs, s api.Status) (api.WorkerState, string) {
	server := in.Server
	switch {
	case server.Error != "":
		return api.WorkerError, server.Error
	case server.Action != "":
		return api.WorkerRecovering, actionText(server)
	case in.Primacy.Epoch == 0:
		return api.WorkerRecovering, "waiting until the cluster has chosen where its PostgreSQL begins"
	}
	switch s.Role {
	case api.RoleFenced:
		return api.WorkerRecovering, "cut off from the primary that is being replaced, waiting for the new one"
	case api.RoleStarting:
		return api.WorkerRecovering, "PostgreSQL starts"
	case api.RoleStopped:
		return api.WorkerError, "PostgreSQL does not run"
	case api.RoleUnknown:
		if server.Epoch < in.Primacy.Epoch {
			return api.WorkerRecovering, "the cluster went on without this PostgreSQL: it takes no writes, and is to follow the new primary"
		}
		return api.WorkerError, "without a quorum's proof this PostgreSQL is not the primary: it takes no writes until it has one"
	case api.RolePrimary:
		if rule := in.Primacy.Sync; !rule.Async && server.Acks < rule.Acks {
			return api.WorkerRecovering, fmt.Sprintf("commits wait: %d of %d needed members acknowledge them", server.Acks, rule.Acks)
		}
	}
	return api.WorkerRunning, ""
}

var actionTexts = map[string]string{
	ActionInitDB: "making a new PostgreSQL cluster", ActionAdopt: "taking over the PostgreSQL that is there",
	ActionClone: "cloning the primary's data", ActionRewind: "taking the data back to the primary's history",
	ActionStart: "PostgreSQL starts", ActionStop: "PostgreSQL stops", ActionRestart: "PostgreSQL restarts",
	ActionPromote: "PostgreSQL becomes the primary",
}

func actionText(s *Server) string {
	text := cmp.Or(actionTexts[s.Action], s.Action)
	if s.Total > 0 {
		text += fmt.Sprintf(", %d%% of %d MB", 100*min(s.Done, s.Total)/s.Total, s.Total>>20)
	}
	return text
}

// agreed fills in what the cluster decided. Who is primary is said only by a node that hears a quorum, and of itself
// only by one that can prove it.
func agreed(s *api.Status, in Inputs) {
	state := in.Primacy
	s.Waiting = in.Waiting
	s.Epoch, s.Phase, s.Paused, s.EpochReason = state.Epoch, string(state.Phase), state.Paused, state.Reason
	if state.Epoch == 0 {
		return
	}
	if state.Handover != "" {
		s.Handover = nameOf(in, state.Handover)
	}
	s.Sync = syncStatus(in, state.Sync)
	if state.Next != nil {
		next := syncStatus(in, *state.Next)
		s.Sync.Next = &next
	}
	s.Sync.Warning = syncWarning(state)
	self := state.Primary == in.Identity.ServerID
	if state.Phase != primacy.PhaseReady || !s.HasQuorum || !in.Fresh || self && s.Role != api.RolePrimary {
		return
	}
	if primary := nodeOf(in.Registry, state.Primary); primary != nil {
		s.PrimaryID, s.PrimaryName = primary.NodeID, primary.Name
	}
	if self {
		s.PrimaryUntil = in.Server.ProofUntil
		if heard := in.Now.Add(in.Raft.ContactTimeout); heard.Before(s.PrimaryUntil) {
			s.PrimaryUntil = heard
		}
	}
}

func syncStatus(in Inputs, rule primacy.Sync) api.SyncStatus {
	out := api.SyncStatus{Mode: api.SyncQuorum, Acks: rule.Acks, Members: []string{}}
	if rule.Async {
		out.Mode = api.SyncAsync
	}
	for _, m := range rule.Members {
		name := nameOf(in, m.ServerID)
		out.Members = append(out.Members, name)
		if m.Lost {
			out.Lost = append(out.Lost, name)
		}
	}
	slices.Sort(out.Members)
	slices.Sort(out.Lost)
	return out
}

func syncWarning(state primacy.State) string {
	switch {
	case state.Sync.Async:
		return "commits are acknowledged before another node has them: a failover loses those that the lost primary alone had"
	case state.Sync.Acks == 0:
		return "no other node has to have a commit before it is acknowledged: what is lost with the primary's disk is lost"
	}
	return ""
}

// nameOf is a server's name, or its id where it is not registered.
func nameOf(in Inputs, serverID string) string {
	if n := nodeOf(in.Registry, serverID); n != nil {
		return n.Name
	}
	return serverID
}

// server fills in what the node's own managed PostgreSQL is like.
func server(s *api.Status, in Inputs) {
	if in.Server == nil {
		return
	}
	own, p := in.Server, &s.Postgres
	p.Epoch, p.Timeline, p.LSN = own.Epoch, uint32(own.Timeline), lsnText(own.LSN)
	p.ReadOnly = own.ReadOnly
	p.PendingRestart, p.Action, p.ProgressDone, p.ProgressTotal = own.PendingRestart, own.Action, own.Done, own.Total
	if own.InRecovery {
		p.ReplayLSN = lsnText(own.ReplayLSN)
	}
	if s.Role == api.RolePrimary {
		p.SyncAcks = own.Acks
	}
	if from, doubtful := inDoubt(in, s.Role); doubtful {
		p.InDoubtLSN, p.InDoubtBytes = lsnText(own.LSN), int64(own.LSN-from)
		s.InDoubtLSN = p.InDoubtLSN
	}
}

func lsnText(lsn wal.LSN) string {
	if lsn == 0 {
		return ""
	}
	return lsn.String()
}

// inDoubt tells from where on this node's WAL may hold commits that were never acknowledged. A primary that has the
// acknowledgements it needs always writes a little ahead of them: that is no doubt.
func inDoubt(in Inputs, role string) (from wal.LSN, doubtful bool) {
	s, state := in.Server, in.Primacy
	if !s.WasPrimary || s.Epoch == 0 {
		return 0, false
	}
	if s.Epoch < state.Epoch {
		for _, b := range state.Lineage {
			if b.Parent == s.Epoch {
				return b.Switch, s.LSN > b.Switch
			}
		}
	} else if role == api.RolePrimary && (state.Sync.Async || s.Acks >= state.Sync.Acks) {
		return 0, false
	}
	from = s.Acked
	if state.Acked.Epoch == s.Epoch {
		from = max(from, state.Acked.LSN)
	}
	return from, s.LSN > from
}

// replication fills in a row's place in physical replication.
func replication(row *api.NodeStatus, in Inputs, self api.Status) {
	if row.Witness {
		return
	}
	row.LagBytes = -1
	row.Sync = slices.ContainsFunc(in.Primacy.Sync.Members, func(m primacy.Member) bool { return m.ServerID == row.ServerID && !m.Lost })
	if row.ServerID == in.Identity.ServerID {
		ownServer(row, in)
	} else {
		otherServer(row, in)
	}
	// A claim of earlier is none: of all the others only the agreed primary may be one, and only while a quorum says so.
	if row.Role == api.RolePrimary && row.NodeID != self.PrimaryID {
		row.Role = api.RoleUnknown
	}
	lag(row, in)
}

func ownServer(row *api.NodeStatus, in Inputs) {
	if s := in.Server; s != nil {
		row.Timeline, row.LSN, row.PendingRestart = uint32(s.Timeline), lsnText(s.LSN), s.PendingRestart
		row.Action, row.ProgressDone, row.ProgressTotal = s.Action, s.Done, s.Total
	}
}

func otherServer(row *api.NodeStatus, in Inputs) {
	peer, ok := answering(in, row.ServerID)
	if !ok {
		return
	}
	s := peer.Server
	row.Timeline, row.LSN, row.PendingRestart = uint32(s.Timeline), lsnText(s.LSN), s.PendingRestart
	row.Action, row.ProgressDone, row.ProgressTotal = s.Action, s.ProgressDone, s.ProgressTotal
}

// answering returns a server's latest answer if it is young enough to count.
func answering(in Inputs, serverID string) (probe.Peer, bool) {
	peer := in.Peers[serverID]
	return peer, !peer.Heard.IsZero() && in.Now.Sub(peer.Heard) < silentAfter && peer.Err == nil
}

// lag compares with the primary by the primary's own word, since its and the standby's answers are not of one moment.
func lag(row *api.NodeStatus, in Inputs) {
	if in.Primacy.Phase != primacy.PhaseReady {
		return
	}
	primary := in.Primacy.Primary
	end, replicas := wal.LSN(0), map[string]probe.Replica(nil)
	if primary == in.Identity.ServerID && in.Server != nil {
		end, replicas = in.Server.LSN, in.Server.Replicas
	} else if peer, ok := answering(in, primary); ok {
		end, replicas = peer.Server.LSN, peer.Replicas
	}
	replica, follows := replicas[row.ServerID]
	switch {
	case row.Role == api.RolePrimary:
		row.LagBytes = 0
	case follows:
		row.Replication = replica.State
		row.LagBytes = int64(end) - int64(min(replica.ReplayLSN, end))
	}
}
