package leader

import (
	"time"

	"github.com/pgraft/pgraft/api"
)

// Deadlines remembers until when each session with a TTL lives. Only the leader keeps it, in memory: a new leader
// gives every session its whole TTL again, so a session never ends early, and at most one TTL plus an election late.
// It is not safe for concurrent use: its owner locks.
type Deadlines struct {
	until map[string]time.Time
}

// NewDeadlines returns an empty set.
func NewDeadlines() *Deadlines {
	return &Deadlines{until: make(map[string]time.Time)}
}

// Sync takes up sessions that are new and forgets those that ended.
func (d *Deadlines) Sync(sessions []api.Session, now time.Time) {
	seen := make(map[string]bool, len(sessions))
	for _, s := range sessions {
		ttl := ttlOf(s)
		if ttl <= 0 {
			continue
		}
		seen[s.ID] = true
		if _, ok := d.until[s.ID]; !ok {
			d.until[s.ID] = now.Add(ttl)
		}
	}
	for id := range d.until {
		if !seen[id] {
			delete(d.until, id)
		}
	}
}

// Renew gives a session its whole TTL again.
func (d *Deadlines) Renew(s api.Session, now time.Time) {
	if ttl := ttlOf(s); ttl > 0 {
		d.until[s.ID] = now.Add(ttl)
	}
}

// Expired lists the sessions whose time ran out.
func (d *Deadlines) Expired(now time.Time) []string {
	var ids []string
	for id, until := range d.until {
		if now.After(until) {
			ids = append(ids, id)
		}
	}
	return ids
}

func ttlOf(s api.Session) time.Duration {
	ttl, err := time.ParseDuration(s.TTL)
	if err != nil {
		return 0
	}
	return ttl
}
