package membership

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/pgraft/pgraft/api"
)

// table is what the local node knows of all members, itself included. memberlist keeps the living and forgets the
// others; the table remembers them.
type table struct {
	self string // the local node's name

	mu      sync.Mutex // guards the rest; taken with memberlist's node lock held, so nothing under it calls memberlist
	members map[string]*Member
	dirty   bool // something changed that the peer file should have
}

func newTable(self string, known []Member) *table {
	t := &table{self: self, members: map[string]*Member{}}
	for _, m := range known {
		if m.Name != self {
			t.members[m.Name] = &m
		}
	}
	return t
}

// alive records that a node is there and gives the state of before, if there was one.
func (t *table) alive(c claim, now time.Time) (after Member, before *Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropRenamed(c)
	m := t.members[c.name]
	if m == nil {
		m = &Member{Name: c.name, Local: c.name == t.self, StatusChanged: now}
		t.members[c.name] = m
	} else {
		old := *m
		before = &old
	}
	if m.Status != api.NodeAlive {
		m.Status, m.StatusChanged = api.NodeAlive, now
	}
	m.Address, m.Meta, m.LastSeen = c.addr, c.meta, now
	t.dirty = true
	return *m, before
}

// dropRenamed forgets the absent node that comes back under another name.
func (t *table) dropRenamed(c claim) {
	for name, m := range t.members {
		if name != c.name && name != t.self && m.Meta.ServerID == c.meta.ServerID && m.Status != api.NodeAlive {
			delete(t.members, name)
		}
	}
}

// gone records that a node is not there any more: it left if it said so, else it failed.
func (t *table) gone(name string, leaving bool, now time.Time) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.members[name]
	if m == nil || m.Status != api.NodeAlive {
		return Member{}, false
	}
	m.Meta.Leaving = m.Meta.Leaving || leaving
	m.Status, m.StatusChanged = api.NodeFailed, now
	if m.Meta.Leaving {
		m.Status = api.NodeLeft
	}
	t.dirty = true
	return *m, true
}

// bury turns a failed node into one that left, when the news is of the same life of the node or of a later one.
func (t *table) bury(tomb tombstone, now time.Time) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.members[tomb.name]
	if m == nil || m.Local || m.Status != api.NodeFailed || m.Meta.ServerID != tomb.serverID || m.Meta.Started.After(tomb.started) {
		return Member{}, false
	}
	m.Status, m.StatusChanged = api.NodeLeft, now
	t.dirty = true
	return *m, true
}

func (t *table) seen(name string, rtt time.Duration, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.members[name]; m != nil {
		m.LastSeen, m.RTT = now, rtt
	}
}

func (t *table) drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.members, name)
	t.dirty = true
}

// expire forgets who has been away for long.
func (t *table) expire(now time.Time, timers Timers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, m := range t.members {
		away := now.Sub(m.StatusChanged)
		if m.Status == api.NodeLeft && away > timers.TombstoneLifetime && !m.Local ||
			m.Status == api.NodeFailed && away > timers.FailedLifetime {
			delete(t.members, name)
			t.dirty = true
		}
	}
}

func (t *table) byName(name string) *Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.members[name]; m != nil {
		found := *m
		return &found
	}
	return nil
}

// byID finds a living node with the server id under another name.
func (t *table) byID(serverID, notNamed string) *Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, m := range t.members {
		if name != notNamed && m.Meta.ServerID == serverID && m.Status == api.NodeAlive {
			found := *m
			return &found
		}
	}
	return nil
}

// list gives all members by name.
func (t *table) list() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Member, 0, len(t.members))
	for _, m := range t.members {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// others gives the members except the local node that have the status.
func (t *table) others(status string) []Member {
	return slices.DeleteFunc(t.list(), func(m Member) bool { return m.Local || m.Status != status })
}

// takeDirty reports whether the peer file is behind, and takes it that it will be written now.
func (t *table) takeDirty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	dirty := t.dirty
	t.dirty = false
	return dirty
}

func (t *table) setDirty() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty = true
}
