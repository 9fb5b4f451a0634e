package telemetry_test

type referenceRow struct{ name, lookFor string }

type referenceSection struct {
	title string
	rows  []referenceRow
}

// referenceSections says where each metric stands on the page, and what an operator should look for.
func referenceSections() []referenceSection {
	return []referenceSection{
		{"The node and its cluster", []referenceRow{
			{"pgraft_has_quorum", "0 for more than a few seconds: writes fail on this node. **Alert.**"},
			{"pgraft_is_leader", "The sum over all nodes is 1, and 0 for the second of an election. (2 is no split brain: the nodes are scraped one after the other.)"},
			{"pgraft_leader_id", "The same on all nodes. Compare it between them: a node with another answer is cut off."},
			{"pgraft_term", "Each election adds one. A term that climbs while nothing else happens: a node that keeps calling elections, or timers too short for the network."},
			{"pgraft_leader_changes_total", "A rate above zero in quiet times: pauses, slow disks, lost packets."},
			{"pgraft_elections_total", "As above, on the node that called them."},
			{"pgraft_raft_role", "`candidate` for longer than a second: no majority is reachable from here."},
			{"pgraft_voter", "Sum it over all nodes: fewer voters than you planned means that one is not promoted yet, or was removed."},
			{"pgraft_last_contact_seconds", "On followers below the heartbeat timeout. +Inf: it never heard one."},
			{"pgraft_nodes", "`failed` above 0: a node is down or unreachable. **Alert.**"},
			{"pgraft_peer_active", "0 on the leader: that peer's log gets no further."},
			{"pgraft_peer_lag_entries", "On the leader: grows without end for a peer that is down, and is near 0 for the others."},
			{"pgraft_gossip_health_score", "Above 0 for minutes: this node answers gossip late (CPU, network), and waits longer before it takes others for failed."},
			{"pgraft_worker_state", "`state=\"RUNNING\"` is 1. **Alert** on `ERROR`; `RECOVERING` should end by itself."},
			{"pgraft_check_status", "Above 0: `pgraft status` says what is found and what to do. **Alert** on 2. The checks: [Health checks](../operations/health-checks.md)."},
			{"pgraft_node_id", "To join other series by."},
			{"pgraft_primary_id", "0 while each PostgreSQL is independent."},
			{"pgraft_epoch", "0 while each PostgreSQL is independent. The same on all nodes: one with a lower one has not heard of a failover yet."},
			{"pgraft_start_time_seconds", "A change: the agent was restarted."},
			{"pgraft_build_info", "More than one `version` in a cluster for longer than an upgrade takes."},
		}},
		{"The replicated log", []referenceRow{
			{"pgraft_commit_index", "Its rate is the cluster's writes. The same on all nodes within a moment."},
			{"pgraft_applied_index", "Follows the commit index. A gap that grows: this node's memory can't keep up."},
			{"pgraft_log_size", "Stays below `raft.trailing_logs` plus `raft.snapshot_threshold` and what came since. Grows without end: snapshots fail."},
			{"pgraft_log_first_index", "Moves up with each snapshot."},
			{"pgraft_log_last_index", "On a follower: compare with the leader's."},
			{"pgraft_snapshot_index", "Moves up as the log grows. Stands still under load: snapshots fail, see the agent's log."},
			{"pgraft_disk_bytes", "Room in the file system of `data_dir` for several times this."},
			{"pgraft_commands_committed_total", "Operations that this node proposed and that were committed."},
			{"pgraft_commands_applied_total", "Entries that its memory has applied."},
			{"pgraft_command_errors_total", "Refused, rejected and in doubt together; `pgraft_proposals_total` tells them apart."},
			{"pgraft_messages_processed_total", "0 on a follower: it hears nothing."},
			{"pgraft_heartbeats_sent_total", "Only the leader's grows."},
		}},
		{"Writes", []referenceRow{
			{"pgraft_proposals_total", "`in_doubt` and `rejected` above 0 outside of elections. `refused` is the clients' doing: compare-and-set, locks."},
			{"pgraft_proposal_duration_seconds", "The 99th percentile is what a client waits for. Rises with the slowest disk of the fastest majority."},
			{"pgraft_entry_duration_seconds", "Disk and network of one log entry; `forwarded` has the way to the leader in it."},
			{"pgraft_entry_operations", "Above 1 under load: writes share entries. At `raft.batch_size` all the time: raise that."},
			{"pgraft_entry_bytes", "Large entries make heartbeats wait on a thin network."},
		}},
		{"PostgreSQL and its rows", []referenceRow{
			{"pgraft_postgres_up", "0: PostgreSQL beside this agent does not answer. **Alert.** Absent where there is none."},
			{"pgraft_postgres_error", "1: rows are not written; `pgraft status` says why. **Alert.**"},
			{"pgraft_postgres_in_recovery", "1 on a standby: the agent can't write rows there."},
			{"pgraft_postgres_applied_index", "Follows `pgraft_applied_index`."},
			{"pgraft_apply_lag_entries", "Near 0. Grows: PostgreSQL is slower than the writes, or blocked."},
			{"pgraft_apply_lag_seconds", "**Alert** above a minute. NaN: unknown."},
			{"pgraft_applier_entries_total", "Rate: entries written to PostgreSQL."},
			{"pgraft_applier_rows_total", "Rate: rows written."},
			{"pgraft_applier_transactions_total", "Entries per transaction: how well the applier batches."},
			{"pgraft_applier_differences_total", "Grows after a restore or a long outage, else hardly: each compares the whole state."},
			{"pgraft_applier_sessions_total", "A steady rate: sessions break; see PostgreSQL's log."},
		}},
		{"Managed PostgreSQL", []referenceRow{
			{"pgraft_primary", "The sum over all nodes is 1, and 0 for the second of a failover. **Alert** on 0 for longer."},
			{"pgraft_failovers_total", "An increase: somebody should know why; `pgraft events` says. It is the cluster's, not the agent's: it doesn't begin at 0 with the agent."},
			{"pgraft_replication_lag_bytes", "Near 0. Grows: that standby is down, or slower than the writes; a failover to it takes longer, and readers see old rows."},
			{"pgraft_sync_acks", "On the primary. Below `pgraft_sync_acks_needed`: commits wait. **Alert.**"},
			{"pgraft_sync_acks_needed", "0 with three nodes and `synchronous = \"quorum\"`: the standbys are gone, commits are on the primary alone."},
			{"pgraft_in_doubt_bytes", "Above 0: rows read from that node may vanish again. **Alert.**"},
			{"pgraft_postgres_read_only", "1 for longer than a switchover: the primary lost the quorum."},
			{"pgraft_postgres_timeline", "The same on all nodes but in the moments of a failover."},
			{"pgraft_postgres_pending_restart", "Above 0: a setting waits for `pgraft restart`."},
			{"pgraft_paused", "1: nobody replaces a primary that is lost. **Alert** when it lasts longer than the maintenance."},
		}},
		{"The log on disk", []referenceRow{
			{"pgraft_wal_log_appends_total", "Each is one fsync. Stands still on a follower while the leader writes: its disk hangs."},
			{"pgraft_wal_log_entries_written_total", "Entries per append: how well Raft batches."},
			{"pgraft_wal_log_entry_bytes_written_total", "Rate: bytes written to the log."},
			{"pgraft_wal_log_entries_read_total", "High on a leader: a follower is far behind and is sent old entries."},
			{"pgraft_wal_log_entry_bytes_read_total", "As above."},
			{"pgraft_wal_segment_rotations_total", "A new file for each 64 MiB."},
			{"pgraft_wal_last_segment_age_seconds", "How long the file before lasted."},
			{"pgraft_wal_head_truncations_total", "Grows after snapshots: old entries are let go."},
			{"pgraft_wal_tail_truncations_total", "Entries that a new leader did not have; a few after a failover."},
			{"pgraft_wal_stable_gets_total", "Reads of the term and the vote."},
			{"pgraft_wal_stable_sets_total", "Writes of them: elections."},
		}},
		{"Calls and connections", []referenceRow{
			{"pgraft_http_requests_total", "The rate of `code=~\"5..\"`. `route` is the path's pattern, so keys don't make series."},
			{"pgraft_http_request_duration_seconds", "Blocking queries and streams are not in it."},
			{"pgraft_rpc_duration_seconds", "`outcome=\"error\"`: another agent can't be called on its Raft port."},
			{"pgraft_connections_refused_total", "Above 0: agents of another cluster, a wrong certificate, or a scanner knock at the Raft port; `reason` says which."},
		}},
	}
}

