package config

import "time"

func nodeKeys() []Key {
	return []Key{
		{Path: "node_name", Default: "the host's name", Example: `"pg1"`,
			Doc:   "Name of this node, unique in its cluster: letters, digits, `-`, `_` and `.`, at most 63 characters. A node keeps its name for life.",
			field: func(c *Config) any { return &c.NodeName }},
		{Path: "data_dir", Example: `"/var/lib/pgraft"`,
			Doc:   "Directory of the Raft log, snapshots, the node's id and the keyring. What is in it is the node's memory of what it voted for: never copy it to another node.",
			field: func(c *Config) any { return &c.DataDir }},
		{Path: "run_dir", Example: `"/run/pgraft"`,
			Doc:   "Directory of the console's Unix socket and the status file that the SQL functions read. Keep it short: a socket's path has at most 107 bytes.",
			field: func(c *Config) any { return &c.RunDir }},
		{Path: "cluster_name", Example: `"prod"`,
			Doc:   "Name of the cluster. Agents of clusters with different names never join each other.",
			field: func(c *Config) any { return &c.ClusterName }},
		{Path: "bind_addr", Example: `"0.0.0.0"`,
			Doc:   "IP address that Raft and gossip listen on. May be a go-sockaddr template, such as `{{ GetPrivateIP }}` or `{{ GetInterfaceIP \"eth0\" }}`.",
			field: func(c *Config) any { return &c.BindAddr }},
		{Path: "advertise_addr", Default: "`bind_addr` if it is one address, else the host's first private address", Example: `"10.0.0.11"`,
			Doc: "IP address or DNS name at which the other nodes reach this one, without a port. May be a go-sockaddr template. " +
				"It is never guessed as loopback in a cluster.",
			field: func(c *Config) any { return &c.AdvertiseAddr }},
		{Path: "bootstrap_expect", Example: `3`, Max: 101,
			Doc: "How many voters found a new cluster together: it forms once so many nodes with this same number have found each other. " +
				"0: this node founds none and waits until it has joined one. Ignored once the node has a Raft log, so it may stay in the file. Choose an odd number.",
			field: func(c *Config) any { return &c.BootstrapExpect }},
		{Path: "retry_join", Live: true, Example: `["10.0.0.12", "10.0.0.13"]`,
			Doc:   "Nodes to join, as `host` or `host:gossip port`, tried until one answers. Name all of them on every node: the own address does no harm.",
			field: func(c *Config) any { return &c.RetryJoin }},
		{Path: "retry_interval", Live: true, Example: `"5s"`, Min: int64(100 * time.Millisecond), Max: int64(time.Hour),
			Doc:   "Time between two rounds of `retry_join`.",
			field: func(c *Config) any { return &c.RetryInterval }},
		{Path: "encrypt", Secret: true, Default: "gossip is not encrypted", Example: `"(what pgraft keygen prints)"`,
			Doc:   "Key that gossip is encrypted with, the same on all nodes: base64 of 16, 24 or 32 bytes. `pgraft keygen` makes one. A keyring in `data_dir` wins over it, since `pgraft keyring` may have replaced the key.",
			field: func(c *Config) any { return &c.Encrypt }},
		{Path: "non_voting", Example: `false`,
			Doc:   "This node follows the log and never votes: a read replica of the cluster's state.",
			field: func(c *Config) any { return &c.NonVoting }},
		{Path: "witness", Example: `false`,
			Doc:   "This node votes and has no PostgreSQL. Two PostgreSQL servers and a witness survive the loss of any one.",
			field: func(c *Config) any { return &c.Witness }},
		{Path: "zone", Example: `"eu-1a"`,
			Doc: "What fails together with this node: an availability zone, a rack, a hypervisor. At most 64 bytes. With zones, a commit is acknowledged " +
				"only when a standby outside the primary's zone has it too, as long as there is one. Give it to all nodes or to none.",
			field: func(c *Config) any { return &c.Zone }},
		{Path: "leave_on_terminate", Live: true, Example: `true`,
			Doc:   "SIGTERM retires the node from the cluster, as `pgraft leave` does. Without it the node hands leadership over, stops and stays a member, which is what a restart or an upgrade needs.",
			field: func(c *Config) any { return &c.LeaveOnTerminate }},
		{Path: "log_level", Live: true, Example: `"info"`, Values: []string{"trace", "debug", "info", "warn", "error", "off"},
			Doc:   "Least level of the messages that the agent logs.",
			field: func(c *Config) any { return &c.LogLevel }},
		{Path: "log_json", Example: `true`,
			Doc:   "The agent logs one JSON object a line.",
			field: func(c *Config) any { return &c.LogJSON }},
	}
}

func portKeys() []Key {
	const last = 65535
	return []Key{
		{Path: "ports.http", Example: `7400`, Min: 1, Max: last,
			Doc:   "TCP port of the HTTP API.",
			field: func(c *Config) any { return &c.Ports.HTTP }},
		{Path: "ports.raft", Example: `7401`, Min: 1, Max: last,
			Doc:   "TCP port of Raft and of the agents' internal calls.",
			field: func(c *Config) any { return &c.Ports.Raft }},
		{Path: "ports.gossip", Example: `7402`, Min: 1, Max: last,
			Doc:   "TCP and UDP port of gossip.",
			field: func(c *Config) any { return &c.Ports.Gossip }},
		{Path: "ports.console", Example: `7403`, Min: 1, Max: last,
			Doc:   "Number of the console's Unix socket in `run_dir`: `psql -h RUN_DIR -p 7403`. Nothing listens on a TCP port of that number.",
			field: func(c *Config) any { return &c.Ports.Console }},
	}
}

