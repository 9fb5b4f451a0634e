package fsm

import (
	"encoding/binary"
	"fmt"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// The tables of the store. Each one that a snapshot holds is written in the order of its id index.
const (
	tableState     = "state"     // singletons: see stateRow
	tableKV        = "kv"        // *api.KVPair
	tableTombstone = "tombstone" // *tombstone
	tableSession   = "session"   // *session
	tableLockDelay = "lockdelay" // *lockDelay
	tableNode      = "node"      // *Node
	tableBinding   = "binding"   // *binding
	tableRemoved   = "removed"   // *removed
	tableSetting   = "setting"   // *api.Setting
	tableEvent     = "event"     // *api.Event
)

// The indexes of the tables beside memdb's own "id".
const (
	indexID      = "id"
	indexPrefix  = "id_prefix"
	indexSession = "session" // kv: by the session that holds the lock
	indexIndex   = "index"   // tombstone: by raft index
	indexUntil   = "until"   // lockdelay: by end
	indexNodeID  = "node_id" // node, binding
	indexServer  = "server"  // node: by server id
)

func newDB() *memdb.MemDB {
	tables := map[string]*memdb.TableSchema{
		tableState: table(tableState, textIndex[stateRow]{func(r stateRow) string { return r.rowKey() }}),
		tableKV: table(tableKV, textIndex[*api.KVPair]{func(p *api.KVPair) string { return p.Key }},
			index(indexSession, textIndex[*api.KVPair]{func(p *api.KVPair) string { return p.Session }})),
		tableTombstone: table(tableTombstone, textIndex[*tombstone]{func(t *tombstone) string { return t.Key }},
			index(indexIndex, numberIndex[*tombstone]{func(t *tombstone) uint64 { return t.Index }})),
		tableSession: table(tableSession, textIndex[*session]{func(s *session) string { return s.ID }}),
		tableLockDelay: table(tableLockDelay, textIndex[*lockDelay]{func(d *lockDelay) string { return d.Key }},
			index(indexUntil, numberIndex[*lockDelay]{func(d *lockDelay) uint64 { return uint64(d.Until) }})),
		tableNode: table(tableNode, textIndex[*Node]{func(n *Node) string { return n.Name }},
			index(indexNodeID, numberIndex[*Node]{func(n *Node) uint64 { return uint64(n.NodeID) }}),
			index(indexServer, textIndex[*Node]{func(n *Node) string { return n.ServerID }})),
		tableBinding: table(tableBinding, textIndex[*binding]{func(b *binding) string { return b.Name }},
			index(indexNodeID, numberIndex[*binding]{func(b *binding) uint64 { return uint64(b.NodeID) }})),
		tableRemoved: table(tableRemoved, textIndex[*removed]{func(r *removed) string { return r.ServerID }}),
		tableSetting: table(tableSetting, textIndex[*api.Setting]{func(s *api.Setting) string { return s.Name }}),
		tableEvent:   table(tableEvent, numberIndex[*api.Event]{func(e *api.Event) uint64 { return e.Index }}),
	}
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: tables})
	must(err)
	return db
}

func table(name string, id memdb.Indexer, more ...*memdb.IndexSchema) *memdb.TableSchema {
	t := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{
		indexID: {Name: indexID, Unique: true, Indexer: id},
	}}
	for _, i := range more {
		t.Indexes[i.Name] = i
	}
	return t
}

func index(name string, indexer memdb.Indexer) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: indexer}
}

// must turns an error that only a mistake in this file or in a caller's table name can cause into a panic: memdb
// reports a wrong schema, an unknown index and an object of the wrong type, and no input leads there.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("fsm: broken schema: %v", err))
	}
}

// textIndex orders rows of type T by a text without NUL, which all texts in the store are (see Validate). Rows whose
// text is empty are not in the index.
type textIndex[T any] struct{ of func(T) string }

// FromObject implements memdb.SingleIndexer.
func (x textIndex[T]) FromObject(object any) (bool, []byte, error) {
	row, ok := object.(T)
	if !ok {
		return false, nil, fmt.Errorf("index object: unexpected type %T", object)
	}
	text := x.of(row)
	if text == "" {
		return false, nil, nil
	}
	return true, terminated(text), nil
}

// FromArgs implements memdb.Indexer.
func (x textIndex[T]) FromArgs(args ...any) ([]byte, error) {
	text, err := textArg(args)
	return terminated(text), err
}

// PrefixFromArgs implements memdb.PrefixIndexer.
func (x textIndex[T]) PrefixFromArgs(args ...any) ([]byte, error) {
	text, err := textArg(args)
	return []byte(text), err
}

func terminated(text string) []byte {
	b := make([]byte, len(text)+1)
	copy(b, text)
	return b
}

func textArg(args []any) (string, error) {
	if len(args) == 1 {
		if text, ok := args[0].(string); ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("index argument: want one string, got %v", args)
}

// numberIndex orders rows of type T by a number.
type numberIndex[T any] struct{ of func(T) uint64 }

// FromObject implements memdb.SingleIndexer.
func (x numberIndex[T]) FromObject(object any) (bool, []byte, error) {
	row, ok := object.(T)
	if !ok {
		return false, nil, fmt.Errorf("index object: unexpected type %T", object)
	}
	return true, binary.BigEndian.AppendUint64(nil, x.of(row)), nil
}

// FromArgs implements memdb.Indexer.
func (x numberIndex[T]) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		if number, ok := args[0].(uint64); ok {
			return binary.BigEndian.AppendUint64(nil, number), nil
		}
	}
	return nil, fmt.Errorf("index argument: want one uint64, got %v", args)
}

// first returns the row that an index finds, or T's zero value.
func first[T any](txn *memdb.Txn, ws memdb.WatchSet, table, index string, arg any) T {
	watch, object, err := txn.FirstWatch(table, index, arg)
	must(err)
	ws.Add(watch)
	row, _ := object.(T)
	return row
}

// each calls visit for the rows that an index finds, in its order, until visit returns false.
func each[T any](txn *memdb.Txn, ws memdb.WatchSet, table, index string, visit func(T) bool, args ...any) {
	rows, err := txn.Get(table, index, args...)
	must(err)
	ws.Add(rows.WatchCh())
	for object := rows.Next(); object != nil; object = rows.Next() {
		if !visit(object.(T)) {
			return
		}
	}
}

// collect returns all rows that an index finds.
func collect[T any](txn *memdb.Txn, table, index string, args ...any) []T {
	var rows []T
	each(txn, nil, table, index, func(row T) bool {
		rows = append(rows, row)
		return true
	}, args...)
	return rows
}
