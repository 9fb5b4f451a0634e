package fsm

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// Primacy runs one operation on the state that says who the primary PostgreSQL is. A refusal has CodeConflict.
type Primacy struct {
	Request
	Op primacy.Op
}

// The limits of a Primacy's parts, beside MaxNameSize.
const (
	MaxPrimacyMembers = 64
	MaxPrimacyReason  = 1 << 10
)

// primacyState is the row of the state table that holds primacy.State.
type primacyState struct {
	Index uint64 // of the last entry that changed it
	State primacy.State
}

const keyPrimacy = "primacy"

func (primacyState) rowKey() string { return keyPrimacy }

// Primacy returns who the primary PostgreSQL is, with the secret of the replication role. It is for reading only.
func (s *Store) Primacy(ws memdb.WatchSet) (uint64, primacy.State) {
	row := state[primacyState](s.read(), ws, keyPrimacy)
	return max(1, row.Index), row.State
}

func (w *write) primacy(op primacy.Op) Result {
	row := state[primacyState](w.txn, nil, keyPrimacy)
	next, events, err := primacy.Apply(row.State, op)
	if err != nil {
		return w.refuse(api.CodeConflict, w.withNames(err.Error()))
	}
	if !reflect.DeepEqual(next, row.State) {
		w.put(tableState, primacyState{Index: w.index, State: next})
	}
	for _, e := range events {
		w.primacyEvent(e)
	}
	return w.done()
}

// primacyEvent writes an event with the names of nodes in the place of server ids.
func (w *write) primacyEvent(e primacy.Event) {
	data := maps.Clone(e.Data)
	name := ""
	if e.ServerID != "" {
		data["server_id"] = e.ServerID
		if node := first[*Node](w.txn, nil, tableNode, indexServer, e.ServerID); node != nil {
			name = node.Name
		}
	}
	w.event(e.Type, name, w.withNames(e.Message), data)
}

// withNames names the registered nodes where primacy, which knows none, has "server ID".
func (w *write) withNames(message string) string {
	var pairs []string
	each(w.txn, nil, tableNode, indexNodeID, func(n *Node) bool {
		pairs = append(pairs, "server "+n.ServerID, "node "+n.Name)
		return true
	})
	return strings.NewReplacer(pairs...).Replace(message)
}

// The byte behind a Primacy's kind says which operation it holds. Never reuse one.
const (
	primacyFound    = 1
	primacyFence    = 2
	primacyReport   = 3
	primacyPromote  = 4
	primacyReady    = 5
	primacyLost     = 6
	primacyNext     = 7
	primacyConfirm  = 8
	primacyShrink   = 9
	primacyAcked    = 10
	primacyHandover = 11
	primacyPause    = 12
)

// primacyBody is what follows that byte.
type primacyBody[T primacy.Op] struct {
	Request
	Op T
}

func (p *packer) encodePrimacy(op Primacy) ([]byte, error) {
	switch inner := op.Op.(type) {
	case primacy.FoundOp:
		return packPrimacy(p, primacyFound, op.Request, inner)
	case primacy.FenceOp:
		return packPrimacy(p, primacyFence, op.Request, inner)
	case primacy.ReportOp:
		return packPrimacy(p, primacyReport, op.Request, inner)
	case primacy.PromoteOp:
		return packPrimacy(p, primacyPromote, op.Request, inner)
	case primacy.ReadyOp:
		return packPrimacy(p, primacyReady, op.Request, inner)
	case primacy.LostOp:
		return packPrimacy(p, primacyLost, op.Request, inner)
	case primacy.NextOp:
		return packPrimacy(p, primacyNext, op.Request, inner)
	case primacy.ConfirmOp:
		return packPrimacy(p, primacyConfirm, op.Request, inner)
	case primacy.ShrinkOp:
		return packPrimacy(p, primacyShrink, op.Request, inner)
	case primacy.AckedOp:
		return packPrimacy(p, primacyAcked, op.Request, inner)
	case primacy.HandoverOp:
		return packPrimacy(p, primacyHandover, op.Request, inner)
	case primacy.PauseOp:
		return packPrimacy(p, primacyPause, op.Request, inner)
	default:
		return nil, fmt.Errorf("encode %T: unknown operation %T", op, op.Op)
	}
}

func packPrimacy[T primacy.Op](p *packer, sub byte, request Request, op T) ([]byte, error) {
	b, err := p.pack([]byte{byte(kindPrimacy), sub}, primacyBody[T]{request, op})
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", op, err)
	}
	return b, nil
}

func (p *packer) decodePrimacy(b []byte) (Op, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("decode %T: empty", Primacy{})
	}
	body := b[1:]
	switch sub := b[0]; sub {
	case primacyFound:
		return unpackPrimacy[primacy.FoundOp](p, body)
	case primacyFence:
		return unpackPrimacy[primacy.FenceOp](p, body)
	case primacyReport:
		return unpackPrimacy[primacy.ReportOp](p, body)
	case primacyPromote:
		return unpackPrimacy[primacy.PromoteOp](p, body)
	case primacyReady:
		return unpackPrimacy[primacy.ReadyOp](p, body)
	case primacyLost:
		return unpackPrimacy[primacy.LostOp](p, body)
	case primacyNext:
		return unpackPrimacy[primacy.NextOp](p, body)
	case primacyConfirm:
		return unpackPrimacy[primacy.ConfirmOp](p, body)
	case primacyShrink:
		return unpackPrimacy[primacy.ShrinkOp](p, body)
	case primacyAcked:
		return unpackPrimacy[primacy.AckedOp](p, body)
	case primacyHandover:
		return unpackPrimacy[primacy.HandoverOp](p, body)
	case primacyPause:
		return unpackPrimacy[primacy.PauseOp](p, body)
	default:
		return nil, fmt.Errorf("decode %T: unknown kind %d", Primacy{}, sub)
	}
}

func unpackPrimacy[T primacy.Op](p *packer, body []byte) (Op, error) {
	var decoded primacyBody[T]
	if err := p.unpack(body, &decoded); err != nil {
		return nil, fmt.Errorf("decode %T: %w", decoded.Op, err)
	}
	return Primacy{Request: decoded.Request, Op: decoded.Op}, nil
}
