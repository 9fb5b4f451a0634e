package fsm

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pgraft/pgraft/api"
)

// The limits of operations. All of them end up in the log and most in PostgreSQL, so they are part of the replicated
// behaviour: a change needs all servers to agree on it.
const (
	MaxKeySize       = 512
	MaxValueSize     = 512 << 10
	MaxTxnOps        = 128       // compares and the operations of both branches, together
	MaxTxnSize       = 512 << 10 // keys and values of a transaction
	MaxTxnResultSize = 1 << 20   // keys and values that a transaction may read
	MaxEntryReadSize = 16 << 20  // keys and values that all transactions of an entry may read
	MaxSettingSize   = 64 << 10
	MaxEventSize     = 64 << 10
	MaxNameSize      = 255 // of nodes, sessions, settings, addresses, ids
	MaxNodeID        = math.MaxInt32

	MinSessionTTL = time.Second
	MaxSessionTTL = 24 * time.Hour
	MaxLockDelay  = time.Minute
)

// What becomes of the keys that a session has locked when it ends.
const (
	BehaviorRelease = "release" // also when none is given
	BehaviorDelete  = "delete"
)

// Validate checks what can be known of an operation without the store. The error is an *api.Error. Callers check
// before they propose, to spare the log; Apply checks again, since it can't know who wrote the entry.
func Validate(op Op) error {
	if r, ok := op.(interface{ request() Request }); ok && len(r.request().ID) > MaxNameSize {
		return tooLarge("request id", len(r.request().ID), MaxNameSize)
	}
	if err := validate(op); err != nil {
		return err
	}
	return nil
}

// validate returns a typed nil-able error so that the checks below can be chained by first-error.
func validate(op Op) *api.Error {
	switch op := op.(type) {
	case ClusterInit:
		return firstError(required("cluster id", op.ClusterID), text("cluster name", op.ClusterName, MaxNameSize))
	case KVSet:
		return validateSet(op)
	case KVDelete:
		return validateDelete(op)
	case Txn:
		return validateTxn(op.Txn)
	case SessionCreate:
		return validateSession(op)
	case SessionDestroy:
		return required("session id", op.ID)
	case NodeRegister:
		return validateNode(op.Node)
	case NodeBind:
		return firstError(required("node name", op.Name), nodeID(op.NodeID, 1))
	case NodeRemove:
		return firstError(required("server id", op.ServerID), text("reason", op.Reason, MaxNameSize))
	case SettingSet:
		return firstError(required("setting name", op.Name), text("setting value", op.Value, MaxSettingSize))
	case SettingDelete:
		return required("setting name", op.Name)
	case EventAppend:
		return validateEvent(op)
	case Primacy:
		return validatePrimacy(op.Op)
	case Noop:
		return size("data", len(op.Data), MaxValueSize)
	default:
		return badRequest("unknown operation %T", op)
	}
}

func validateSet(op KVSet) *api.Error {
	if op.Acquire != "" && op.Release != "" {
		return badRequest("a write can acquire or release a lock, not both: send two writes")
	}
	return firstError(
		key(op.Key),
		size("value", len(op.Value), MaxValueSize),
		cond(op.Cond),
		text("session id", op.Acquire, MaxNameSize),
		text("session id", op.Release, MaxNameSize),
	)
}

func validateDelete(op KVDelete) *api.Error {
	if !op.Prefix {
		return firstError(key(op.Key), cond(op.Cond))
	}
	if op.Cond.Kind != CondNone {
		return badRequest("a delete by prefix takes no condition: use a transaction")
	}
	return text("prefix", op.Key, MaxKeySize) // empty means every key
}

func cond(c Cond) *api.Error {
	if c.Kind > CondVersion {
		return badRequest("unknown kind of condition %d", c.Kind)
	}
	return nil
}

func validateSession(op SessionCreate) *api.Error {
	if op.TTL != 0 && (op.TTL < MinSessionTTL || op.TTL > MaxSessionTTL) {
		return badRequest("session ttl %v: must be 0 or from %v to %v", op.TTL, MinSessionTTL, MaxSessionTTL)
	}
	if op.LockDelay < 0 || op.LockDelay > MaxLockDelay {
		return badRequest("session lock delay %v: must be from 0 to %v", op.LockDelay, MaxLockDelay)
	}
	if b := op.Behavior; b != "" && b != BehaviorRelease && b != BehaviorDelete {
		return badRequest("session behavior %q: must be %s or %s", clip(b), BehaviorRelease, BehaviorDelete)
	}
	return firstError(
		required("session id", op.ID),
		text("session name", op.Name, MaxNameSize),
		text("session node", op.Node, MaxNameSize),
	)
}

func validateNode(n Node) *api.Error {
	return firstError(
		required("node name", n.Name),
		required("server id", n.ServerID),
		nodeID(n.NodeID, 0),
		text("raft address", n.RaftAddress, MaxNameSize),
		text("gossip address", n.GossipAddress, MaxNameSize),
		text("http address", n.HTTPAddress, MaxNameSize),
		text("postgres address", n.PostgresAddress, MaxNameSize),
		text("version", n.Version, MaxNameSize),
		text("zone", n.Zone, MaxNameSize),
	)
}

func nodeID(id, least int) *api.Error {
	if id < least || id > MaxNodeID {
		return badRequest("node id %d: must be from 1 to %d", id, MaxNodeID)
	}
	return nil
}

func validateEvent(op EventAppend) *api.Error {
	total := len(op.Type) + len(op.Node) + len(op.Message)
	for name, value := range op.Data {
		total += len(name) + len(value)
	}
	if err := size("event", total, MaxEventSize); err != nil {
		return err
	}
	if !texts(op.Data) {
		return badRequest("event data: must be valid UTF-8 without NUL")
	}
	return firstError(
		required("event type", op.Type),
		text("event node", op.Node, MaxNameSize),
		text("event message", op.Message, MaxEventSize),
	)
}

func texts(data map[string]string) bool {
	for name, value := range data {
		if !isText(name) || !isText(value) {
			return false
		}
	}
	return true
}

func key(k string) *api.Error {
	if k == "" {
		return badRequest("no key given")
	}
	return text("key", k, MaxKeySize)
}

func required(what, value string) *api.Error {
	if value == "" {
		return badRequest("no %s given", what)
	}
	return text(what, value, MaxNameSize)
}

// text checks what memdb's indexes and PostgreSQL's text ask of a string: valid UTF-8 without NUL.
func text(what, value string, limit int) *api.Error {
	if err := size(what, len(value), limit); err != nil {
		return err
	}
	if !isText(value) {
		return badRequest("%s %q: must be valid UTF-8 without NUL", what, clip(value))
	}
	return nil
}

func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func size(what string, n, limit int) *api.Error {
	if n > limit {
		return tooLarge(what, n, limit)
	}
	return nil
}

func firstError(errs ...*api.Error) *api.Error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func badRequest(format string, args ...any) *api.Error {
	return &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

func tooLarge(what string, n, limit int) *api.Error {
	return &api.Error{Code: api.CodeTooLarge, Message: fmt.Sprintf("%s has %d bytes: at most %d are allowed", what, n, limit)}
}

// clip keeps a message short whatever it quotes.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
