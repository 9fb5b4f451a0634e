package fsm

import (
	"fmt"
	"math"
	"time"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// session is a row of the session table. The time to live is only kept here: the leader's timers judge it and propose
// a SessionDestroy.
type session struct {
	ID, Name, Node           string
	TTL, LockDelay           time.Duration
	Behavior                 string
	CreateIndex, ModifyIndex uint64
}

func (s *session) export() api.Session {
	return api.Session{
		ID: s.ID, Name: s.Name, Node: s.Node,
		TTL: s.TTL.String(), LockDelay: s.LockDelay.String(), Behavior: s.Behavior,
		CreateIndex: s.CreateIndex, ModifyIndex: s.ModifyIndex,
	}
}

// SessionGet returns one session, nil if it does not exist.
func (s *Store) SessionGet(ws memdb.WatchSet, id string) (uint64, *api.Session) {
	txn := s.read()
	row := first[*session](txn, ws, tableSession, indexID, id)
	if row == nil {
		return changed(txn, nil, tableSession), nil
	}
	found := row.export()
	return row.ModifyIndex, &found
}

// SessionList returns all sessions by id.
func (s *Store) SessionList(ws memdb.WatchSet) (uint64, []api.Session) {
	txn := s.read()
	var sessions []api.Session
	each(txn, ws, tableSession, indexID, func(row *session) bool {
		sessions = append(sessions, row.export())
		return true
	})
	return changed(txn, nil, tableSession), sessions
}

func (w *write) session(id string) *session {
	return first[*session](w.txn, nil, tableSession, indexID, id)
}

func (w *write) sessionCreate(op SessionCreate) Result {
	if w.session(op.ID) != nil {
		return w.refuse(api.CodeConflict, fmt.Sprintf("session %s exists: choose another id", op.ID))
	}
	row := &session{
		ID: op.ID, Name: op.Name, Node: op.Node,
		TTL: op.TTL, LockDelay: op.LockDelay, Behavior: op.Behavior,
		CreateIndex: w.index, ModifyIndex: w.index,
	}
	if row.Behavior == "" {
		row.Behavior = BehaviorRelease
	}
	w.put(tableSession, row)
	w.touch(tableSession)
	return w.done()
}

// sessionDestroy of a session that is gone already changes nothing and succeeds: its timer and its client may both
// end it.
func (w *write) sessionDestroy(op SessionDestroy) Result {
	result := w.done()
	row := w.session(op.ID)
	if row == nil {
		return result
	}
	w.drop(tableSession, row)
	w.touch(tableSession)
	for _, pair := range collect[*api.KVPair](w.txn, tableKV, indexSession, row.ID) {
		w.delayLock(pair.Key, row.LockDelay)
		if row.Behavior == BehaviorDelete {
			w.dropPair(pair)
			result.Deleted++
			continue
		}
		released := *pair
		released.Session = ""
		w.storePair(pair, released)
	}
	return result
}

// lockDelay keeps a key from being locked until a time after its holder's session ended, so that a holder that does
// not know it yet can finish. Times are those of entries, in Unix nanoseconds.
type lockDelay struct {
	Key          string
	Since, Until int64
}

func (w *write) delayLock(key string, delay time.Duration) {
	if delay > 0 {
		now := w.now.UnixNano()
		w.put(tableLockDelay, &lockDelay{Key: key, Since: now, Until: now + int64(delay)})
	}
}

// lockDelayLeft returns for how long the key can't be locked yet. Where the entry's clock is behind the one that the
// delay was counted from, a new leader's clock is: the delay starts again by it, lest it last as long as the clocks
// are apart.
func (w *write) lockDelayLeft(key string) time.Duration {
	d := first[*lockDelay](w.txn, nil, tableLockDelay, indexID, key)
	if d == nil {
		return 0
	}
	now := w.now.UnixNano()
	if now < d.Since {
		d = &lockDelay{Key: key, Since: now, Until: now + d.Until - d.Since}
		w.put(tableLockDelay, d)
	}
	return time.Duration(d.Until - now)
}

// endLockDelays forgets the delays that are over by the entry's time.
func (w *write) endLockDelays() {
	for {
		oldest, err := w.txn.First(tableLockDelay, indexUntil)
		must(err)
		if oldest == nil || oldest.(*lockDelay).Until > w.now.UnixNano() {
			return
		}
		w.drop(tableLockDelay, oldest)
	}
}

// entryTime makes the time of an entry usable in sums: an entry that nobody stamped, or one stamped outside of what
// nanoseconds can count, gets the nearest time that is safe.
func entryTime(t time.Time) time.Time {
	const margin = int64(MaxLockDelay)
	if t.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return time.Unix(0, min(max(t.UnixNano(), 0), math.MaxInt64-margin)).UTC()
}
