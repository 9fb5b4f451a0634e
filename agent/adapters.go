package agent

import (
	"context"
	"fmt"
	"net/http"
	"os/user"
	"slices"
	"strconv"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/agent/relay"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
)

// raftDuties gives the leader's duties the few words of Raft that they use.
type raftDuties struct{ *consensus.Node }

// Configuration lists the servers.
func (r raftDuties) Configuration() (uint64, []raft.Server, error) {
	index, servers := r.Node.Configuration()
	return index, servers, nil
}

// SetNonvoter adds a server that has no vote yet.
func (r raftDuties) SetNonvoter(ctx context.Context, id raft.ServerID, addr raft.ServerAddress) error {
	return r.AddNonvoter(ctx, id, string(addr))
}

// SetAddress rewrites a server's address and keeps its vote or the lack of one: for Raft both are adding it again.
func (r raftDuties) SetAddress(ctx context.Context, id raft.ServerID, addr raft.ServerAddress) error {
	_, servers := r.Node.Configuration()
	voter := slices.ContainsFunc(servers, func(s raft.Server) bool { return s.ID == id && s.Suffrage == raft.Voter })
	if voter {
		return r.AddVoter(ctx, id, string(addr))
	}
	return r.AddNonvoter(ctx, id, string(addr))
}

// sessions renews sessions, which only the leader's memory keeps alive.
type sessions struct{ a *Agent }

// Renew starts a session's TTL anew.
func (s sessions) Renew(_ context.Context, id string) error {
	_, err := s.a.duties.RenewSession(id)
	return err
}

// toLeader sends a request to the leader's internal port, whoever that is at the moment.
func (a *Agent) toLeader() http.RoundTripper {
	return relay.New(relay.Config{
		Leader: func() string { id, _ := a.raft.Leader(); return string(id) },
		Self:   string(a.raft.ServerID()),
		Local:  func() http.Handler { return a.http.InternalHandler() },
		Peer:   func(id string) http.RoundTripper { return a.raft.PeerTransport(raft.ServerID(id)) },
	})
}

// leaderClient is the API's client for the leader's internal port.
func (a *Agent) leaderClient() (*api.Client, error) {
	client, err := api.New(api.Config{Address: "http://leader", HTTPClient: &http.Client{Transport: a.toLeader()}})
	if err != nil {
		return nil, fmt.Errorf("make a client for the leader: %w", err)
	}
	return client, nil
}

// probeAddress asks the agent whose Raft port is at address who it is.
func (a *Agent) probeAddress(ctx context.Context, address string) (probe.Answer, error) {
	return probe.Ask(ctx, a.raft.AddressTransport(address), string(a.raft.ServerID()))
}

// postgresUsers are the users that PostgreSQL usually runs as, whose sessions send commands to the console.
func postgresUsers() []uint32 {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil
	}
	return []uint32{uint32(uid)}
}

// logStats renders consensus' figures.
func logStats(s consensus.Stats, applied uint64) api.LogStats {
	log := api.LogStats{
		FirstIndex: s.FirstIndex, LastIndex: s.LastIndex, CommitIndex: s.CommitIndex, AppliedIndex: s.AppliedIndex,
		Replicated: s.CommitIndex, Committed: s.Succeeded + s.Refused, Applied: applied, Errors: s.Refused + s.Rejected + s.InDoubt,
		SnapshotIndex: s.SnapshotIndex, DiskBytes: s.DiskBytes,
	}
	if s.LastIndex >= s.FirstIndex && s.FirstIndex > 0 {
		log.Size = s.LastIndex - s.FirstIndex + 1
	}
	return log
}

func counters(s consensus.Stats) api.Counters {
	return api.Counters{
		MessagesProcessed: s.RPCsReceived, HeartbeatsSent: s.HeartbeatsSent,
		ElectionsTriggered: s.Elections, LeaderChanges: s.LeaderChanges,
	}
}