func raftKeys() []Key {
	longest := int64(5 * time.Minute)
	return []Key{
		{Path: "raft.heartbeat_timeout", Default: "the profile's", Example: `"300ms"`, Min: int64(10 * time.Millisecond), Max: longest,
			Doc:   "A follower that hears no leader for so long asks for an election. The leader sends two to ten heartbeats within it.",
			field: func(c *Config) any { return &c.Raft.HeartbeatTimeout }},
		{Path: "raft.election_timeout", Default: "the profile's", Example: `"300ms"`, Min: int64(10 * time.Millisecond), Max: longest,
			Doc:   "A candidate that has not won after so long tries again.",
			field: func(c *Config) any { return &c.Raft.ElectionTimeout }},
		{Path: "raft.leader_lease_timeout", Default: "the profile's", Example: `"200ms"`, Min: int64(5 * time.Millisecond), Max: longest,
			Doc:   "A leader that hears no majority for so long steps down. `pgraft_is_leader()` is false at most so long after a leader was lost.",
			field: func(c *Config) any { return &c.Raft.LeaderLeaseTimeout }},
		{Path: "raft.batch_size", Example: `256`, Min: 1, Max: 10000,
			Doc:   "Most operations that share one log entry.",
			field: func(c *Config) any { return &c.Raft.BatchSize }},
		{Path: "raft.max_batch_delay", Example: `"0ms"`, Max: int64(time.Second),
			Doc:   "Longest time that an operation waits for others to share its entry, though no entry is on its way. With 0 it is sent at once then; while entries are on their way, what comes waits until it is as much as they hold, or they have landed.",
			field: func(c *Config) any { return &c.Raft.MaxBatchDelay }},
		{Path: "raft.snapshot_interval", Live: true, Example: `"30s"`, Min: int64(100 * time.Millisecond), Max: int64(24 * time.Hour),
			Doc:   "How often the node looks whether it is time for a snapshot.",
			field: func(c *Config) any { return &c.Raft.SnapshotInterval }},
		{Path: "raft.snapshot_threshold", Live: true, Example: `10000`, Min: 1,
			Doc:   "A snapshot is taken when so many entries have come since the last one.",
			field: func(c *Config) any { return &c.Raft.SnapshotThreshold }},
		{Path: "raft.trailing_logs", Live: true, Example: `10000`, Min: 1,
			Doc:   "Entries kept in the log after a snapshot. A node that was away for longer than they last gets the whole snapshot, so keep more than a restart misses.",
			field: func(c *Config) any { return &c.Raft.TrailingLogs }},
	}
}

func gossipKeys() []Key {
	return []Key{
		{Path: "gossip.profile", Example: `"wan"`, Values: []string{ProfileLAN, ProfileWAN, ProfileLocal},
			Doc:   "Sets gossip and Raft timers together, by the round trip between the nodes: `lan` under 10 ms, `wan` 10 to 50 ms, `local` over 50 ms. The same on all nodes.",
			field: func(c *Config) any { return &c.Gossip.Profile }},
	}
}

func autopilotKeys() []Key {
	return []Key{
		{Path: "autopilot.cleanup_dead_servers", Example: `true`,
			Doc:   "The leader removes servers that have been dead for `dead_server_threshold`, as long as `min_quorum` voters stay.",
			field: func(c *Config) any { return &c.Autopilot.CleanupDeadServers }},
		{Path: "autopilot.min_quorum", Example: `3`, Max: 101,
			Doc:   "No dead server is removed if fewer voters than this would be left.",
			field: func(c *Config) any { return &c.Autopilot.MinQuorum }},
		{Path: "autopilot.dead_server_threshold", Example: `"24h"`, Min: int64(time.Second),
			Doc:   "How long a server must have been dead before it is removed.",
			field: func(c *Config) any { return &c.Autopilot.DeadServerThreshold }},
		{Path: "autopilot.server_stabilization_time", Example: `"10s"`, Max: int64(24 * time.Hour),
			Doc:   "How long a new server must have been healthy before it becomes a voter.",
			field: func(c *Config) any { return &c.Autopilot.ServerStabilizationTime }},
		{Path: "autopilot.max_trailing_logs", Example: `1000`, Min: 1,
			Doc:   "A server that is more entries than this behind the leader counts as unhealthy.",
			field: func(c *Config) any { return &c.Autopilot.MaxTrailingLogs }},
		{Path: "autopilot.last_contact_threshold", Example: `"1s"`, Min: int64(10 * time.Millisecond), Max: int64(time.Hour),
			Doc:   "A server that has not heard the leader for longer than this counts as unhealthy.",
			field: func(c *Config) any { return &c.Autopilot.LastContactThreshold }},
	}
}
