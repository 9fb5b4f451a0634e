package status_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/agent/status"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

var now = time.Unix(1_000_000, 0)

// inputs is a healthy leader "s1" with followers "s2" and "s3".
func inputs() status.Inputs {
	in := status.Inputs{
		Now:      now,
		Identity: status.Identity{ServerID: "s1", Name: "pg1", ClusterName: "prod", Version: "1.0"},
		Raft: status.Raft{
			State: "leader", Term: 7, LeaderID: "s1", LeaseUntil: now.Add(100 * time.Millisecond),
			ContactTimeout: 300 * time.Millisecond, Log: api.LogStats{LastIndex: 100, AppliedIndex: 99},
		},
		Members:  map[string]status.Member{"s2": {Status: api.NodeAlive}, "s3": {Status: api.NodeAlive}},
		Peers:    map[string]probe.Peer{},
		Postgres: api.PostgresStatus{Enabled: true, Up: true, AppliedIndex: 98},
	}
	for i, id := range []string{"s1", "s2", "s3"} {
		in.Registry = append(in.Registry, fsm.Node{NodeID: i + 1, Name: "pg" + id[1:], ServerID: id, RaftAddress: "10.0.0.1:7401"})
		in.Raft.Servers = append(in.Raft.Servers, raft.Server{ID: raft.ServerID(id), Suffrage: raft.Voter})
		in.Peers[id] = probe.Peer{
			Answer: probe.Answer{LastIndex: 95, PostgresIndex: 90, PostgresEnabled: true, Role: "primary"}, Heard: now.Add(-time.Second),
		}
	}
	return in
}

func TestLeadership(t *testing.T) {
	tests := []struct {
		name             string
		change           func(*status.Inputs)
		isLeader, quorum bool
		leaderID         int
	}{
		{"leader within its lease", func(*status.Inputs) {}, true, true, 1},
		{"leader past its lease", func(in *status.Inputs) { in.Raft.LeaseUntil = now }, false, false, 0},
		{"lease of an earlier leadership", func(in *status.Inputs) { in.Raft.State = "candidate" }, false, false, 0},
		{"follower that hears its leader", func(in *status.Inputs) { follow(in, 100*time.Millisecond) }, false, true, 2},
		{"follower that hears nothing", func(in *status.Inputs) { follow(in, time.Second) }, false, false, 0},
		{"follower that never heard", func(in *status.Inputs) { follow(in, 0); in.Raft.LastContact = time.Time{} }, false, false, 0},
		{"leader that is not registered", func(in *status.Inputs) { in.Registry = nil }, true, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := inputs()
			tt.change(&in)
			s := status.Build(in)
			if s.IsLeader != tt.isLeader || s.HasQuorum != tt.quorum || s.LeaderID != tt.leaderID {
				t.Errorf("is_leader %v has_quorum %v leader_id %d, want %v %v %d", s.IsLeader, s.HasQuorum, s.LeaderID, tt.isLeader, tt.quorum, tt.leaderID)
			}
			leaders := 0
			for _, n := range s.Nodes {
				if n.IsLeader {
					leaders++
				}
			}
			if tt.leaderID == 0 && leaders != 0 || tt.leaderID != 0 && leaders != 1 {
				t.Errorf("%d rows claim leadership with leader_id %d", leaders, tt.leaderID)
			}
		})
	}
}

func follow(in *status.Inputs, silent time.Duration) {
	in.Raft.State, in.Raft.LeaderID, in.Raft.LeaseUntil = "follower", "s2", time.Time{}
	in.Raft.LastContact = now.Add(-silent)
}

func TestWorkerState(t *testing.T) {
	tests := []struct {
		name   string
		change func(*status.Inputs)
		want   api.WorkerState
	}{
		{"well", func(*status.Inputs) {}, api.WorkerRunning},
		{"catching up", func(in *status.Inputs) { in.Recovering = true }, api.WorkerRecovering},
		{"postgres down", func(in *status.Inputs) { in.Postgres.Up = false }, api.WorkerError},
		{"postgres refuses", func(in *status.Inputs) { in.Postgres.Error = "no dblink" }, api.WorkerError},
		{"removed", func(in *status.Inputs) { in.Fault = "removed" }, api.WorkerError},
		{"witness has no postgres", func(in *status.Inputs) {
			in.Postgres, in.Identity.Witness = api.PostgresStatus{}, true
		}, api.WorkerRunning},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := inputs()
			tt.change(&in)
			s := status.Build(in)
			if s.WorkerState != tt.want {
				t.Errorf("got %s, want %s", s.WorkerState, tt.want)
			}
			if (s.WorkerState == api.WorkerRunning) != (s.WorkerMessage == "") {
				t.Errorf("state %s has message %q", s.WorkerState, s.WorkerMessage)
			}
		})
	}
}

func TestNodes(t *testing.T) {
	in := inputs()
	in.Peers["s2"] = probe.Peer{Answer: in.Peers["s2"].Answer, Heard: now.Add(-time.Minute), Err: errors.New("timeout")}
	in.Members["s2"] = status.Member{Status: api.NodeFailed, LastSeen: now.Add(-50 * time.Second)}
	s := status.Build(in)
	if len(s.Nodes) != 3 || len(s.Peers) != 2 {
		t.Fatalf("%d nodes and %d peers, want 3 and 2", len(s.Nodes), len(s.Peers))
	}
	self, failed, alive := s.Nodes[0], s.Nodes[1], s.Nodes[2]
	if self.AppliedIndex != 98 || self.Status != api.NodeAlive || self.Role != "primary" {
		t.Errorf("own row: %+v", self)
	}
	if failed.Status != api.NodeFailed || failed.Role != "unknown" || failed.LagMS != -1 || !failed.LastSeen.Equal(now.Add(-50*time.Second)) {
		t.Errorf("silent node: %+v", failed)
	}
	if alive.Status != api.NodeAlive || alive.AppliedIndex != 90 || alive.Role != "primary" {
		t.Errorf("live node: %+v", alive)
	}
	if s.Peers[0].IsActive || !s.Peers[1].IsActive || s.Peers[1].LagEntries != 5 {
		t.Errorf("peers: %+v", s.Peers)
	}
}
