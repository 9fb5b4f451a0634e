package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
)

// statusOf gives the HTTP status of each error code.
var statusOf = map[string]int{
	api.CodeBadRequest:       http.StatusBadRequest,
	api.CodeForbidden:        http.StatusForbidden,
	api.CodeNotFound:         http.StatusNotFound,
	api.CodeMethodNotAllowed: http.StatusMethodNotAllowed,
	api.CodeConflict:         http.StatusConflict,
	api.CodePrecondition:     http.StatusPreconditionFailed,
	api.CodeTooLarge:         http.StatusRequestEntityTooLarge,
	api.CodeTooMany:          http.StatusTooManyRequests,
	api.CodeInternal:         http.StatusInternalServerError,
	api.CodeNoLeader:         http.StatusServiceUnavailable,
	api.CodeNotLeader:        http.StatusServiceUnavailable,
	api.CodeUnavailable:      http.StatusServiceUnavailable,
	api.CodeInDoubt:          http.StatusGatewayTimeout,
	api.CodeTimeout:          http.StatusGatewayTimeout,
	api.CodeRetryExpired:     http.StatusGatewayTimeout,
}

// retryAfter is how many seconds a client is told to wait: about what an election takes.
const retryAfter = "1"

func badRequest(format string, args ...any) *api.Error {
	return &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *api.Error {
	return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

// notLeader explains why this node can't answer for the leader.
func (s *Server) notLeader() *api.Error {
	leader, ok := s.cfg.Status.Leader()
	if !ok {
		return &api.Error{
			Code: api.CodeNoLeader, Message: "the cluster has no leader",
			Hint: "an election takes about a second; if it lasts, a majority of the voters is missing (?stale reads still work)",
		}
	}
	return &api.Error{Code: api.CodeNotLeader, Message: "this node is not the leader", Leader: leader}
}

// inDoubter is an error that knows whether what was asked may have been done.
type inDoubter interface{ InDoubt() bool }

// outcome finds the first error of the chain that says what became of a request, as an answer. doubt is true where
// that is all that it says.
func (s *Server) outcome(err error) (answer *api.Error, doubt bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		switch e := err.(type) { //nolint:errorlint // the loop unwraps: the outermost word counts
		case *api.Error:
			return s.withLeader(e), false
		case *consensus.RejectedError:
			return s.withLeader(&api.Error{Code: e.Code, Message: e.Error()}), false
		case *consensus.InDoubtError:
			return nil, true
		case inDoubter:
			return nil, e.InDoubt()
		}
	}
	return nil, false
}

// readError turns what a read or an order ended with into an answer.
func (s *Server) readError(err error) *api.Error {
	if answer, doubt := s.outcome(err); answer != nil {
		return answer
	} else if doubt {
		return &api.Error{Code: api.CodeInDoubt, Message: err.Error(), Hint: "look whether it was done before asking again"}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &api.Error{
			Code:    api.CodeTooLarge,
			Message: fmt.Sprintf("the request body is larger than %d bytes", tooLarge.Limit),
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &api.Error{Code: api.CodeTimeout, Message: "the request did not finish in time"}
	}
	return &api.Error{Code: api.CodeInternal, Message: err.Error()}
}

// writeFailure turns what Propose ended with into an answer. An error of an unknown kind proves nothing, so it is in doubt.
func (s *Server) writeFailure(err error, requestID string) *api.Error {
	if answer, _ := s.outcome(err); answer != nil {
		out := *answer
		if out.InDoubt() {
			out.RequestID = requestID
		}
		return &out
	}
	return &api.Error{
		Code: api.CodeInDoubt, Message: "the write may or may not be done: " + cause(err).Error(), RequestID: requestID,
		Hint: "send it again with the header " + api.HeaderRequestID + " set to request_id: it is applied once",
	}
}

// cause leaves out what an error in doubt says in words of its own.
func cause(err error) error {
	var doubt *consensus.InDoubtError
	if errors.As(err, &doubt) && doubt.Cause != nil {
		return doubt.Cause
	}
	return err
}

// hasOutcome reports whether an error says by itself what became of the request.
func (s *Server) hasOutcome(err error) bool {
	answer, doubt := s.outcome(err)
	return answer != nil || doubt
}

// withLeader adds who leads to an error that says that this node doesn't.
func (s *Server) withLeader(e *api.Error) *api.Error {
	if e.Code != api.CodeNotLeader || e.Leader != nil {
		return e
	}
	out := *e
	out.Leader, _ = s.cfg.Status.Leader()
	return &out
}

func writeError(w http.ResponseWriter, e *api.Error) {
	status := e.StatusCode
	if status == 0 {
		status = statusOf[e.Code]
	}
	if status == 0 {
		status = http.StatusInternalServerError
	}
	body, err := json.Marshal(e)
	if err != nil {
		body = []byte(`{"error":"encode error","code":"internal"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		h.Set("Retry-After", retryAfter)
	}
	body = append(body, '\n')
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
