package fsm

import (
	"sync"
	"time"
)

// ApplierStatus is how far PostgreSQL follows the log, and what stands in the way.
type ApplierStatus struct {
	Connected  bool // a session with the server is open
	Writing    bool // and this applier is the one that writes to it
	InRecovery bool // the server is a standby: rows and index arrive by WAL
	Refused    bool // the database is not this cluster's to write: see LastError
	Diffing    bool // the difference to the store is being written

	Known        bool   // AppliedIndex was read from the server since Open
	AppliedIndex uint64 // what the server's rows are current to
	AppliedTerm  uint64
	LagEntries   uint64        // log entries that are applied to the store and not to the server
	Lag          time.Duration // since the oldest of them reached the store; -1 = unknown

	LastError  string // "" = all is well
	ErrorSince time.Time

	// Since Open: log entries and rows written, transactions, differences written, sessions opened.
	Entries, Rows, Batches, Diffs, Sessions uint64
}

// applierStatus is the status as the applier's goroutine notes it down.
type applierStatus struct {
	mu      sync.Mutex // guards all below; held for assignments only
	current ApplierStatus
	worked  uint64 // counts what went well, idle checks included
}

// Status returns how the applier is doing.
func (a *Applier) Status() ApplierStatus {
	a.status.mu.Lock()
	s := a.status.current
	a.status.mu.Unlock()
	s.Lag = -1
	if s.Known {
		s.LagEntries, s.Lag = a.cfg.FSM.Feed().behind(s.AppliedIndex)
	}
	return s
}

func (s *applierStatus) change(do func(c *ApplierStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(&s.current)
}

// at notes the position that was read from the server or written to it.
func (s *applierStatus) at(p position) {
	s.change(func(c *ApplierStatus) { c.Known, c.AppliedIndex, c.AppliedTerm = true, p.index, p.term })
}

// success ends an error.
func (s *applierStatus) success() {
	s.change(func(c *ApplierStatus) {
		c.LastError, c.ErrorSince, c.Refused = "", time.Time{}, false
	})
	s.mu.Lock()
	s.worked++
	s.mu.Unlock()
}

func (s *applierStatus) successes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worked
}

// failed notes an error and reports whether it is another one than before.
func (s *applierStatus) failed(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := err.Error()
	fresh := text != s.current.LastError
	if s.current.LastError == "" {
		s.current.ErrorSince = time.Now()
	}
	s.current.LastError = text
	s.current.Refused = isRefused(err)
	return fresh
}

// disconnected notes that the session is over.
func (s *applierStatus) disconnected() {
	s.change(func(c *ApplierStatus) { c.Connected, c.Writing, c.Diffing = false, false, false })
}
