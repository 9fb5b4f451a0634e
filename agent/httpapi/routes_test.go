package httpapi_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
)

type openAPI struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		Summary     string `json:"summary"`
		OperationID string `json:"operationId"`
		Parameters  []struct {
			Name string `json:"name"`
			In   string `json:"in"`
		} `json:"parameters"`
		Responses map[string]any `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]any `json:"schemas"`
	} `json:"components"`
}

var pathParam = regexp.MustCompile(`\{[a-z]+\}`)

func (s *server) document() openAPI {
	s.t.Helper()
	var doc openAPI
	s.must("GET", "/v1/openapi.json", "").json(s.t, &doc)
	return doc
}

// What the document says is served is served, by the method it says and no other.
func TestDocumentMatchesTheServer(t *testing.T) {
	s := newServer(t)
	doc := s.document()
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) < 30 {
		t.Fatalf("openapi %q with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	ids := map[string]bool{}
	for path, operations := range doc.Paths {
		url := pathParam.ReplaceAllString(path, "x")
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH"} {
			op, documented := operations[strings.ToLower(method)]
			if documented && (op.Summary == "" || ids[op.OperationID]) {
				t.Errorf("%s %s: summary %q, operation id %q", method, path, op.Summary, op.OperationID)
			}
			ids[op.OperationID] = documented
			// A parameter that no route knows makes each of them answer at once, and shows that it is a route that answers.
			a := s.call(method, url+"?no-such-parameter", "")
			served := a.status == http.StatusBadRequest && strings.Contains(a.body, "unknown parameter")
			if served != documented {
				t.Errorf("%s %s: documented %v, answer %d %s", method, path, documented, a.status, a.body)
			}
			if !documented && a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d, want 405", method, path, a.status)
			}
		}
	}
}

// Every type that the document refers to is defined in it.
func TestDocumentDefinesWhatItRefersTo(t *testing.T) {
	s := newServer(t)
	body := s.must("GET", "/v1/openapi.json", "").body
	schemas := s.document().Components.Schemas
	refs := regexp.MustCompile(`"#/components/schemas/(\w+)"`).FindAllStringSubmatch(body, -1)
	for _, ref := range refs {
		if schemas[ref[1]] == nil {
			t.Errorf("no schema %s", ref[1])
		}
	}
	for _, name := range []string{"Status", "KVPair", "TxnRequest", "Error", "WriteResult", "RaftConfiguration"} {
		if schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
}

// The contract's routes, as the design lists them.
func TestContract(t *testing.T) {
	var have []string
	for _, rt := range httpapi.Reference() {
		have = append(have, rt.Method+" "+rt.Path)
	}
	for _, want := range []string{
		"GET /v1/status", "GET /v1/status/leader", "GET /v1/status/peers",
		"GET /v1/agent/self", "GET /v1/agent/info", "GET /v1/agent/members", "GET /v1/agent/monitor",
		"PUT /v1/agent/join/{addr}", "PUT /v1/agent/leave", "PUT /v1/agent/force-leave/{node}", "PUT /v1/agent/reload",
		"GET /v1/kv/{key}", "PUT /v1/kv/{key}", "DELETE /v1/kv/{key}", "PUT /v1/txn",
		"PUT /v1/session/create", "PUT /v1/session/destroy/{id}", "PUT /v1/session/renew/{id}",
		"GET /v1/session/info/{id}", "GET /v1/session/list",
		"GET /v1/events", "GET /v1/settings", "GET /v1/settings/{name}", "PUT /v1/settings/{name}", "DELETE /v1/settings/{name}",
		"GET /v1/operator/raft/configuration", "DELETE /v1/operator/raft/peer", "POST /v1/operator/raft/transfer-leader",
		"GET /v1/operator/autopilot/configuration", "PUT /v1/operator/autopilot/configuration", "GET /v1/operator/autopilot/state",
		"GET /v1/operator/keyring", "POST /v1/operator/keyring", "PUT /v1/operator/keyring", "DELETE /v1/operator/keyring",
		"POST /v1/cluster/failover", "POST /v1/cluster/switchover", "POST /v1/cluster/restart", "POST /v1/cluster/reinit",
		"POST /v1/cluster/pause", "POST /v1/cluster/resume", "GET /primary", "GET /leader", "GET /read-write", "GET /master",
		"GET /replica", "GET /standby-leader", "GET /read-only", "GET /synchronous", "GET /sync", "GET /quorum", "GET /asynchronous",
		"GET /health", "GET /liveness", "GET /readiness", "GET /cluster", "GET /history", "GET /patroni",
		"GET /v1/snapshot", "PUT /v1/snapshot", "GET /livez", "GET /readyz", "GET /readyz/{check}",
		"GET /metrics", "GET /ui/", "GET /v1/openapi.json",
	} {
		if !slices.Contains(have, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestUnservedPaths(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/nothing", "/v1", "/v1/", "/v1/kvx", "/ui/other", "/v1/session/info/", "/readyz/a/b"} {
		s.mustFail(http.StatusNotFound, api.CodeNotFound, "GET", path, "")
	}
	s.mustFail(http.StatusMethodNotAllowed, api.CodeMethodNotAllowed, "POST", "/v1/kv/a", "")
	a := s.call("DELETE", "/v1/status", "")
	if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET" {
		t.Fatalf("%d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := s.call("HEAD", "/v1/status", ""); a.status != http.StatusOK || a.body != "" {
		t.Fatalf("HEAD: %d %q", a.status, a.body)
	}
}

func TestParametersAreChecked(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{
		"/v1/kv/a?recurs", "/v1/kv/a?stale&consistent", "/v1/kv/a?stale=maybe", "/v1/kv/a?index=-1", "/v1/kv/a?index=x",
		"/v1/kv/a?wait=-1s", "/v1/kv/a?wait=soon", "/v1/kv/a?raw&raw", "/v1/kv/a?%zz", "/v1/kv/a?separator=/",
		"/v1/kv/a?index=99999999999999999999", "/v1/events?limit=many", "/v1/events?follow&index=1",
		"/v1/agent/monitor?loglevel=loud", "/v1/status?verbose", "/livez?exclude=postgres", "/readyz?exclude=x",
	} {
		s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "GET", path, "")
	}
	for _, path := range []string{"/v1/kv/a?cas=x", "/v1/kv/a?flags=-1", "/v1/kv/a?casx=1"} {
		s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", path, "v")
	}
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "DELETE", "/v1/kv/a?recurse&cas=1", "")
	if s.applied != 0 {
		t.Fatalf("%d writes were proposed", s.applied)
	}
	if e := s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "DELETE", "/v1/kv/a?recures", ""); !strings.Contains(e.Hint, "recurse") {
		t.Fatalf("hint %q", e.Hint)
	}
}
