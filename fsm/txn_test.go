package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func TestTxnCompares(t *testing.T) {
	for _, tc := range []struct {
		compare api.TxnCompare // key a: value x, version 2, create index 1, modify index 2, session s
		holds   bool
	}{
		{api.TxnCompare{Key: "a", Target: "version", Op: "==", Number: 2}, true},
		{api.TxnCompare{Key: "a", Target: "version", Op: "!=", Number: 2}, false},
		{api.TxnCompare{Key: "a", Target: "version", Op: "<", Number: 2}, false},
		{api.TxnCompare{Key: "a", Target: "version", Op: ">", Number: 1}, true},
		{api.TxnCompare{Key: "a", Target: "create_index", Op: "==", Number: 2}, true},
		{api.TxnCompare{Key: "a", Target: "modify_index", Op: "<", Number: 4}, true},
		{api.TxnCompare{Key: "a", Target: "value", Op: "==", Value: []byte("x")}, true},
		{api.TxnCompare{Key: "a", Target: "value", Op: "!=", Value: []byte("x")}, false},
		{api.TxnCompare{Key: "a", Target: "session", Op: "==", Text: "s"}, true},
		{api.TxnCompare{Key: "a", Target: "session", Op: "!=", Text: "other"}, true},
		{api.TxnCompare{Key: "a", Target: "exists", Exists: true}, true},
		{api.TxnCompare{Key: "a", Target: "exists"}, false},
		{api.TxnCompare{Key: "none", Target: "exists"}, true},
		{api.TxnCompare{Key: "none", Target: "version", Op: "==", Number: 0}, true},
		{api.TxnCompare{Key: "none", Target: "value", Op: "=="}, false},
		{api.TxnCompare{Key: "none", Target: "value", Op: "!=", Value: []byte("x")}, true},
		{api.TxnCompare{Key: "none", Target: "session", Op: "=="}, true},
	} {
		t.Run(fmt.Sprintf("%+v", tc.compare), func(t *testing.T) {
			m := newMachine(t)
			m.one(fsm.SessionCreate{ID: "s"})
			m.one(fsm.KVSet{Key: "a", Value: []byte("x"), Acquire: "s"})
			m.one(set("a", "x"))
			result := m.one(fsm.Txn{Txn: api.TxnRequest{Compares: []api.TxnCompare{tc.compare}}})
			equal(t, "succeeded", result.Txn.Succeeded, tc.holds)
		})
	}
}

func TestTxnBranches(t *testing.T) {
	m := newMachine(t)
	for _, key := range []string{"d/1", "d/2", "e"} {
		m.one(set(key, "old"))
	}
	request := api.TxnRequest{
		Compares: []api.TxnCompare{
			{Key: "e", Target: "version", Op: "==", Number: 1},
			{Key: "d/1", Target: "value", Op: "==", Value: []byte("old")},
		},
		Success: []api.TxnOp{
			{Op: "set", Key: "e", Value: []byte("new"), Flags: 5},
			{Op: "get", Key: "e"},
			{Op: "get_prefix", Key: "d/"},
			{Op: "delete", Key: "d/1"},
			{Op: "get", Key: "d/1"},
			{Op: "delete_prefix", Key: "d/"},
		},
		Failure: []api.TxnOp{{Op: "get", Key: "e"}},
	}
	result := m.one(fsm.Txn{Txn: request})
	equal(t, "succeeded", result.Txn.Succeeded, true)
	equal(t, "index", result.Txn.Index, m.index)
	r := result.Txn.Results
	equal(t, "results", len(r), 6)
	equal(t, "version written", r[0].Pairs[0].Version, 2)
	equal(t, "read own write", string(r[1].Pairs[0].Value), "new")
	equal(t, "prefix read", len(r[2].Pairs), 2)
	equal(t, "deleted", r[3].Deleted, 1)
	equal(t, "read own delete", len(r[4].Pairs), 0)
	equal(t, "prefix deleted", r[5].Deleted, 1)

	result = m.one(fsm.Txn{Txn: request})
	equal(t, "succeeded again", result.Txn.Succeeded, false)
	equal(t, "other branch", string(result.Txn.Results[0].Pairs[0].Value), "new")
}

func TestTxnIsAllOrNothing(t *testing.T) {
	m := newMachine(t)
	for i := range 3 {
		m.one(fsm.KVSet{Key: fmt.Sprint("big/", i), Value: make([]byte, fsm.MaxValueSize)})
	}
	before := m.Store().Snapshot()
	m.refused(api.CodeTooLarge, fsm.Txn{Txn: api.TxnRequest{Success: []api.TxnOp{
		{Op: "set", Key: "small", Value: []byte("v")},
		{Op: "delete", Key: "big/0"},
		{Op: "get_prefix", Key: "big/"},
	}}})
	was, _ := before.KVList(nil, "")
	if is, keys := m.Store().KVKeys(nil, "", ""); is != was || len(keys) != 3 {
		t.Errorf("index %d, keys %v after a refused transaction, want index %d", is, keys, was)
	}
}

func TestTxnReadsOfAnEntryAreBounded(t *testing.T) {
	m := newMachine(t)
	m.one(fsm.KVSet{Key: "big", Value: make([]byte, fsm.MaxValueSize)})
	get := fsm.Txn{Txn: api.TxnRequest{Success: []api.TxnOp{{Op: "get", Key: "big"}}}}
	ops := make([]fsm.Op, 40)
	for i := range ops {
		ops[i] = get
	}
	results := m.apply(ops...)
	equal(t, "first", results[0].Code, "")
	equal(t, "last", results[39].Code, api.CodeTooMany)
	equal(t, "in the next entry", m.apply(get)[0].Code, "")
}

func TestTxnValidate(t *testing.T) {
	many := make([]api.TxnOp, fsm.MaxTxnOps+1)
	for i := range many {
		many[i] = api.TxnOp{Op: "get", Key: "k"}
	}
	half := make([]byte, fsm.MaxValueSize/2+1)
	for _, tc := range []struct {
		name, code, message string
		txn                 api.TxnRequest
	}{
		{"empty", "", "", api.TxnRequest{}},
		{"most operations", "", "", api.TxnRequest{Success: many[1:]}},
		{"too many operations", api.CodeTooLarge, "129", api.TxnRequest{Success: many[1:], Failure: many[:1]}},
		{"too large", api.CodeTooLarge, "transaction", api.TxnRequest{Success: []api.TxnOp{
			{Op: "set", Key: "a", Value: half}, {Op: "set", Key: "b", Value: half}}}},
		{"unknown operation", api.CodeBadRequest, "operation 2", api.TxnRequest{
			Success: many[:1], Failure: []api.TxnOp{{Op: "frob", Key: "k"}}}},
		{"no key", api.CodeBadRequest, "no key", api.TxnRequest{Success: []api.TxnOp{{Op: "set"}}}},
		{"target", api.CodeBadRequest, "target", api.TxnRequest{Compares: []api.TxnCompare{{Key: "k", Target: "x", Op: "=="}}}},
		{"operator", api.CodeBadRequest, "== !=", api.TxnRequest{
			Compares: []api.TxnCompare{{Key: "k", Target: "value", Op: "<"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			result := newMachine(t).apply(fsm.Txn{Txn: tc.txn})[0]
			equal(t, "code", result.Code, tc.code)
			if !strings.Contains(result.Message, tc.message) {
				t.Errorf("message %q lacks %q", result.Message, tc.message)
			}
		})
	}
}
