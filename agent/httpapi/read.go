package httpapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// readMode is what a read asks for.
type readMode int

const (
	readDefault readMode = iota
	readStale
	readConsistent
)

// Bounds of blocking queries.
const (
	defaultWait = 300 * time.Second
	maxWait     = 600 * time.Second
	jitterPart  = 16 // up to wait/jitterPart is added, so that many clients don't come back at once
)

func (r *request) parseMode() (readMode, error) {
	if len(r.query) == 0 {
		return readDefault, nil
	}
	if err := r.exclusive("stale", "consistent"); err != nil {
		return 0, err
	}
	stale, err := r.flag("stale")
	if err != nil {
		return 0, err
	}
	consistent, err := r.flag("consistent")
	switch {
	case err != nil:
		return 0, err
	case stale:
		return readStale, nil
	case consistent:
		return readConsistent, nil
	}
	return readDefault, nil
}

// block is how long a read waits, and for what.
type block struct {
	index uint64
	wait  time.Duration
}

func (r *request) parseBlock() (block, error) {
	if len(r.query) == 0 {
		return block{}, nil
	}
	index, given, err := r.number("index")
	if err != nil {
		return block{}, err
	}
	wait, err := r.duration("wait", defaultWait)
	if err != nil {
		return block{}, err
	}
	if !given || index == 0 {
		return block{}, nil
	}
	wait = min(wait, maxWait)
	if part := wait / jitterPart; part > 0 {
		wait += rand.N(part)
	}
	return block{index: index, wait: wait}, nil
}

// query runs a read of the store as the request asks for it: at what node is decided before; here, after a barrier if
// it must be consistent, and again and again until there is news if it blocks. It writes the read headers.
func (s *Server) query(w http.ResponseWriter, r *request, run func(memdb.WatchSet, *fsm.Store) (uint64, error)) error {
	b, err := r.parseBlock()
	if err != nil {
		return err
	}
	if err := s.barrier(r); err != nil {
		return err
	}
	var index uint64
	find := func(ws memdb.WatchSet, store *fsm.Store) (uint64, error) {
		var err error
		index, err = run(ws, store)
		return index, err
	}
	if err := s.blockOn(w, r, b, find); err != nil {
		return err
	}
	s.setReadHeaders(w, index)
	return nil
}

func (s *Server) blockOn(w http.ResponseWriter, r *request, b block, find func(memdb.WatchSet, *fsm.Store) (uint64, error)) error {
	if b.index == 0 || b.wait == 0 {
		return s.cfg.FSM.Block(r.Context(), 0, 0, find)
	}
	leave, err := s.enterWait(w)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := s.untilClose(r.Context())
	defer cancel()
	if err := s.cfg.FSM.Block(ctx, b.index, b.wait, find); err != nil {
		return s.waitError(err)
	}
	// What a node read after it lost the leadership is no leader's answer.
	if r.mode != readStale && !s.cfg.Reader.IsLeader() {
		return s.notLeader()
	}
	return nil
}

// barrier makes what this node knows current, if the read asks for that.
func (s *Server) barrier(r *request) error {
	if r.mode != readConsistent {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteTimeout)
	defer cancel()
	return s.cfg.Reader.ConsistentBarrier(ctx)
}

// enterWait counts a request that waits for something, and refuses it when there are too many.
func (s *Server) enterWait(w http.ResponseWriter) (leave func(), err error) {
	if rw, ok := w.(*response); ok {
		rw.waits = true
	}
	if s.waiting.Add(1) > int64(s.cfg.MaxBlocking) {
		s.waiting.Add(-1)
		return nil, &api.Error{
			Code: api.CodeTooMany, Message: "too many blocking queries and streams wait on this node",
			Hint: "ask another node, or wait and try again",
		}
	}
	return func() { s.waiting.Add(-1) }, nil
}

// untilClose returns a context that also ends when the server closes.
func (s *Server) untilClose(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (s *Server) waitError(err error) error {
	if s.ctx.Err() != nil {
		return &api.Error{Code: api.CodeUnavailable, Message: "the agent is stopping"}
	}
	return err
}

// setReadHeaders tells what the answer is worth. An index of 0 would make a client's loop spin.
func (s *Server) setReadHeaders(w http.ResponseWriter, index uint64) {
	h := w.Header()
	contact := int64(-1)
	if d := s.cfg.Reader.LastContact(); d >= 0 {
		contact = d.Milliseconds()
	}
	h[api.HeaderIndex] = []string{strconv.FormatUint(max(index, 1), 10)}
	h[api.HeaderKnownLeader] = []string{strconv.FormatBool(s.cfg.Reader.KnownLeader())}
	h[api.HeaderLastContact] = []string{strconv.FormatInt(contact, 10)}
}
