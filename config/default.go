package config

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Default returns the values in force where nothing is set. What is empty here and not optional is derived when a
// Config is loaded: the node's name from the host's, the advertised address from the bound one.
func Default() *Config {
	return &Config{
		DataDir:       "/var/lib/pgraft",
		RunDir:        "/run/pgraft",
		ClusterName:   "pgraft",
		BindAddr:      "0.0.0.0",
		RetryInterval: 5 * time.Second,
		LogLevel:      "info",
		Ports:         Ports{HTTP: 7400, Raft: 7401, Gossip: 7402, Console: 7403},
		Postgres: Postgres{
			Listen:         "0.0.0.0:5432",
			Database:       "postgres",
			Synchronous:    SyncQuorum,
			Priority:       100,
			HealthInterval: 250 * time.Millisecond,
		},
		Raft: Raft{
			BatchSize:         256,
			SnapshotInterval:  30 * time.Second,
			SnapshotThreshold: 10000,
			TrailingLogs:      10000,
		},
		Gossip: Gossip{Profile: ProfileLAN},
		Autopilot: Autopilot{
			CleanupDeadServers:      true,
			MinQuorum:               3,
			DeadServerThreshold:     24 * time.Hour,
			ServerStabilizationTime: 10 * time.Second,
			MaxTrailingLogs:         1000,
			LastContactThreshold:    time.Second,
		},
		TLS:  TLS{VerifyIncoming: true},
		HTTP: HTTP{Addr: "127.0.0.1"},
	}
}

// DevDefaults returns what -dev starts from: one node that founds its own cluster on the loopback address and keeps
// its files in a directory that is its own and goes with it.
func DevDefaults() *Config {
	c := Default()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("pgraft-dev-%d", os.Getpid()))
	c.Dev = true
	c.DevDir = dir
	c.NodeName = "dev"
	c.ClusterName = "dev"
	c.DataDir = filepath.Join(dir, "data")
	c.RunDir = filepath.Join(dir, "run")
	c.BindAddr = "127.0.0.1"
	c.AdvertiseAddr = "127.0.0.1"
	c.BootstrapExpect = 1
	return c
}

// Profiles: gossip and Raft timers together, by the round trip between the nodes.
const (
	ProfileLAN   = "lan"   // under 10 ms
	ProfileWAN   = "wan"   // 10 to 50 ms
	ProfileLocal = "local" // over 50 ms
)

// RaftTimers are Raft's three timeouts. Lease <= Heartbeat <= Election always holds.
type RaftTimers struct {
	Heartbeat time.Duration // a follower that hears no leader for so long asks for an election
	Election  time.Duration // a candidate that wins nothing for so long tries again
	Lease     time.Duration // a leader that hears no majority for so long steps down
}

// ProfileTimers returns a profile's Raft timers, and false for a name that is none. It is the one place where the
// profiles' timers are set down; what was measured with them is in the reference page.
func ProfileTimers(profile string) (RaftTimers, bool) {
	const ms = time.Millisecond
	switch profile {
	case ProfileLAN:
		return RaftTimers{Heartbeat: 300 * ms, Election: 300 * ms, Lease: 200 * ms}, true
	case ProfileWAN:
		return RaftTimers{Heartbeat: 1000 * ms, Election: 1000 * ms, Lease: 500 * ms}, true
	case ProfileLocal:
		return RaftTimers{Heartbeat: 2500 * ms, Election: 2500 * ms, Lease: 1250 * ms}, true
	}
	return RaftTimers{}, false
}

// RaftTimers returns the timers in force. Those that are not set follow the one that is, in the profile's proportion:
// a longer heartbeat timeout makes heartbeats rarer, and a lease that did not grow with it would end for nothing.
func (c *Config) RaftTimers() RaftTimers {
	p, ok := ProfileTimers(c.Gossip.Profile)
	if !ok {
		p, _ = ProfileTimers(ProfileLAN)
	}
	t := RaftTimers{c.Raft.HeartbeatTimeout, c.Raft.ElectionTimeout, c.Raft.LeaderLeaseTimeout}
	if t.Heartbeat == 0 {
		t.Heartbeat = p.Heartbeat
	}
	if t.Election == 0 {
		t.Election = scale(t.Heartbeat, p.Election, p.Heartbeat)
	}
	if t.Lease == 0 {
		t.Lease = scale(t.Heartbeat, p.Lease, p.Heartbeat)
	}
	return t
}

// scale returns d * num / den without overflow for any d that passes the bounds of its key.
func scale(d, num, den time.Duration) time.Duration {
	return time.Duration(float64(d) * (float64(num) / float64(den))).Round(time.Millisecond)
}
