package consensus

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Stats is what this server knows of itself and its peers.
type Stats struct {
	ServerID      raft.ServerID
	State         string // follower, candidate, leader, shutdown
	Voter         bool
	Term          uint64
	FirstIndex    uint64
	LastIndex     uint64
	LastLogTerm   uint64
	CommitIndex   uint64
	AppliedIndex  uint64 // by the state machine; equals CommitIndex when all it is to see of that was applied
	SnapshotIndex uint64
	Leader        raft.ServerID
	LeaderAddress string
	LastContact   time.Duration // since the leader was heard; 0 on the leader, -1 = never

	RPCsReceived   uint64
	HeartbeatsSent uint64
	Elections      uint64
	LeaderChanges  uint64
	Proposed       uint64 // operations proposed on this node, and what became of them:
	Succeeded      uint64
	Refused        uint64 // by the state machine
	Rejected       uint64
	InDoubt        uint64

	DiskBytes  int64
	DiskFault  error       // what the last write to the log failed with, nil = it went well
	TermOnly   bool        // no log, only a term: waits for a leader
	Peers      []PeerStats // on a leader: the other servers of the configuration
	SilentTill time.Time   // a restarted server votes for nobody before
}

// PeerStats is a leader's view of another server.
type PeerStats struct {
	ServerID  raft.ServerID
	Address   string
	Voter     bool
	LastIndex uint64        // of its log, as of its last answer
	LastHeard time.Duration // since its last answer to a heartbeat, -1 = never in this term
}

// Stats returns the present numbers.
func (n *Node) Stats() Stats {
	s := Stats{
		ServerID: n.cfg.ServerID, State: strings.ToLower(n.raft.State().String()), Term: n.raft.CurrentTerm(),
		LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(), LastContact: -1,
		RPCsReceived: n.transport.received.Load(), HeartbeatsSent: n.transport.heartbeats.Load(),
		Elections: n.counters.elections.Load(), LeaderChanges: n.counters.leaderChanges.Load(),
		Proposed: n.counters.proposed.Load(), Succeeded: n.counters.succeeded.Load(), Refused: n.counters.refused.Load(),
		Rejected: n.counters.rejected.Load(), InDoubt: n.counters.inDoubt.Load(),
		DiskBytes: n.disk.bytes(n.store), DiskFault: n.store.wal.err(), SilentTill: n.guard.silentUntil,
	}
	s.LastLogTerm, s.SnapshotIndex = n.slow.get(n.raft)
	s.FirstIndex, _ = n.store.logs.FirstIndex()
	s.AppliedIndex = n.appliedIndex(s.CommitIndex)
	s.Leader, s.LeaderAddress = n.Leader()
	s.TermOnly = s.Term > 0 && s.LastIndex == 0
	if last, ok := n.LastContact(); ok {
		s.LastContact = max(time.Since(last), 0)
	}
	n.peerStats(&s)
	return s
}

// appliedIndex returns the commit index if the state machine has seen all that it gets to see of it.
func (n *Node) appliedIndex(commit uint64) uint64 {
	applied := n.cfg.FSM.Store().Index()
	if applied >= commit {
		return applied
	}
	if last, err := n.lastApplicable(commit); err == nil && applied >= last {
		return commit
	}
	return applied
}

func (n *Node) peerStats(s *Stats) {
	leading := n.IsLeader()
	for _, server := range n.latestConfiguration().Servers {
		voter := server.Suffrage == raft.Voter
		if server.ID == n.cfg.ServerID {
			s.Voter = voter
			continue
		}
		if !leading {
			continue
		}
		peer := PeerStats{ServerID: server.ID, Address: string(server.Address), Voter: voter, LastHeard: -1}
		if answer, ok := n.acks.of(server.ID, s.Term); ok {
			peer.LastIndex, peer.LastHeard = min(answer.lastLog, s.LastIndex), time.Since(answer.heard)
		}
		s.Peers = append(s.Peers, peer)
	}
}

func parseUint(text string) uint64 {
	value, _ := strconv.ParseUint(text, 10, 64)
	return value
}

// slowStats remembers what raft gives only as a map of texts, which takes it longer than all the rest.
type slowStats struct {
	mu                 sync.Mutex // guards all below
	at                 time.Time
	lastTerm, snapshot uint64
}

const slowStatsAge = 500 * time.Millisecond

func (s *slowStats) get(r *raft.Raft) (lastLogTerm, snapshotIndex uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > slowStatsAge {
		texts := r.Stats()
		s.lastTerm, s.snapshot = parseUint(texts["last_log_term"]), parseUint(texts["last_snapshot_index"])
		s.at = time.Now()
	}
	return s.lastTerm, s.snapshot
}

// diskUsage remembers how much room Raft takes: counting walks over many files.
type diskUsage struct {
	mu    sync.Mutex // guards all below
	at    time.Time
	value int64
}

const diskUsageAge = 5 * time.Second

func (d *diskUsage) bytes(s *store) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.at) > diskUsageAge {
		d.value, d.at = s.diskBytes(), time.Now()
	}
	return d.value
}

// ServerStats is what a server answers when another one asks how far it is.
type ServerStats struct {
	LastContact  time.Duration `json:"last_contact"` // since the leader was heard, -1 = never
	LastTerm     uint64        `json:"last_term"`
	LastIndex    uint64        `json:"last_index"`
	AppliedIndex uint64        `json:"applied_index"`
}

func (n *Node) serverStats() ServerStats {
	stats := ServerStats{
		LastContact: -1, LastTerm: parseUint(n.raft.Stats()["last_log_term"]), LastIndex: n.raft.LastIndex(),
		AppliedIndex: n.appliedIndex(n.raft.CommitIndex()),
	}
	if last, ok := n.LastContact(); ok {
		stats.LastContact = max(time.Since(last), 0)
	}
	return stats
}

func (n *Node) serveStats(context.Context, struct{}) (ServerStats, error) {
	return n.serverStats(), nil
}

// FetchStats asks a server, which may be this one, how far it is.
func (n *Node) FetchStats(ctx context.Context, id raft.ServerID) (ServerStats, error) {
	if id == n.cfg.ServerID {
		return n.serverStats(), nil
	}
	var stats ServerStats
	err := n.call(ctx, id, http.MethodPost, "/internal/raft/stats", struct{}{}, &stats)
	return stats, err
}
