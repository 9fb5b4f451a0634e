package pgext

import (
	"context"

	"github.com/pgraft/pgraft/api"
)

const showEvents = 50 // without a number given

func showCommands() []command {
	return []command{
		{syntax: "SHOW NODES", help: "a row per node", run: showStatus(nodesResult)},
		{syntax: "SHOW STATUS", help: "this node and the cluster as it sees it", run: showStatus(statusResult)},
		{syntax: "SHOW PEERS", help: "how far each other node's log reaches", run: showStatus(peersResult)},
		{syntax: "SHOW LOG", help: "the replicated log on this node", run: showStatus(logResult)},
		{syntax: "SHOW EVENTS [number]", help: "the latest events, the newest first", run: showEventsResult},
		{syntax: "SHOW SETTINGS", help: "cluster-wide settings", run: showSettings},
		{syntax: "SHOW INFO", help: "effective configuration and where each value is from", run: showInfo},
		{syntax: "SHOW VERSION", help: "the agent's version", run: showStatus(versionResult)},
	}
}

// showStatus makes a statement of a view of api.Status.
func showStatus(view func(api.Status) *result) func(context.Context, Backend, []string) (*result, error) {
	return func(_ context.Context, b Backend, _ []string) (*result, error) { return view(b.Status()), nil }
}

func nodesResult(s api.Status) *result {
	r := newResult(intColumn("node_id"), textColumn("name"), textColumn("address"), intColumn("port"), boolColumn("is_leader"),
		textColumn("role"), textColumn("status"), boolColumn("voter"), intColumn("applied_index"), intColumn("lag_bytes"), intColumn("lag_ms"),
		textColumn("version"))
	for _, n := range s.Nodes {
		r.add(n.NodeID, n.Name, n.Address, n.Port, n.IsLeader, n.Role, n.Status, n.Voter, n.AppliedIndex, lagBytes(n.LagBytes), n.LagMS, n.Version)
	}
	return r
}

// lagBytes is null where it is not known.
func lagBytes(n int64) any {
	if n < 0 {
		return nil
	}
	return n
}

func peersResult(s api.Status) *result {
	r := newResult(intColumn("node_id"), textColumn("name"), intColumn("match_index"), intColumn("lag_entries"), intColumn("lag_ms"),
		boolColumn("is_active"))
	for _, p := range s.Peers {
		r.add(p.NodeID, p.Name, p.MatchIndex, p.LagEntries, p.LagMS, p.IsActive)
	}
	return r
}

func logResult(s api.Status) *result {
	l := s.Log
	return newResult(intColumn("log_size"), intColumn("last_index"), intColumn("commit_index"), intColumn("last_applied"),
		intColumn("replicated"), intColumn("committed"), intColumn("applied"), intColumn("errors"), intColumn("snapshot_index"),
		intColumn("disk_bytes")).
		add(l.Size, l.LastIndex, l.CommitIndex, l.AppliedIndex, l.Replicated, l.Committed, l.Applied, l.Errors, l.SnapshotIndex, l.DiskBytes)
}

func statusResult(s api.Status) *result {
	return newResult(textColumn("name"), textColumn("value")).
		add("cluster_name", s.ClusterName).
		add("cluster_id", s.ClusterID).
		add("name", s.Name).
		add("node_id", s.NodeID).
		add("role", s.Role).
		add("worker_state", string(s.WorkerState)).
		add("worker_message", s.WorkerMessage).
		add("state", s.State).
		add("voter", s.Voter).
		add("is_leader", s.IsLeader).
		add("leader_id", s.LeaderID).
		add("leader_name", s.LeaderName).
		add("term", s.Term).
		add("has_quorum", s.HasQuorum).
		add("last_contact_ms", s.LastContactMS).
		add("primary_id", s.PrimaryID).
		add("primary_name", s.PrimaryName).
		add("epoch", s.Epoch).
		add("phase", s.Phase).
		add("paused", s.Paused).
		add("in_doubt_lsn", s.InDoubtLSN).
		add("commit_index", s.Log.CommitIndex).
		add("applied_index", s.Log.AppliedIndex).
		add("postgres_up", s.Postgres.Up).
		add("postgres_applied_index", s.Postgres.AppliedIndex).
		add("postgres_lag_entries", s.Postgres.LagEntries).
		add("postgres_error", s.Postgres.Error).
		add("version", s.Version).
		add("started_at", s.StartedAt).
		add("as_of", s.AsOf)
}

func versionResult(s api.Status) *result {
	return newResult(textColumn("version")).add(s.Version)
}

func showEventsResult(ctx context.Context, b Backend, args []string) (*result, error) {
	limit := uint64(showEvents)
	if len(args) > 0 {
		var err error
		if limit, err = numberArg("number", args[0]); err != nil {
			return nil, err
		}
	}
	events, err := b.Events(ctx, int(min(limit, 100_000)))
	if err != nil {
		return nil, err
	}
	r := newResult(intColumn("index"), timeColumn("time"), textColumn("type"), textColumn("node"), textColumn("message"))
	for _, e := range events {
		r.add(e.Index, e.Time, e.Type, e.Node, e.Message)
	}
	return r, nil
}

func showSettings(ctx context.Context, b Backend, _ []string) (*result, error) {
	settings, err := b.Settings(ctx)
	if err != nil {
		return nil, err
	}
	r := newResult(textColumn("name"), textColumn("value"), intColumn("modify_index"))
	for _, s := range settings {
		r.add(s.Name, s.Value, s.ModifyIndex)
	}
	return r, nil
}

func showInfo(_ context.Context, b Backend, _ []string) (*result, error) {
	r := newResult(textColumn("name"), textColumn("value"), textColumn("source"))
	for _, v := range b.Info() {
		r.add(v.Name, v.Value, v.Source)
	}
	return r, nil
}
