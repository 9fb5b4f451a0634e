package command_test

import (
	"time"

	"github.com/pgraft/pgraft/api"
)

// at is the moment that all fixtures are of.
var at = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// healthy is a cluster of three as its second node sees it.
func healthy() api.Status {
	s := api.Status{
		AsOf: at, Version: "0.1.0", ClusterName: "prod", ClusterID: "3f2c9a4e-7d1b-4f6a-9c3e-0b8d5a6e7f10",
		NodeID: 2, Name: "pg2", ServerID: "2b1f0c9e-1111-4222-8333-444455556666", Role: "primary",
		WorkerState: api.WorkerRunning, StartedAt: at.Add(-26 * time.Hour),
		State: "follower", Voter: true, LeaderID: 1, LeaderName: "pg1", LeaderHTTP: "http://10.0.0.11:7400",
		Term: 7, HasQuorum: true, LastContactMS: 12,
		Postgres: api.PostgresStatus{
			Enabled: true, Up: true, Mode: "external", Address: "10.0.0.12:5432", Database: "postgres", ServerVersion: "16.3 (Debian 16.3-1.pgdg120+1)",
			AppliedIndex: 118934, ExtensionVersion: "1.0",
		},
	}
	for i, name := range []string{"pg1", "pg2", "pg3"} {
		ip := []string{"10.0.0.11", "10.0.0.12", "10.0.0.13"}[i]
		s.Nodes = append(s.Nodes, api.NodeStatus{
			NodeID: i + 1, Name: name, Address: ip, Port: 7401, IsLeader: i == 0, Role: "primary", Status: api.NodeAlive, Voter: true,
			PostgresAddress: ip + ":5432", GossipAddress: ip + ":7402", HTTPAddress: ip + ":7400", LagMS: int64(i),
			AppliedIndex: 118934, Version: "0.1.0", LastSeen: at.Add(-time.Duration(i) * 300 * time.Millisecond),
		})
	}
	return s
}

func postgresDown() api.Status {
	s := healthy()
	s.WorkerState, s.WorkerMessage = api.WorkerError, "PostgreSQL is down"
	s.Postgres.Up = false
	s.Postgres.Error = "dial tcp 10.0.0.12:5432: connect: connection refused"
	s.Postgres.ErrorSince = at.Add(-95 * time.Second)
	s.Nodes[1].LagMS = 95000
	return s
}

func nodeFailed() api.Status {
	s := healthy()
	s.Nodes[2].Status, s.Nodes[2].LastSeen, s.Nodes[2].LagMS = api.NodeFailed, at.Add(-3*time.Minute), -1
	return s
}

func quorumLost() api.Status {
	s := nodeFailed()
	s.Nodes[0].Status, s.Nodes[0].LastSeen, s.Nodes[0].LagMS = api.NodeFailed, at.Add(-2*time.Minute), -1
	s.Nodes[0].IsLeader = false
	s.State, s.HasQuorum, s.LeaderID, s.LeaderName, s.LeaderHTTP, s.LastContactMS = "candidate", false, 0, "", "", 121000
	return s
}

func notFounded() api.Status {
	return api.Status{
		AsOf: at, Version: "0.1.0", ClusterName: "prod", Name: "pg1", WorkerState: api.WorkerRecovering,
		WorkerMessage: "waiting for 3 nodes to found the cluster", StartedAt: at.Add(-40 * time.Second), State: "follower",
		LastContactMS: -1, Postgres: api.PostgresStatus{Enabled: true, Up: true, Mode: "external", Address: "10.0.0.11:5432",
			Database: "postgres", ServerVersion: "16.3", ExtensionVersion: "1.0"},
	}
}

// crowded has long names, an upgrade under way, a witness, a replica that lags and hostile characters.
func crowded() api.Status {
	s := healthy()
	s.Nodes[0].Name = "database-primary-with-a-very-long-name.eu-central-1.example.com"
	s.LeaderName = s.Nodes[0].Name
	s.Nodes[0].PostgresAddress = "database-primary-with-a-very-long-name.eu-central-1.example.com:5432"
	s.Nodes[2].Version = "0.2.0"
	s.Nodes = append(s.Nodes,
		api.NodeStatus{NodeID: 4, Name: "wit\x1b[31mness", Address: "10.0.0.14", Status: api.NodeAlive, Voter: true, Witness: true,
			Role: "witness", Version: "0.1.0", LagMS: 0, LastSeen: at},
		api.NodeStatus{NodeID: 5, Name: "replica", Address: "10.0.0.15", HTTPAddress: "10.0.0.15:7400", Status: api.NodeAlive,
			NonVoting: true, Role: "primary", Version: "0.1.0", LagMS: 61000, AppliedIndex: 4000, LastSeen: at},
	)
	return s
}

func events() []api.Event {
	return []api.Event{
		{Index: 1, Time: at, Type: "election", Node: "pg1", Message: "pg1 leads in term 2"},
		{Index: 2, Time: at.Add(time.Minute), Type: "join", Node: "pg4", Message: "pg4 joined as a non-voter from 10.0.0.14:7401, " +
			"and this message goes on for longer than a line of the screen has room for"},
	}
}

func members() []api.Member {
	return []api.Member{
		{Name: "pg1", Status: "alive", GossipAddress: "10.0.0.11:7402", RaftAddress: "10.0.0.11:7401", HTTPAddress: "10.0.0.11:7400",
			Version: "0.1.0", Protocol: 1},
		{Name: "pg2", Status: "failed", GossipAddress: "10.0.0.12:7402", RaftAddress: "10.0.0.12:7401", HTTPAddress: "10.0.0.12:7400",
			Version: "0.1.0", Protocol: 1},
	}
}

func configuration() api.RaftConfiguration {
	return api.RaftConfiguration{Index: 12, Servers: []api.RaftServer{
		{NodeID: 1, Name: "pg1", ServerID: "1a2b3c4d-0000-4000-8000-000000000001", Address: "10.0.0.11:7401", Leader: true, Voter: true},
		{NodeID: 2, Name: "pg2", ServerID: "1a2b3c4d-0000-4000-8000-000000000002", Address: "10.0.0.12:7401", Voter: true},
		{NodeID: 3, Name: "pg3", ServerID: "1a2b3c4d-0000-4000-8000-000000000003", Address: "10.0.0.13:7401"},
	}}
}
