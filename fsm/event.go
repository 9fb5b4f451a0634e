package fsm

import (
	"maps"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// MaxEvents is how many events the history keeps.
const MaxEvents = 1000

// Events returns the events after the one with index since, oldest first, and the index of the newest event there is
// (at least 1). With a limit above 0 only the newest ones. An event's index counts events; it is no raft index.
func (s *Store) Events(ws memdb.WatchSet, since uint64, limit int) (uint64, []api.Event) {
	txn := s.read()
	var events []api.Event
	each(txn, ws, tableEvent, indexID, func(e *api.Event) bool {
		if e.Index > since {
			events = append(events, *e)
		}
		return true
	})
	if limit > 0 && len(events) > limit {
		events = events[len(events)-limit:]
	}
	return max(1, state[eventState](txn, nil, keyEvent).Last), events
}

func (w *write) eventAppend(op EventAppend) Result {
	w.event(op.Type, op.Node, op.Message, op.Data)
	return w.done()
}

// event appends to the history and drops what is too old for it.
func (w *write) event(kind, node, message string, data map[string]string) {
	if len(data) == 0 {
		data = nil // a snapshot can't tell the two apart
	}
	events := state[eventState](w.txn, nil, keyEvent)
	events.Last++
	events.Rows++
	row := &api.Event{
		Index: events.Last, Time: w.now, Type: kind, Node: node, Message: message, Data: maps.Clone(data),
	}
	w.put(tableEvent, row)
	w.emit(Row{Table: TableEvent, Key: EventKey(row.Index), Event: row})
	if events.Rows > MaxEvents {
		oldest, err := w.txn.First(tableEvent, indexID)
		must(err)
		w.drop(tableEvent, oldest)
		w.emit(Row{Table: TableEvent, Key: EventKey(oldest.(*api.Event).Index)})
		events.Rows--
	}
	w.put(tableState, events)
}
