package consensus

import "sync"

// transferGate lets raft ask a server to take over only while a transfer is wanted, and remembers whether it did.
// raft gives up on a transfer by itself after a while and may still send the request a moment later.
type transferGate struct {
	mu   sync.Mutex // guards all below
	term uint64     // that the transfer was begun in, 0 = none is wanted
	sent bool
}

// open begins a transfer.
func (g *transferGate) open(term uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.term, g.sent = term, false
}

// send reports whether the request may go out, and for which term.
func (g *transferGate) send() (uint64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == 0 {
		return 0, false
	}
	g.sent = true
	return g.term, true
}

// close ends the transfer and tells whether the request went out.
func (g *transferGate) close() (sent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.term = 0
	return g.sent
}
