package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
)

// Every code that a write can end with reaches the client with its status.
func TestWriteErrors(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{"no leader", &api.Error{Code: api.CodeNoLeader, Message: "m"}, 503, api.CodeNoLeader},
		{"not leader", &api.Error{Code: api.CodeNotLeader, Message: "m"}, 503, api.CodeNotLeader},
		{"unavailable", &api.Error{Code: api.CodeUnavailable, Message: "m"}, 503, api.CodeUnavailable},
		{"wrapped", fmt.Errorf("propose: %w", &api.Error{Code: api.CodeUnavailable, Message: "m"}), 503, api.CodeUnavailable},
		{"timeout", &api.Error{Code: api.CodeTimeout, Message: "m"}, 504, api.CodeTimeout},
		{"too many", &api.Error{Code: api.CodeTooMany, Message: "m"}, 429, api.CodeTooMany},
		{"conflict", &api.Error{Code: api.CodeConflict, Message: "m"}, 409, api.CodeConflict},
		{"forbidden", &api.Error{Code: api.CodeForbidden, Message: "m"}, 403, api.CodeForbidden},
		{"internal", &api.Error{Code: api.CodeInternal, Message: "m"}, 500, api.CodeInternal},
		{"unknown code", &api.Error{Code: "new", Message: "m"}, 500, "new"},
		{"in doubt", doubt{}, 504, api.CodeInDoubt},
		{"in doubt by code", &api.Error{Code: api.CodeInDoubt, Message: "m"}, 504, api.CodeInDoubt},
		{"rejected", &consensus.RejectedError{Code: api.CodeNoLeader, Message: "m"}, 503, api.CodeNoLeader},
		{"rejected with a cause", &consensus.RejectedError{Code: api.CodeTimeout, Message: "m", Cause: doubt{}}, 504, api.CodeTimeout},
		{"rejected, not leader", &consensus.RejectedError{Code: api.CodeNotLeader, Message: "m"}, 503, api.CodeNotLeader},
		{"consensus in doubt", &consensus.InDoubtError{RequestID: "x", Cause: &api.Error{Code: api.CodeNoLeader}}, 504, api.CodeInDoubt},
		{"context", context.DeadlineExceeded, 504, api.CodeInDoubt},
		{"unknown error", errors.New("something"), 504, api.CodeInDoubt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			s.set(func(b *backend) { b.proposes = []error{test.err} })
			a := s.call("PUT", "/v1/kv/k", "v")
			var e api.Error
			a.json(t, &e)
			if a.status != test.status || e.Code != test.code {
				t.Fatalf("%d %s, want %d %s", a.status, a.body, test.status, test.code)
			}
			if retry := a.header.Get("Retry-After") != ""; retry != (test.status == 503 || test.status == 429) {
				t.Errorf("Retry-After %q with %d", a.header.Get("Retry-After"), a.status)
			}
			if e.InDoubt() != (e.RequestID != "") {
				t.Errorf("request id %q with %s", e.RequestID, e.Code)
			}
			if (e.Leader != nil) != (test.code == api.CodeNotLeader) {
				t.Errorf("leader %+v with %s", e.Leader, e.Code)
			}
		})
	}
}

// The request id of an answer in doubt makes the repeat of a write that was applied harmless.
func TestRepeatAfterDoubt(t *testing.T) {
	s := newServer(t)
	s.must("PUT", "/v1/kv/other", "so that there is an index to start from")
	s.set(func(b *backend) { b.doubtful = true })
	e := s.mustFail(http.StatusGatewayTimeout, api.CodeInDoubt, "PUT", "/v1/kv/k?cas=0", "1")
	var again api.WriteResult
	s.must("PUT", "/v1/kv/k?cas=0", "1", api.HeaderRequestID, e.RequestID).json(t, &again)
	if again.RequestID != e.RequestID || again.Version != 1 {
		t.Fatalf("second try %+v of %s", again, e.RequestID)
	}
	_, pair := s.fsm.Store().KVGet(nil, "k")
	if pair.Version != 1 || pair.ModifyIndex != again.Index {
		t.Fatalf("pair %+v, answer %+v", pair, again)
	}
}

