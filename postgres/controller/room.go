package controller

import (
	"fmt"
	"time"
)

// A disk with less room than leastRoom takes no new block of a table, or will not for long. It counts as full when that
// lasts: a query's temporary files go with the query.
const (
	leastRoom = 1 << 20
	roomEvery = time.Second
	fullAfter = 2 * time.Second
)

// lookForRoom notes since when there is no room for PostgreSQL.
func (c *Controller) lookForRoom(now time.Time) {
	m := &c.memo
	if c.cfg.Room == nil || now.Sub(m.roomAt) < roomEvery {
		return
	}
	m.roomAt = now
	room, err := c.cfg.Room()
	switch {
	case err != nil || room >= leastRoom:
		m.fullSince = time.Time{}
	case m.fullSince.IsZero():
		m.fullSince = now
		c.logger.Warn("PostgreSQL's disk is full", "free_bytes", room)
	}
}

// tlsEvery is how often certificates are looked at, which are replaced by files of the same names.
const tlsEvery = 5 * time.Second

// lookForTLS has the configuration written again when there are new certificates.
func (c *Controller) lookForTLS(now time.Time) {
	m := &c.memo
	if c.cfg.TLSReplaced == nil || now.Sub(m.tlsAt) < tlsEvery {
		return
	}
	m.tlsAt = now
	if c.cfg.TLSReplaced() {
		m.inForce = nil
	}
}

// full reports whether PostgreSQL's disk is full for good.
func (m *memo) full(now time.Time) bool {
	return !m.fullSince.IsZero() && now.Sub(m.fullSince) >= fullAfter
}

// fullText is what a person is told about it, beside what else is wrong.
func fullText(problem string) string {
	const text = "no space left on device for PostgreSQL's data: make room there, the rest goes by itself"
	if problem == "" {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, problem)
}
