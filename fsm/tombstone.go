package fsm

import (
	memdb "github.com/hashicorp/go-memdb"
)

// MaxTombstones is how many deleted keys are remembered, each with the index of its deletion.
const MaxTombstones = 4096

// tombstone remembers a deleted key, so that the index of a read that covers it does not go down: a blocking query
// that saw the key would else wait below an index that the answer never reaches again. Of the tombstones forgotten
// the newest index stays as the floor of every read that could have covered one.
type tombstone struct {
	Key   string
	Index uint64
}

// buried returns the index that a read of a missing key has.
func buried(txn *memdb.Txn, key string) uint64 {
	index := state[kvState](txn, nil, keyKV).Floor
	if t := first[*tombstone](txn, nil, tableTombstone, indexID, key); t != nil {
		index = max(index, t.Index)
	}
	return index
}

// buriedUnder returns the least index that a read of a prefix has.
func buriedUnder(txn *memdb.Txn, prefix string) uint64 {
	index := state[kvState](txn, nil, keyKV).Floor
	each(txn, nil, tableTombstone, indexPrefix, func(t *tombstone) bool {
		index = max(index, t.Index)
		return true
	}, prefix)
	return index
}

func (w *write) bury(key string) {
	w.put(tableTombstone, &tombstone{Key: key, Index: w.index})
	w.kv.Tombstones++
	if w.kv.Tombstones > MaxTombstones {
		oldest, err := w.txn.First(tableTombstone, indexIndex)
		must(err)
		w.forget(oldest.(*tombstone))
		w.kv.Floor = max(w.kv.Floor, oldest.(*tombstone).Index)
	}
}

// unbury forgets the tombstone of a key that was created again: the key's own index is higher.
func (w *write) unbury(key string) {
	if t := first[*tombstone](w.txn, nil, tableTombstone, indexID, key); t != nil {
		w.forget(t)
	}
}

func (w *write) forget(t *tombstone) {
	w.drop(tableTombstone, t)
	w.kv.Tombstones--
}
