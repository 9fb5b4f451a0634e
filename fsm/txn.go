package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// The words of a transaction.
const (
	txnSet          = "set"
	txnGet          = "get"
	txnGetPrefix    = "get_prefix"
	txnDelete       = "delete"
	txnDeletePrefix = "delete_prefix"

	targetVersion     = "version"
	targetCreateIndex = "create_index"
	targetModifyIndex = "modify_index"
	targetValue       = "value"
	targetSession     = "session"
	targetExists      = "exists"
)

func validateTxn(t api.TxnRequest) *api.Error {
	if n := len(t.Compares) + len(t.Success) + len(t.Failure); n > MaxTxnOps {
		return &api.Error{Code: api.CodeTooLarge,
			Message: fmt.Sprintf("transaction has %d compares and operations: at most %d are allowed", n, MaxTxnOps)}
	}
	total := 0
	for i, c := range t.Compares {
		total += len(c.Key) + len(c.Value)
		if err := validateCompare(c); err != nil {
			return at("compare", i, err)
		}
	}
	for i, op := range slices.Concat(t.Success, t.Failure) {
		total += len(op.Key) + len(op.Value)
		if err := validateTxnOp(op); err != nil {
			return at("operation", i, err)
		}
	}
	return size("transaction", total, MaxTxnSize)
}

// at says which part of a transaction an error is about, counted from 1 and on through both branches.
func at(what string, i int, err *api.Error) *api.Error {
	return &api.Error{Code: err.Code, Message: fmt.Sprintf("%s %d: %s", what, i+1, err.Message)}
}

func validateCompare(c api.TxnCompare) *api.Error {
	if err := key(c.Key); err != nil {
		return err
	}
	ops := "== !="
	switch c.Target {
	case targetVersion, targetCreateIndex, targetModifyIndex:
		ops = "== != < >"
	case targetValue, targetSession:
	case targetExists:
		return nil
	default:
		return badRequest("target %q: must be one of version, create_index, modify_index, value, session, exists", clip(c.Target))
	}
	if !slices.Contains(strings.Fields(ops), c.Op) {
		return badRequest("operator %q: target %s takes one of %s", clip(c.Op), c.Target, ops)
	}
	return text("session id", c.Text, MaxNameSize)
}

func validateTxnOp(op api.TxnOp) *api.Error {
	switch op.Op {
	case txnSet:
		return firstError(key(op.Key), size("value", len(op.Value), MaxValueSize))
	case txnGet, txnDelete:
		return key(op.Key)
	case txnGetPrefix, txnDeletePrefix:
		return text("prefix", op.Key, MaxKeySize)
	default:
		return badRequest("operation %q: must be one of set, get, get_prefix, delete, delete_prefix", clip(op.Op))
	}
}

// runTxn can refuse only before its first write, which is what makes it all or nothing: the one thing that can be
// wrong with a valid transaction is that it reads too much, and that is reckoned beforehand.
func (w *write) runTxn(t api.TxnRequest) Result {
	succeeded := true
	for _, c := range t.Compares {
		succeeded = succeeded && w.holds(c)
	}
	branch := t.Failure
	if succeeded {
		branch = t.Success
	}
	if refused, ok := w.checkReads(branch); !ok {
		return refused
	}
	result := w.done()
	result.Txn = &api.TxnResponse{Succeeded: succeeded, Index: w.index, Results: make([]api.TxnResult, 0, len(branch))}
	for _, op := range branch {
		result.Txn.Results = append(result.Txn.Results, w.txnOp(op))
	}
	return result
}

// checkReads bounds what transactions read, by themselves and together with the others of the same entry: all of it
// travels in results and is remembered in the dedupe window.
func (w *write) checkReads(branch []api.TxnOp) (refused Result, ok bool) {
	n := w.readSize(branch)
	if n > MaxTxnResultSize {
		return w.refuseErr(tooLarge("what the transaction reads", n, MaxTxnResultSize)), false
	}
	if w.reads+n > MaxEntryReadSize {
		return w.refuse(api.CodeTooMany, "too many transactions read too much at the same moment: try again"), false
	}
	w.reads += n
	return Result{}, true
}

// readSize bounds the keys and values that the branch's reads return: those there are now and, since a read sees the
// writes before it, those that the branch writes.
func (w *write) readSize(branch []api.TxnOp) int {
	total, written := 0, 0
	for _, op := range branch {
		switch op.Op {
		case txnSet:
			written += len(op.Key) + len(op.Value)
		case txnGet:
			total += written
			if pair := w.pair(op.Key); pair != nil {
				total += int(pairSize(pair))
			}
		case txnGetPrefix:
			total += written
			each(w.txn, nil, tableKV, indexPrefix, func(pair *api.KVPair) bool {
				total += int(pairSize(pair))
				return total <= MaxTxnResultSize
			}, op.Key)
		}
	}
	return total
}

func (w *write) txnOp(op api.TxnOp) api.TxnResult {
	switch op.Op {
	case txnSet:
		old := w.pair(op.Key)
		pair := api.KVPair{Key: op.Key, Value: op.Value, Flags: op.Flags}
		if old != nil {
			pair.Session, pair.LockIndex = old.Session, old.LockIndex
		}
		return api.TxnResult{Pairs: []api.KVPair{*w.storePair(old, pair)}}
	case txnGet:
		if pair := w.pair(op.Key); pair != nil {
			return api.TxnResult{Pairs: []api.KVPair{*pair}}
		}
	case txnGetPrefix:
		var found api.TxnResult
		for _, pair := range collect[*api.KVPair](w.txn, tableKV, indexPrefix, op.Key) {
			found.Pairs = append(found.Pairs, *pair)
		}
		return found
	case txnDelete:
		return api.TxnResult{Deleted: w.kvDelete(KVDelete{Key: op.Key}).Deleted}
	case txnDeletePrefix:
		return api.TxnResult{Deleted: w.dropPrefix(op.Key)}
	}
	return api.TxnResult{}
}

// holds judges a compare. A key that does not exist has version and indexes 0, no session, and a value that equals
// none, not even the empty one.
func (w *write) holds(c api.TxnCompare) bool {
	pair := w.pair(c.Key)
	exists := pair != nil
	if !exists {
		pair = &api.KVPair{}
	}
	switch c.Target {
	case targetExists:
		return exists == c.Exists
	case targetValue:
		return (exists && bytes.Equal(pair.Value, c.Value)) == (c.Op == "==")
	case targetSession:
		return (pair.Session == c.Text) == (c.Op == "==")
	case targetVersion:
		return compareNumbers(pair.Version, c.Op, c.Number)
	case targetCreateIndex:
		return compareNumbers(pair.CreateIndex, c.Op, c.Number)
	default:
		return compareNumbers(pair.ModifyIndex, c.Op, c.Number)
	}
}

func compareNumbers(a uint64, op string, b uint64) bool {
	switch op {
	case "==":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	default:
		return a > b
	}
}
