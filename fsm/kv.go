package fsm

import (
	"fmt"
	"strings"
	"time"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// KVGet returns one key, nil if it does not exist.
func (s *Store) KVGet(ws memdb.WatchSet, key string) (uint64, *api.KVPair) {
	txn := s.read()
	pair := first[*api.KVPair](txn, ws, tableKV, indexID, key)
	if pair == nil {
		return max(1, buried(txn, key)), nil
	}
	found := *pair
	return pair.ModifyIndex, &found
}

// KVList returns the keys that start with prefix, in byte order.
func (s *Store) KVList(ws memdb.WatchSet, prefix string) (uint64, []api.KVPair) {
	txn := s.read()
	var pairs []api.KVPair
	index := scanKV(txn, ws, prefix, func(pair *api.KVPair) { pairs = append(pairs, *pair) })
	return index, pairs
}

// KVKeys returns the names of the keys that start with prefix, in byte order. With a separator each name is cut behind
// its first separator after prefix, and names that then are the same are returned once: a directory's listing.
func (s *Store) KVKeys(ws memdb.WatchSet, prefix, separator string) (uint64, []string) {
	txn := s.read()
	var names []string
	index := scanKV(txn, ws, prefix, func(pair *api.KVPair) {
		name := cutName(pair.Key, prefix, separator)
		if n := len(names); n == 0 || names[n-1] != name {
			names = append(names, name)
		}
	})
	return index, names
}

func cutName(key, prefix, separator string) string {
	if separator == "" {
		return key
	}
	if i := strings.Index(key[len(prefix):], separator); i >= 0 {
		return key[:len(prefix)+i+len(separator)]
	}
	return key
}

func scanKV(txn *memdb.Txn, ws memdb.WatchSet, prefix string, visit func(*api.KVPair)) uint64 {
	index := buriedUnder(txn, prefix)
	each(txn, ws, tableKV, indexPrefix, func(pair *api.KVPair) bool {
		index = max(index, pair.ModifyIndex)
		visit(pair)
		return true
	}, prefix)
	return max(1, index)
}

// KVStats returns how many keys there are and how many bytes they and their values have.
func (s *Store) KVStats(ws memdb.WatchSet) (keys, bytes uint64) {
	kv := state[kvState](s.read(), ws, keyKV)
	return kv.Keys, kv.Bytes
}

func (w *write) pair(key string) *api.KVPair {
	return first[*api.KVPair](w.txn, nil, tableKV, indexID, key)
}

func (w *write) kvSet(op KVSet) Result {
	old := w.pair(op.Key)
	if refused, ok := w.checkCond(op.Cond, op.Key, old); !ok {
		return refused
	}
	pair := api.KVPair{Key: op.Key, Value: op.Value, Flags: op.Flags}
	if old != nil {
		pair.Session, pair.LockIndex = old.Session, old.LockIndex
	}
	if refused, ok := w.lock(op, &pair); !ok {
		return refused
	}
	result := w.done()
	result.Version = w.storePair(old, pair).Version
	return result
}

// lock acquires or releases the lock of the pair about to be written, as the operation asks.
func (w *write) lock(op KVSet, pair *api.KVPair) (refused Result, ok bool) {
	switch {
	case op.Acquire != "" && op.Acquire != pair.Session:
		if refused, ok := w.checkAcquire(op.Acquire, *pair); !ok {
			return refused, false
		}
		pair.Session = op.Acquire
		pair.LockIndex++
	case op.Release != "" && op.Release != pair.Session:
		message := fmt.Sprintf("key %q is not locked by session %s", pair.Key, op.Release)
		return w.refuse(api.CodeConflict, message), false
	case op.Release != "":
		pair.Session = ""
	}
	return Result{}, true
}

func (w *write) checkAcquire(id string, pair api.KVPair) (refused Result, ok bool) {
	if w.session(id) == nil {
		return w.refuse(api.CodeNotFound, fmt.Sprintf("no session %s: it expired or never was: create one", id)), false
	}
	if pair.Session != "" {
		return w.refuse(api.CodeConflict, fmt.Sprintf("key %q is locked by session %s", pair.Key, pair.Session)), false
	}
	if left := w.lockDelayLeft(pair.Key); left > 0 {
		message := fmt.Sprintf("key %q can't be locked for another %v: its last lock ended with its session",
			pair.Key, left.Round(time.Millisecond))
		return w.refuse(api.CodeConflict, message), false
	}
	return Result{}, true
}

func (w *write) checkCond(c Cond, key string, pair *api.KVPair) (refused Result, ok bool) {
	if c.Kind == CondNone {
		return Result{}, true
	}
	var number uint64
	what := "modify index"
	if c.Kind == CondVersion {
		what = "version"
	}
	switch {
	case pair == nil:
	case c.Kind == CondVersion:
		number = pair.Version
	default:
		number = pair.ModifyIndex
	}
	if number == c.Number {
		return Result{}, true
	}
	message := fmt.Sprintf("key %q has %s %d, not %d: read it again", key, what, number, c.Number)
	if number == 0 {
		message = fmt.Sprintf("key %q does not exist, so its %s is not %d", key, what, c.Number)
	}
	return w.refuse(api.CodePrecondition, message), false
}

// storePair writes a pair over old, nil if there is none, and gives it its version and indexes.
func (w *write) storePair(old *api.KVPair, pair api.KVPair) *api.KVPair {
	if pair.Value == nil {
		pair.Value = []byte{} // JSON tells it from null
	}
	pair.Version, pair.CreateIndex, pair.ModifyIndex = 1, w.index, w.index
	if old != nil {
		pair.Version, pair.CreateIndex = old.Version+1, old.CreateIndex
		w.kv.Bytes -= pairSize(old)
	} else {
		w.kv.Keys++
		w.unbury(pair.Key)
	}
	w.kv.Bytes += pairSize(&pair)
	w.put(tableKV, &pair)
	w.emit(Row{Table: TableKV, Key: pair.Key, KV: &pair})
	return &pair
}

func (w *write) dropPair(pair *api.KVPair) {
	w.drop(tableKV, pair)
	w.kv.Keys--
	w.kv.Bytes -= pairSize(pair)
	w.bury(pair.Key)
	w.emit(Row{Table: TableKV, Key: pair.Key})
}

func pairSize(pair *api.KVPair) uint64 { return uint64(len(pair.Key) + len(pair.Value)) }

func (w *write) kvDelete(op KVDelete) Result {
	result := w.done()
	if op.Prefix {
		result.Deleted = w.dropPrefix(op.Key)
		return result
	}
	pair := w.pair(op.Key)
	if refused, ok := w.checkCond(op.Cond, op.Key, pair); !ok {
		return refused
	}
	if pair != nil {
		w.dropPair(pair)
		result.Deleted = 1
	}
	return result
}

func (w *write) dropPrefix(prefix string) uint64 {
	pairs := collect[*api.KVPair](w.txn, tableKV, indexPrefix, prefix)
	for _, pair := range pairs {
		w.dropPair(pair)
	}
	return uint64(len(pairs))
}
