package telemetry

import (
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// gauge is a metric that is one number of the status.
type gauge struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*api.Status) float64
}

// number makes a gauge of any kind of number.
func number[T int | int64 | uint64](name, help string, of func(*api.Status) T) gauge {
	return gauge{name, help, prometheus.GaugeValue, func(s *api.Status) float64 { return float64(of(s)) }}
}

func total(name, help string, of func(*api.Status) uint64) gauge {
	return gauge{name, help, prometheus.CounterValue, func(s *api.Status) float64 { return float64(of(s)) }}
}

func yesNo(name, help string, of func(*api.Status) bool) gauge {
	return gauge{name, help, prometheus.GaugeValue, func(s *api.Status) float64 { return truth(of(s)) }}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// nodeGauges are of the node and its cluster.
func nodeGauges() []gauge {
	return []gauge{
		number("pgraft_node_id", "This node's id.", func(s *api.Status) int { return s.NodeID }),
		number("pgraft_term", "Raft term.", func(s *api.Status) uint64 { return s.Term }),
		number("pgraft_leader_id", "Node id of the leader, 0 = none known.", func(s *api.Status) int { return s.LeaderID }),
		number("pgraft_primary_id", "Node id of the primary, 0 = none.", func(s *api.Status) int { return s.PrimaryID }),
		number("pgraft_epoch", "Epoch of the primary.", func(s *api.Status) uint64 { return s.Epoch }),
		yesNo("pgraft_is_leader", "1 on the leader while a quorum confirms it.", func(s *api.Status) bool { return s.IsLeader }),
		yesNo("pgraft_has_quorum", "1 while this node leads with a quorum or hears the leader.", func(s *api.Status) bool { return s.HasQuorum }),
		yesNo("pgraft_voter", "1 if this node votes.", func(s *api.Status) bool { return s.Voter }),
		number("pgraft_gossip_health_score", "How unwell gossip is on this node: 0 = healthy.", func(s *api.Status) int { return s.GossipHealth }),
		{"pgraft_last_contact_seconds", "Since the leader was heard: 0 on the leader, +Inf = never.", prometheus.GaugeValue, lastContact},
		{"pgraft_start_time_seconds", "Unix time at which the agent started.", prometheus.GaugeValue,
			func(s *api.Status) float64 { return float64(s.StartedAt.UnixMilli()) / 1000 }},
	}
}

// lastContact is infinite for never, so that an alert on a long silence fires.
func lastContact(s *api.Status) float64 {
	if s.LastContactMS < 0 {
		return math.Inf(1)
	}
	return float64(s.LastContactMS) / 1000
}

// logGauges are of the replicated log.
func logGauges() []gauge {
	return []gauge{
		number("pgraft_log_size", "Entries in the log.", func(s *api.Status) uint64 { return s.Log.Size }),
		number("pgraft_log_first_index", "First entry in the log.", func(s *api.Status) uint64 { return s.Log.FirstIndex }),
		number("pgraft_log_last_index", "Last entry in the log.", func(s *api.Status) uint64 { return s.Log.LastIndex }),
		number("pgraft_commit_index", "Last committed entry that this node knows of.", func(s *api.Status) uint64 { return s.Log.CommitIndex }),
		number("pgraft_applied_index", "Last entry applied by the state machine.", func(s *api.Status) uint64 { return s.Log.AppliedIndex }),
		number("pgraft_snapshot_index", "Last entry in the latest snapshot.", func(s *api.Status) uint64 { return s.Log.SnapshotIndex }),
		number("pgraft_disk_bytes", "Bytes on disk of the log and its snapshots.", func(s *api.Status) int64 { return s.Log.DiskBytes }),
		total("pgraft_commands_committed_total", "Commands of this node committed.", func(s *api.Status) uint64 { return s.Log.Committed }),
		total("pgraft_commands_applied_total", "Commands applied by this node's state machine.", func(s *api.Status) uint64 { return s.Log.Applied }),
		total("pgraft_command_errors_total", "Commands of this node that ended in an error.", func(s *api.Status) uint64 { return s.Log.Errors }),
		total("pgraft_elections_total", "Elections that this node started.", func(s *api.Status) uint64 { return s.Counters.ElectionsTriggered }),
		total("pgraft_leader_changes_total", "Changes of leader that this node saw.", func(s *api.Status) uint64 { return s.Counters.LeaderChanges }),
		total("pgraft_messages_processed_total", "Raft messages handled.", func(s *api.Status) uint64 { return s.Counters.MessagesProcessed }),
		total("pgraft_heartbeats_sent_total", "Heartbeats sent as leader.", func(s *api.Status) uint64 { return s.Counters.HeartbeatsSent }),
	}
}

// postgresGauges are of the PostgreSQL beside the agent; there are none of them where there is none.
func postgresGauges() []gauge {
	return []gauge{
		yesNo("pgraft_postgres_up", "1 while this node's PostgreSQL answers.", func(s *api.Status) bool { return s.Postgres.Up }),
		yesNo("pgraft_postgres_in_recovery", "1 while this node's PostgreSQL is a standby.", func(s *api.Status) bool { return s.Postgres.InRecovery }),
		yesNo("pgraft_postgres_error", "1 while something keeps rows from being applied: the status says what.",
			func(s *api.Status) bool { return s.Postgres.Error != "" }),
		number("pgraft_postgres_applied_index", "Last entry applied to this node's PostgreSQL.", func(s *api.Status) uint64 { return s.Postgres.AppliedIndex }),
		number("pgraft_apply_lag_entries", "Entries applied by the state machine and not yet by PostgreSQL.",
			func(s *api.Status) uint64 { return s.Postgres.LagEntries }),
		{"pgraft_apply_lag_seconds", "Age of the oldest entry not yet in PostgreSQL; NaN = unknown.", prometheus.GaugeValue, applyLag},
	}
}

// managedGauges are of a cluster whose PostgreSQL pgraft manages; there are none of them elsewhere.
func managedGauges() []gauge {
	return []gauge{
		yesNo("pgraft_primary", "1 on the node whose PostgreSQL is the primary, with a quorum's proof.",
			func(s *api.Status) bool { return s.Role == api.RolePrimary }),
		yesNo("pgraft_paused", "1 while automatic failover is off.", func(s *api.Status) bool { return s.Paused }),
		total("pgraft_failovers_total", "Failovers and switchovers since the cluster was founded: epochs begun after the first.",
			func(s *api.Status) uint64 { return max(s.Epoch, 1) - 1 }),
		number("pgraft_sync_acks_needed", "Members other than the primary that must have a commit before it is acknowledged; 0 with async.",
			func(s *api.Status) int { return s.Sync.Acks }),
	}
}

// serverGauges are of the managed PostgreSQL beside the agent.
func serverGauges() []gauge {
	return []gauge{
		number("pgraft_postgres_timeline", "Timeline of this node's PostgreSQL.", func(s *api.Status) int64 { return int64(s.Postgres.Timeline) }),
		yesNo("pgraft_postgres_read_only", "1 while the primary takes no writes: it lost the quorum, or hands over.",
			func(s *api.Status) bool { return s.Postgres.ReadOnly }),
		number("pgraft_postgres_pending_restart", "Parameters that wait for a restart of this node's PostgreSQL.",
			func(s *api.Status) int { return len(s.Postgres.PendingRestart) }),
		number("pgraft_in_doubt_bytes", "WAL of this node that may never have been acknowledged.", func(s *api.Status) int64 { return s.Postgres.InDoubtBytes }),
		number("pgraft_sync_acks", "On the primary: members that acknowledge commits now.", func(s *api.Status) int { return s.Postgres.SyncAcks }),
	}
}

func applyLag(s *api.Status) float64 {
	if s.Postgres.LagMS < 0 {
		return math.NaN()
	}
	return float64(s.Postgres.LagMS) / 1000
}

// The words that become label values even when no node has them, so that a graph shows zero instead of a gap.
var (
	workerStates = []api.WorkerState{api.WorkerRunning, api.WorkerStopped, api.WorkerError, api.WorkerRecovering}
	nodeStatuses = []string{api.NodeAlive, api.NodeFailed, api.NodeLeft}
	raftStates   = []string{"leader", "candidate", "follower"}
)

// statusCollector renders the status. It has no state: each scrape asks once.
type statusCollector struct {
	cfg      Config
	gauges   []described
	postgres []described
	managed  []described
	server   []described

	worker, nodes, state, peerLag, peerActive   *prometheus.Desc
	replicationLag, check                       *prometheus.Desc
	entries, rows, batches, differences, opened *prometheus.Desc
}

type described struct {
	gauge
	desc *prometheus.Desc
}

func newStatusCollector(cfg Config) *statusCollector {
	return &statusCollector{
		cfg:        cfg,
		gauges:     describe(append(nodeGauges(), logGauges()...)),
		postgres:   describe(postgresGauges()),
		managed:    describe(managedGauges()),
		server:     describe(serverGauges()),
		worker:     desc("pgraft_worker_state", "1 for the state that the agent's work is in.", "state"),
		nodes:      desc("pgraft_nodes", "Registered nodes by status, as this node sees them.", "status"),
		state:      desc("pgraft_raft_role", "1 for the part that this node plays in Raft.", "state"),
		peerLag:    desc("pgraft_peer_lag_entries", "Entries that a peer's log is behind this node's.", "peer"),
		peerActive: desc("pgraft_peer_active", "1 while a peer answers.", "peer"),

		replicationLag: desc("pgraft_replication_lag_bytes",
			"WAL of the primary that a node's PostgreSQL has not replayed, as this node knows it; NaN = unknown.", "node"),
		check: desc("pgraft_check_status", "What a check of this node found: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.", "check"),

		entries:     desc("pgraft_applier_entries_total", "Log entries applied to PostgreSQL."),
		rows:        desc("pgraft_applier_rows_total", "Rows written to PostgreSQL."),
		batches:     desc("pgraft_applier_transactions_total", "Transactions that wrote rows to PostgreSQL."),
		differences: desc("pgraft_applier_differences_total", "Times that the difference to the whole state was written to PostgreSQL."),
		opened:      desc("pgraft_applier_sessions_total", "Sessions opened with PostgreSQL."),
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func describe(gauges []gauge) []described {
	out := make([]described, 0, len(gauges))
	for _, g := range gauges {
		out = append(out, described{g, desc(g.name, g.help)})
	}
	return out
}

// Describe implements prometheus.Collector.
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range slices.Concat(c.gauges, c.postgres, c.managed, c.server) {
		ch <- g.desc
	}
	for _, d := range []*prometheus.Desc{
		c.worker, c.nodes, c.state, c.peerLag, c.peerActive, c.replicationLag, c.check, c.entries, c.rows, c.batches, c.differences, c.opened,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.cfg.Status()
	send(ch, c.gauges, &st)
	if st.Postgres.Enabled {
		send(ch, c.postgres, &st)
	}
	if st.Epoch > 0 || st.Postgres.Mode == "managed" {
		c.collectManaged(ch, &st)
	}
	for _, s := range workerStates {
		ch <- prometheus.MustNewConstMetric(c.worker, prometheus.GaugeValue, truth(st.WorkerState == s), string(s))
	}
	for _, s := range raftStates {
		ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, truth(st.State == s), s)
	}
	for _, k := range st.Checks {
		ch <- prometheus.MustNewConstMetric(c.check, prometheus.GaugeValue, checkNumber(k.Status), k.Name)
	}
	c.collectOthers(ch, &st)
	if c.cfg.Applier == nil {
		return
	}
	if applier, ok := c.cfg.Applier(); ok {
		c.collectApplier(ch, applier)
	}
}

// checkNumber is the exit code of a check in the manner of Nagios.
func checkNumber(s api.CheckStatus) float64 {
	switch s {
	case api.CheckOK:
		return 0
	case api.CheckWarning:
		return 1
	case api.CheckCritical:
		return 2
	}
	return 3
}

func send(ch chan<- prometheus.Metric, gauges []described, st *api.Status) {
	for _, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(st))
	}
}

