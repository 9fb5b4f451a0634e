package probe_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/probe"
)

// direct sends every request to one test server.
type direct struct{ base string }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	target, err := url.Parse(d.base)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = target.Scheme, target.Host
	return http.DefaultTransport.RoundTrip(req)
}

func TestProber(t *testing.T) {
	var healthy atomic.Bool
	healthy.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !healthy.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path != probe.Path || r.URL.Query().Get("from") != "me" {
			t.Errorf("unexpected question %s", r.URL)
		}
		_ = json.NewEncoder(w).Encode(probe.Answer{ServerID: "peer", LastIndex: 42, YouAreRemoved: true})
	}))
	t.Cleanup(server.Close)

	removed := make(chan probe.Answer, 100)
	p := probe.New(probe.Config{
		Self:      "me",
		Servers:   func() []string { return []string{"me", "peer"} },
		Transport: func(string) http.RoundTripper { return direct{server.URL} },
		Interval:  5 * time.Millisecond, Timeout: time.Second,
		Removed: func(by probe.Answer) {
			select {
			case removed <- by:
			default:
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	eventually(t, func() bool { return p.Peers()["peer"].LastIndex == 42 })
	if by := <-removed; by.ServerID != "peer" {
		t.Errorf("removed by %q, want peer", by.ServerID)
	}
	if _, ok := p.Peers()["me"]; ok {
		t.Error("the prober asked itself")
	}

	healthy.Store(false)
	eventually(t, func() bool { return p.Peers()["peer"].Err != nil })
	if got := p.Peers()["peer"]; got.LastIndex != 42 || got.Heard.IsZero() {
		t.Errorf("the last answer is forgotten after an error: %+v", got)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("condition did not come true in 10 s")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestPokeAsksNow(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_ = json.NewEncoder(w).Encode(probe.Answer{ServerID: "peer"})
	}))
	t.Cleanup(server.Close)
	p := probe.New(probe.Config{
		Self: "me", Servers: func() []string { return []string{"peer"} },
		Transport: func(string) http.RoundTripper { return direct{server.URL} },
		Interval:  time.Hour, Timeout: time.Second,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, func() bool { return asked.Load() == 1 && !p.Peers()["peer"].Heard.IsZero() })
	p.Poke()
	eventually(t, func() bool { return asked.Load() == 2 })
}