func TestRequestIDHeader(t *testing.T) {
	s := newServer(t)
	for _, bad := range []string{"a b", "ü", ";base=1", "a;", "a;base=", "a;base=-1", "a;bass=1", strings.Repeat("x", 129)} {
		s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/kv/k", "v", api.HeaderRequestID, bad)
	}
	var out api.WriteResult
	s.must("PUT", "/v1/kv/k", "v", api.HeaderRequestID, "job-7:try.1; base=0").json(t, &out)
	if out.RequestID != "job-7:try.1" {
		t.Fatalf("request id %q", out.RequestID)
	}
}

// A node far behind gives a base that the window doesn't reach back to. For a new write that is no reason to fail.
func TestNewWriteIsNoLateRepeat(t *testing.T) {
	s := newServer(t)
	expired := &api.Error{Code: api.CodeRetryExpired, Message: "too late"}
	s.set(func(b *backend) { b.proposes = []error{expired} })
	s.must("PUT", "/v1/kv/k", "v")
	s.set(func(b *backend) { b.proposes = []error{expired} })
	e := s.mustFail(http.StatusGatewayTimeout, api.CodeRetryExpired, "PUT", "/v1/kv/k", "v", api.HeaderRequestID, "mine;base=1")
	if e.RequestID != "mine;base=1" {
		t.Fatalf("request id %q", e.RequestID)
	}
}

func TestSessionOfARepeatedRequestIsTheSame(t *testing.T) {
	s := newServer(t)
	var first, second api.Session
	s.must("PUT", "/v1/session/create", `{"ttl":"15s"}`, api.HeaderRequestID, "r1").json(t, &first)
	s.must("PUT", "/v1/session/create", `{"ttl":"15s"}`, api.HeaderRequestID, "r1").json(t, &second)
	if first.ID == "" || first.ID != second.ID {
		t.Fatalf("sessions %q and %q", first.ID, second.ID)
	}
	if _, sessions := s.fsm.Store().SessionList(nil); len(sessions) != 1 {
		t.Fatalf("%d sessions", len(sessions))
	}
}

func TestBadBodies(t *testing.T) {
	s := newServer(t)
	for _, body := range []string{
		`{`, `[]`, `{"compares":1}`, `{"succes":[]}`, `{} {}`, `{"success":[{"op":"set","key":"a","value":"not base64!"}]}`,
		`{"success":[{"op":"jump","key":"a"}]}`, `{"success":[{"op":"set"}]}`, "\x00",
	} {
		s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/txn", body)
	}
	for _, body := range []string{
		`{"ttl":"soon"}`, `{"ttl":"-5s"}`, `{"ttl":"1ms"}`, `{"behavior":"explode"}`, `{"id":"mine"}`, `{"lock_delay":"2h"}`,
	} {
		s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/session/create", body)
	}
	s.mustFail(http.StatusRequestEntityTooLarge, api.CodeTooLarge, "PUT", "/v1/txn", strings.Repeat(" ", 2<<20))
	s.mustFail(http.StatusRequestEntityTooLarge, api.CodeTooLarge, "PUT", "/v1/settings/a", strings.Repeat("x", fsm.MaxSettingSize+1))
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "POST", "/v1/operator/keyring", `{"key":"c2hvcnQ="}`)
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "DELETE", "/v1/operator/raft/peer", "")
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/operator/autopilot/configuration", `{"dead_server_threshold":"1 day"}`)
}

func TestPanicIsAnAnswer(t *testing.T) {
	s := newServer(t)
	s.set(func(b *backend) { b.panics = true })
	s.mustFail(http.StatusInternalServerError, api.CodeInternal, "PUT", "/v1/kv/k", "v")
	s.set(func(b *backend) { b.panics = false })
	s.must("PUT", "/v1/kv/k", "v")
}

func TestOtherOriginsMayNotChangeAnything(t *testing.T) {
	s := newServer(t)
	s.mustFail(http.StatusForbidden, api.CodeForbidden, "POST", "/v1/operator/raft/transfer-leader", "",
		"Origin", "https://example.org", "Sec-Fetch-Site", "cross-site")
	if len(s.orders) != 0 {
		t.Fatalf("orders %v", s.orders)
	}
	s.must("POST", "/v1/operator/raft/transfer-leader", "", "Origin", s.url, "Sec-Fetch-Site", "same-origin")
}