func (c *statusCollector) collectOthers(ch chan<- prometheus.Metric, st *api.Status) {
	count := map[string]int{}
	for _, n := range st.Nodes {
		count[n.Status]++
	}
	for _, s := range nodeStatuses {
		ch <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(count[s]), s)
	}
	seen := map[string]bool{} // one series twice would spoil the whole scrape
	for _, p := range st.Peers {
		name := p.Name
		if name == "" {
			name = p.ServerID
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		ch <- prometheus.MustNewConstMetric(c.peerLag, prometheus.GaugeValue, float64(p.LagEntries), name)
		ch <- prometheus.MustNewConstMetric(c.peerActive, prometheus.GaugeValue, truth(p.IsActive), name)
	}
}

func (c *statusCollector) collectManaged(ch chan<- prometheus.Metric, st *api.Status) {
	send(ch, c.managed, st)
	if st.Postgres.Enabled {
		send(ch, c.server, st)
	}
	seen := map[string]bool{}
	for _, n := range st.Nodes {
		if n.Witness || seen[n.Name] {
			continue
		}
		seen[n.Name] = true
		lag := float64(n.LagBytes)
		if n.LagBytes < 0 {
			lag = math.NaN()
		}
		ch <- prometheus.MustNewConstMetric(c.replicationLag, prometheus.GaugeValue, lag, n.Name)
	}
}

func (c *statusCollector) collectApplier(ch chan<- prometheus.Metric, a fsm.ApplierStatus) {
	for _, m := range []struct {
		desc  *prometheus.Desc
		value uint64
	}{{c.entries, a.Entries}, {c.rows, a.Rows}, {c.batches, a.Batches}, {c.differences, a.Diffs}, {c.opened, a.Sessions}} {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.value))
	}
}
