package agent

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// consoleBackend does what the console's statements ask for, and by them the SQL functions.
type consoleBackend struct{ *Agent }

// Info returns every value in force and where it came from.
func (c consoleBackend) Info() []api.InfoValue { return c.current().Values() }

// KVGet reads a key as a majority has it; nil for no such key.
func (c consoleBackend) KVGet(ctx context.Context, key string) (*api.KVPair, error) {
	if c.raft.IsLeader() {
		if err := c.raft.ConsistentBarrier(ctx); err != nil {
			return nil, c.apiError(err)
		}
		_, pair := c.fsm.Store().KVGet(nil, key)
		return pair, nil
	}
	client, err := c.leaderClient()
	if err != nil {
		return nil, err
	}
	pair, _, err := client.KVGet(ctx, key, api.QueryOptions{})
	return pair, err
}

// KVKeys lists keys as a majority has them.
func (c consoleBackend) KVKeys(ctx context.Context, prefix string) ([]string, error) {
	if c.raft.IsLeader() {
		if err := c.raft.ConsistentBarrier(ctx); err != nil {
			return nil, c.apiError(err)
		}
		_, keys := c.fsm.Store().KVKeys(nil, prefix, "")
		return keys, nil
	}
	client, err := c.leaderClient()
	if err != nil {
		return nil, err
	}
	keys, _, err := client.KVKeys(ctx, prefix, "", api.QueryOptions{})
	return keys, err
}

// Switchover hands the primary's part to a node and returns once that is ready.
func (c consoleBackend) Switchover(ctx context.Context, nodeID int) error {
	if c.failover == nil {
		return &api.Error{
			Code: api.CodeConflict, Message: "cannot switch over: this node's PostgreSQL is not managed by pgraft",
			Hint: `set postgres.mode = "managed" on every node`,
		}
	}
	client, err := c.leaderClient()
	if err != nil {
		return err
	}
	_, err = client.Switchover(ctx, strconv.Itoa(nodeID))
	return err
}

// KVPut writes a key.
func (c consoleBackend) KVPut(ctx context.Context, key string, value []byte) (api.WriteResult, error) {
	return c.write(ctx, fsm.KVSet{Key: key, Value: value})
}

// KVCAS writes if the key's version is the given one; 0 = there is no such key.
func (c consoleBackend) KVCAS(ctx context.Context, key string, version uint64, value []byte) (api.WriteResult, error) {
	return c.write(ctx, fsm.KVSet{Key: key, Value: value, Cond: fsm.Cond{Kind: fsm.CondVersion, Number: version}})
}

// KVDelete removes a key.
func (c consoleBackend) KVDelete(ctx context.Context, key string) (api.WriteResult, error) {
	return c.write(ctx, fsm.KVDelete{Key: key})
}

func (c consoleBackend) write(ctx context.Context, op fsm.Op) (api.WriteResult, error) {
	if err := fsm.Validate(op); err != nil {
		return api.WriteResult{}, err
	}
	r, err := (proposer{c.Agent}).Propose(ctx, op)
	return api.WriteResult{Index: r.Index, Version: r.Version, Deleted: r.Deleted}, err
}

// AddNode lets the node whose agent answers at address:port, its Raft port, join under the given node id.
func (c consoleBackend) AddNode(ctx context.Context, nodeID int, address string, port int) error {
	if !c.raft.IsLeader() {
		return operator{c.Agent}.notLeader("add node")
	}
	answer, err := c.probeAddress(ctx, net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return &api.Error{
			Code: api.CodeUnavailable, Message: fmt.Sprintf("cannot add node %d: no agent of this cluster answers at %s:%d: %v", nodeID, address, port, err),
			Hint: "give the agent's Raft address (default port 7401), and start it with the same cluster_name",
		}
	}
	if nodeID != 0 {
		if _, err := (proposer{c.Agent}).Propose(ctx, fsm.NodeBind{Name: answer.Name, NodeID: nodeID}); err != nil {
			return err
		}
	}
	if _, err := c.gossip.Join(ctx, []string{answer.GossipAddress}); err != nil {
		return &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("cannot add node %d: %v", nodeID, err)}
	}
	return nil
}

// RemoveNode retires the node with this id.
func (c consoleBackend) RemoveNode(ctx context.Context, nodeID int) error {
	return operator{c.Agent}.retire(ctx, strconv.Itoa(nodeID), "removed by operator")
}

// TransferLeadership hands over to the node with this id.
func (c consoleBackend) TransferLeadership(ctx context.Context, nodeID int) error {
	return operator{c.Agent}.TransferLeader(ctx, strconv.Itoa(nodeID))
}

// Replicate sends data through the log and returns its index.
func (c consoleBackend) Replicate(ctx context.Context, data []byte) (uint64, error) {
	r, err := c.write(ctx, fsm.Noop{Data: data})
	return r.Index, err
}

// WaitIndex returns once this node's state machine has applied the index.
func (c consoleBackend) WaitIndex(ctx context.Context, index uint64) error {
	return c.fsm.WaitIndex(ctx, index)
}

// Snapshot takes a Raft snapshot on this node and returns the index it reaches to.
func (c consoleBackend) Snapshot(ctx context.Context) (uint64, error) {
	meta, state, err := c.raft.Snapshot(ctx)
	if err != nil {
		return 0, c.apiError(err)
	}
	return meta.Index, state.Close()
}

// SetDebug logs everything, or what the configuration says.
func (c consoleBackend) SetDebug(enabled bool) {
	level := hclog.LevelFromString(c.current().LogLevel)
	if enabled {
		level = hclog.Debug
	}
	c.log.SetLevel(level)
	c.log.Info("log level set from SQL", "level", level.String())
}

// Events returns the latest ones, the newest first.
func (c consoleBackend) Events(_ context.Context, limit int) ([]api.Event, error) {
	_, events := c.fsm.Store().Events(nil, 0, 0)
	if len(events) > limit {
		events = events[len(events)-limit:]
	}
	newest := make([]api.Event, 0, len(events))
	for i := range events {
		newest = append(newest, events[len(events)-1-i])
	}
	return newest, nil
}

// Settings returns the cluster-wide settings.
func (c consoleBackend) Settings(context.Context) ([]api.Setting, error) {
	_, settings := c.fsm.Store().Settings(nil)
	return settings, nil
}
