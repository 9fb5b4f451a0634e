package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"crypto/rand"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// maxRequestID bounds a client's own id.
const maxRequestID = 128

// parseRequestID reads the header "id" or "id;base=N".
func parseRequestID(header string) (fsm.Request, error) {
	id, rest, found := strings.Cut(header, ";")
	if !validID(id) {
		return fsm.Request{}, badRequest("header %s: want 1 to %d of A-Z a-z 0-9 - _ . : and optionally ;base=N",
			api.HeaderRequestID, maxRequestID)
	}
	if !found {
		return fsm.Request{ID: id}, nil
	}
	digits, ok := strings.CutPrefix(strings.TrimSpace(rest), "base=")
	base, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return fsm.Request{}, badRequest("header %s: behind the id want ;base=N, not %q", api.HeaderRequestID, rest)
	}
	return fsm.Request{ID: id, Base: base}, nil
}

func validID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return true
}

// requestOf gives the write its identity: the client's, or a new one, so that an answer in doubt can name it.
func (s *Server) requestOf(r *request) (fsm.Request, error) {
	if header := r.Header[api.HeaderRequestID]; len(header) > 0 {
		return parseRequestID(header[0])
	}
	return fsm.Request{ID: rand.Text(), Base: s.cfg.FSM.Store().Index()}, nil
}

// formatRequest is the inverse of parseRequestID.
func formatRequest(r fsm.Request) string {
	if r.Base == 0 {
		return r.ID
	}
	return r.ID + ";base=" + strconv.FormatUint(r.Base, 10)
}

// propose checks an operation and puts it through the log. build makes the operation for a request id.
func (s *Server) propose(r *request, build func(fsm.Request) fsm.Op) (fsm.Result, fsm.Request, error) {
	id, err := s.requestOf(r)
	if err != nil {
		return fsm.Result{}, id, err
	}
	op := build(id)
	if err := fsm.Validate(op); err != nil {
		return fsm.Result{}, id, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteTimeout)
	defer cancel()
	result, err := s.try(ctx, op)
	if api.IsCode(err, api.CodeRetryExpired) && len(r.Header[api.HeaderRequestID]) == 0 {
		// The id is new, so this can be no late repeat: this node's state, which gave the base, is far behind. Without a
		// base the operation is taken as new.
		id = fsm.Request{ID: rand.Text()}
		result, err = s.try(ctx, build(id))
	}
	if err != nil {
		return fsm.Result{}, id, s.writeFailure(err, formatRequest(id))
	}
	return result, id, nil
}

func (s *Server) try(ctx context.Context, op fsm.Op) (fsm.Result, error) {
	result, err := s.cfg.Proposer.Propose(ctx, op)
	if err == nil {
		err = result.Err()
	}
	return result, err
}

// commit proposes and answers with a WriteResult.
func (s *Server) commit(w http.ResponseWriter, r *request, build func(fsm.Request) fsm.Op) error {
	result, id, err := s.propose(r, build)
	if err != nil {
		return err
	}
	return writeResult(w, api.WriteResult{
		Index: result.Index, Version: result.Version, Deleted: result.Deleted, RequestID: formatRequest(id),
	})
}
