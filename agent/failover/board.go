package failover

import (
	"sync"
	"time"
)

// board keeps what was last seen of each server.
type board struct {
	mu      sync.Mutex // guards all below; never held across a look
	servers map[string]*sighting
	asking  map[question]bool      // under way
	asked   map[question]time.Time // when it was last begun
}

// question names one thing that is looked at.
type question struct {
	about string // server id
	kind  questionKind
}

type questionKind byte

const (
	questionView     questionKind = iota // an agent's view of its PostgreSQL
	questionPostgres                     // a PostgreSQL's port
	questionSees                         // what another agent sees of the primary
)

type sighting struct {
	agent, postgres Evidence
	view            *View
	heard           time.Time
	sees            *Sight
	seesOf          string
	seesAt          time.Time
	acknowledged    time.Time
}

func newBoard() *board {
	return &board{servers: map[string]*sighting{}, asking: map[question]bool{}, asked: map[question]time.Time{}}
}

// of returns a server's sighting; mu is held.
func (b *board) of(id string) *sighting {
	s, ok := b.servers[id]
	if !ok {
		s = &sighting{}
		b.servers[id] = s
	}
	return s
}

// begin reports whether a question is to be put now: not while it is under way, and not before it is due.
func (b *board) begin(q question, now time.Time, interval time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asking[q] || now.Sub(b.asked[q]) < interval {
		return false
	}
	b.asking[q], b.asked[q] = true, now
	return true
}

// end takes a question's answer in, by a function that runs under the lock.
func (b *board) end(q question, keep func(s *sighting)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.asking, q)
	if keep != nil {
		keep(b.of(q.about))
	}
}

// forget drops servers that are no longer there.
func (b *board) forget(there map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.servers {
		if !there[id] {
			delete(b.servers, id)
		}
	}
	for q := range b.asked {
		if !there[q.about] && !b.asking[q] {
			delete(b.asked, q)
		}
	}
}

func (e *Evidence) note(reach Reach, begun, ended time.Time) {
	if e.Reach != reach {
		*e = Evidence{Reach: reach, Since: begun}
	}
	e.Until = ended
}

func (s *sighting) noteView(view *View, reach Reach, begun, now time.Time) {
	s.agent.note(reach, begun, now)
	if view != nil {
		s.view, s.heard = view, now
	}
}

// noteAcks remembers who acknowledges, as the primary sees it.
func (b *board) noteAcks(scene *Scene, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	view, ok := scene.current(scene.State.Primary)
	if !ok {
		return
	}
	live := scene.live(view)
	for i := range scene.Servers {
		v := &scene.Servers[i]
		seen := b.of(v.ID)
		m, member := scene.member(v.ID)
		if !member || acknowledges(live, m) {
			seen.acknowledged = scene.Now
		}
		if seen.acknowledged.IsZero() {
			seen.acknowledged = since
		}
		v.AcknowledgedLast = seen.acknowledged
	}
}

// fill copies what is known into the servers of a scene.
func (b *board) fill(servers []Server, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range servers {
		v, s := &servers[i], b.of(servers[i].ID)
		v.Agent, v.Postgres, v.View, v.Heard = s.agent, s.postgres, s.view, s.heard
		v.Sees, v.SeesOf, v.SeesAt = s.sees, s.seesOf, s.seesAt
		v.AcknowledgedLast = s.acknowledged
		if v.AcknowledgedLast.IsZero() {
			v.AcknowledgedLast = since
		}
	}
}
