package pgext

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/pgraft/pgraft/api"
)

func kvGet(ctx context.Context, b Backend, args []string) (*result, error) {
	pair, err := b.KVGet(ctx, args[0])
	if err != nil {
		return nil, err
	}
	r := newResult(textColumn("value"))
	if pair == nil {
		return r, nil
	}
	if !utf8.Valid(pair.Value) || strings.IndexByte(string(pair.Value), 0) >= 0 {
		return nil, &sqlError{
			code: stateBadCharacter, message: "the value is not text",
			hint: "read it in column value_bytes of table pgraft.kv, or over HTTP: GET /v1/kv/KEY?raw",
		}
	}
	return r.add(string(pair.Value)), nil
}

func kvExists(ctx context.Context, b Backend, args []string) (*result, error) {
	pair, err := b.KVGet(ctx, args[0])
	if err != nil {
		return nil, err
	}
	return newResult(boolColumn("exists")).add(pair != nil), nil
}

func kvList(ctx context.Context, b Backend, args []string) (*result, error) {
	prefix := ""
	if len(args) > 0 {
		prefix = args[0]
	}
	keys, err := b.KVKeys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	r := newResult(textColumn("key"))
	for _, key := range keys {
		r.add(key)
	}
	return r, nil
}

func kvPut(ctx context.Context, b Backend, args []string) (*result, error) {
	w, err := b.KVPut(ctx, args[0], []byte(args[1]))
	if err != nil {
		return nil, changeError(err)
	}
	return newResult(intColumn("index"), intColumn("version")).add(w.Index, w.Version), nil
}

func kvCAS(ctx context.Context, b Backend, args []string) (*result, error) {
	version, err := numberArg("version", args[1])
	if err != nil {
		return nil, err
	}
	w, err := b.KVCAS(ctx, args[0], version, []byte(args[2]))
	if err != nil {
		return nil, changeError(err)
	}
	return newResult(intColumn("index"), intColumn("version")).add(w.Index, w.Version), nil
}

func kvDelete(ctx context.Context, b Backend, args []string) (*result, error) {
	w, err := b.KVDelete(ctx, args[0])
	if err != nil {
		return nil, changeError(err)
	}
	return newResult(intColumn("index"), intColumn("deleted")).add(w.Index, w.Deleted), nil
}

func replicate(ctx context.Context, b Backend, args []string) (*result, error) {
	index, err := b.Replicate(ctx, []byte(args[0]))
	if err != nil {
		return nil, changeError(err)
	}
	return newResult(intColumn("index"), intColumn("bytes")).add(index, len(args[0])), nil
}

func addNode(ctx context.Context, b Backend, args []string) (*result, error) {
	id, err := nodeArg(args[0])
	if err != nil {
		return nil, err
	}
	port, err := portArg(args[2])
	if err != nil {
		return nil, err
	}
	if args[1] == "" {
		return nil, invalid("address must not be empty")
	}
	err = b.AddNode(ctx, id, args[1], port)
	return nodeResult(b, "add node", id, err)
}

func removeNode(ctx context.Context, b Backend, args []string) (*result, error) {
	id, err := nodeArg(args[0])
	if err != nil {
		return nil, err
	}
	return nodeResult(b, "remove node", id, b.RemoveNode(ctx, id))
}

func transferLeadership(ctx context.Context, b Backend, args []string) (*result, error) {
	id, err := nodeArg(args[0])
	if err != nil {
		return nil, err
	}
	return nodeResult(b, "transfer leadership", id, b.TransferLeadership(ctx, id))
}

func switchover(ctx context.Context, b Backend, args []string) (*result, error) {
	id, err := nodeArg(args[0])
	if err != nil {
		return nil, err
	}
	s, ok := b.(Switcher)
	if !ok {
		return nil, &sqlError{
			code: stateNotPossible, message: "cannot switch over: pgraft does not manage PostgreSQL here",
			hint: `this needs mode = "managed" in block postgres of the agents' configuration`,
		}
	}
	return nodeResult(b, "switch over", id, s.Switchover(ctx, id))
}

// nodeResult words the refusal of a node that is not the leader as the operations guide has it.
func nodeResult(b Backend, what string, id int, err error) (*result, error) {
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.CodeNotLeader {
		status := b.Status()
		leader, name := status.LeaderID, status.LeaderName
		if e.Leader != nil {
			leader, name = e.Leader.NodeID, e.Leader.Name
		}
		return nil, &sqlError{
			code: stateNotPossible, message: "cannot " + what + ": this node is not the leader", hint: leaderHint(leader, name),
		}
	}
	if err != nil {
		return nil, changeError(err)
	}
	return newResult(intColumn("node_id")).add(id), nil
}

func waitIndex(ctx context.Context, b Backend, args []string) (*result, error) {
	index, err := numberArg("index", args[0])
	if err != nil {
		return nil, err
	}
	if len(args) > 1 {
		timeout, err := durationArg(args[1])
		if err != nil {
			return nil, err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if err := b.WaitIndex(ctx, index); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &sqlError{
				code: stateCanceled, message: "index was not applied here in time", hint: "SHOW LOG tells how far this node is",
			}
		}
		return nil, err
	}
	return newResult(intColumn("index")).add(index), nil
}

func snapshot(ctx context.Context, b Backend, _ []string) (*result, error) {
	index, err := b.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return newResult(intColumn("index")).add(index), nil
}

func setDebug(_ context.Context, b Backend, args []string) (*result, error) {
	var enabled bool
	switch strings.ToLower(args[0]) {
	case "on", "true":
		enabled = true
	case "off", "false":
	default:
		return nil, invalid("debug is on or off, not %q", shorten(args[0]))
	}
	b.SetDebug(enabled)
	return newResult(boolColumn("debug")).add(enabled), nil
}
