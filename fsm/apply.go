package fsm

import (
	"fmt"
	"time"

	"github.com/pgraft/pgraft/api"
)

// enter starts the entry at index.
func (w *write) enter(index, term uint64) {
	w.index, w.term = index, term
	w.now = entryTime(time.Time{})
	w.reads = 0
}

// entry applies one entry, or answers from memory if it was applied before.
func (w *write) entry(e Entry) []Result {
	w.now = entryTime(e.Time)
	if results, ok := w.known(e); ok {
		return results
	}
	w.endLockDelays()
	r := &record{ID: e.ID, Index: w.index, Results: make([]Result, len(e.Ops))}
	for i, op := range e.Ops {
		r.Results[i] = w.once(op, r, i)
	}
	if r.ID != (EntryID{}) || r.Requests != nil {
		w.remember(r)
	}
	return r.Results
}

// once applies the i-th operation of r's entry, or answers from memory if its request was applied before.
func (w *write) once(op Op, r *record, i int) Result {
	request := requestOf(op)
	if request.ID == "" {
		return w.apply(op)
	}
	if r.Requests == nil {
		r.Requests = make([]string, len(r.Results))
	}
	result, ok := w.answered(request)
	if !ok {
		result = w.apply(op)
	}
	r.Requests[i], r.Results[i] = request.ID, result
	w.store.memory.answer(r, i) // at once: the entry may hold the same request again
	return result
}

func requestOf(op Op) Request {
	if r, ok := op.(interface{ request() Request }); ok {
		return r.request()
	}
	return Request{}
}

// apply runs one operation. It gives a result for everything that can be decoded, and never an error: what can go wrong
// goes wrong on every server alike.
func (w *write) apply(op Op) Result {
	if err := validate(op); err != nil {
		return w.refuseErr(err)
	}
	switch op := op.(type) {
	case ClusterInit:
		return w.clusterInit(op)
	case KVSet:
		return w.kvSet(op)
	case KVDelete:
		return w.kvDelete(op)
	case Txn:
		return w.runTxn(op.Txn)
	case SessionCreate:
		return w.sessionCreate(op)
	case SessionDestroy:
		return w.sessionDestroy(op)
	case NodeRegister:
		return w.nodeRegister(op)
	case NodeBind:
		return w.nodeBind(op)
	case NodeRemove:
		return w.nodeRemove(op)
	case SettingSet:
		return w.settingSet(op)
	case SettingDelete:
		return w.settingDelete(op)
	case EventAppend:
		return w.eventAppend(op)
	case Primacy:
		return w.primacy(op.Op)
	default: // Noop
		return w.done()
	}
}

func (w *write) clusterInit(op ClusterInit) Result {
	if c := state[clusterState](w.txn, nil, keyCluster); c.ID != "" {
		return w.refuse(api.CodeConflict, fmt.Sprintf("the cluster has id %s already", c.ID))
	}
	w.put(tableState, clusterState{ID: op.ClusterID, Name: op.ClusterName})
	return w.done()
}

// refuseUndecodable gives as many results as the entry claims to have operations, if it can be told, for the sake of
// a proposer that waits for as many.
func (w *write) refuseUndecodable(b []byte, err error) []Result {
	n := 1
	if _, count, err := decodeHeader(b); err == nil {
		n = max(n, count)
	}
	results := make([]Result, n)
	for i := range results {
		results[i] = w.refuse(api.CodeInternal, err.Error())
	}
	return results
}