const referenceIntro = `---
title: Metrics
description: Every metric of an agent, its type and labels, and what to look for.
---

<!-- Generated from the registry in agent/telemetry. Change it there, then: make docs -->

Prometheus fetches them from ` + "`/metrics`" + ` of the HTTP API, and from a port of their own with
[telemetry.prometheus_addr](configuration.md#telemetryprometheus_addr), which is the one to open to a monitoring host: nothing can be changed there.

` + "```yaml" + `
scrape_configs:
  - job_name: pgraft
    static_configs:
      - targets: ["10.0.0.11:9100", "10.0.0.12:9100", "10.0.0.13:9100"]
` + "```" + `

Gauges are rendered from the same status as ` + "`pgraft status`, `GET /v1/status`" + ` and the SQL functions, at each scrape. Counters begin at 0 when the
agent starts. A series with labels is there once it has something to count.

## Alerts to begin with

` + "```yaml" + `
groups:
  - name: pgraft
    rules:
      - alert: PgraftAgentDown
        expr: up{job="pgraft"} == 0
        for: 30s
      - alert: PgraftNoQuorum
        expr: pgraft_has_quorum == 0
        for: 15s
      - alert: PgraftNodeFailed
        expr: max by (status) (pgraft_nodes{status="failed"}) > 0
        for: 1m
      - alert: PgraftError
        expr: pgraft_worker_state{state="ERROR"} == 1
        for: 30s
      - alert: PgraftRowsLate
        expr: pgraft_apply_lag_seconds > 60
        for: 1m
      - alert: PgraftElections
        expr: increase(pgraft_leader_changes_total[15m]) > 3
      - alert: PgraftNoPrimary            # this and the rest: managed PostgreSQL
        expr: sum(pgraft_primary) == 0
        for: 10s
      - alert: PgraftCommitsWait
        expr: pgraft_primary == 1 and pgraft_sync_acks < pgraft_sync_acks_needed
        for: 10s
      - alert: PgraftInDoubt
        expr: pgraft_in_doubt_bytes > 0
        for: 1m
      - alert: PgraftStandbyLags
        expr: max by (node) (pgraft_replication_lag_bytes) > 64e6
        for: 5m
      - alert: PgraftFailover
        expr: increase(pgraft_failovers_total[5m]) > 0
      - alert: PgraftPaused
        expr: max(pgraft_paused) == 1
        for: 1h
` + "```" + `
`

const referenceEnd = `
## The libraries' own

The names below ` + "`pgraft_raft_` and `pgraft_memberlist_`" + ` are those of hashicorp/raft and hashicorp/memberlist, with dots made underscores. They
may change with the libraries. Times are in milliseconds, as summaries. A series without news for ten minutes is dropped.

| metric | look for |
|---|---|
| ` + "`pgraft_raft_commitTime`" + ` | On the leader, from append to commit: the speed of the fastest majority. |
| ` + "`pgraft_raft_leader_lastContact`" + ` | On the leader, since a majority answered. Near the lease: it is about to step down. |
| ` + "`pgraft_raft_leader_dispatchLog`" + ` | The leader's own disk. |
| ` + "`pgraft_raft_rpc_appendEntries_storeLogs`" + ` | A follower's disk. |
| ` + "`pgraft_raft_replication_appendEntries_rpc`" + ` | The way to each peer and back, its disk included. |
| ` + "`pgraft_raft_fsm_applyBatch`" + ` | The state machine; memory only. |
| ` + "`pgraft_raft_thread_main_saturation`, `pgraft_raft_thread_fsm_saturation`" + ` | Near 1: that thread is the bottleneck. |
| ` + "`pgraft_raft_transition_heartbeat_timeout`" + ` | Followers that lost patience with a leader. |
| ` + "`pgraft_memberlist_probeNode`" + ` | The time of gossip's probes. |
| ` + "`pgraft_memberlist_udp_sent`, `pgraft_memberlist_udp_received`" + ` | Bytes of gossip. |

` + "`go_*` and `process_*`" + ` are the Go runtime's and the process's: ` + "`process_resident_memory_bytes`, `process_open_fds`, `go_goroutines`" + `.
`
