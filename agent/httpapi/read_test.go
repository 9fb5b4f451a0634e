package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// toHandler is a RoundTripper that sends requests to another node's internal handler over a real connection.
type toHandler struct {
	url   string
	calls atomic.Int64
	err   error
}

func (p *toHandler) RoundTrip(r *http.Request) (*http.Response, error) {
	p.calls.Add(1)
	if p.err != nil {
		return nil, p.err
	}
	r = r.Clone(r.Context())
	r.URL.Host = strings.TrimPrefix(p.url, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

// newPair is a leader and a follower that knows it. The follower's own store stays empty.
func newPair(t *testing.T) (leader, follower *server, proxy *toHandler) {
	t.Helper()
	leader = newServer(t)
	internal := serve(t, leader.api.InternalHandler())
	proxy = &toHandler{url: internal}
	follower = newServer(t, func(c *httpapi.Config) { c.LeaderProxy = proxy })
	follower.set(func(b *backend) { b.follower = true })
	return leader, follower, proxy
}

func TestFollowerReadsAreTheLeaders(t *testing.T) {
	leader, follower, proxy := newPair(t)
	leader.must("PUT", "/v1/kv/a//b", "from the leader")
	for _, path := range []string{"/v1/kv/a//b?raw", "/v1/kv/a//b?raw&consistent"} {
		if a := follower.must("GET", path, ""); a.body != "from the leader" || a.header.Get(api.HeaderLastContact) != "0" {
			t.Fatalf("%s: %q %v", path, a.body, a.header)
		}
	}
	if leader.barriers != 1 || follower.barriers != 0 {
		t.Fatalf("%d barriers on the leader, %d on the follower", leader.barriers, follower.barriers)
	}
	if n := proxy.calls.Load(); n != 2 {
		t.Fatalf("%d requests were sent on, want 2", n)
	}
	stale := follower.call("GET", "/v1/kv/a//b?stale", "")
	if stale.status != http.StatusNotFound || stale.header.Get(api.HeaderLastContact) != "25" {
		t.Fatalf("stale read: %d %v", stale.status, stale.header)
	}
	if n := proxy.calls.Load(); n != 2 {
		t.Fatal("the stale read was sent on")
	}
}

func TestFollowerSendsOrdersToTheLeader(t *testing.T) {
	leader, follower, _ := newPair(t)
	follower.must("POST", "/v1/operator/raft/transfer-leader?id=2", "")
	follower.must("PUT", "/v1/operator/autopilot/configuration", `{"min_quorum":5}`)
	if len(leader.orders) != 2 || leader.orders[0] != "transfer-leader 2" || len(follower.orders) != 0 {
		t.Fatalf("leader %v, follower %v", leader.orders, follower.orders)
	}
	if leader.autopilot.MinQuorum != 5 || leader.autopilot.DeadServerThreshold != "24h" || !leader.autopilot.CleanupDeadServers {
		t.Fatalf("autopilot %+v: what the body didn't name must stay", leader.autopilot)
	}
}

// Two nodes that disagree about who leads don't send a request back and forth.
func TestRequestIsSentOnOnce(t *testing.T) {
	leader, follower, proxy := newPair(t)
	leader.set(func(b *backend) { b.follower = true })
	e := follower.mustFail(http.StatusServiceUnavailable, api.CodeNotLeader, "GET", "/v1/kv/a", "")
	if e.Leader == nil || e.Leader.Name != "n1" || proxy.calls.Load() != 1 {
		t.Fatalf("leader %+v after %d requests", e.Leader, proxy.calls.Load())
	}
}

// The internal port serves what followers send on and nothing else.
func TestInternalHandlerIsNoWayAround(t *testing.T) {
	s := newServer(t)
	internal := *s
	internal.url = serve(t, s.api.InternalHandler())
	internal.mustFail(http.StatusNotFound, api.CodeNotFound, "PUT", "/v1/agent/leave", "")
	internal.mustFail(http.StatusMethodNotAllowed, api.CodeMethodNotAllowed, "PUT", "/v1/kv/a", "")
	internal.must("GET", "/v1/kv/?keys", "")
}

func TestNoLeader(t *testing.T) {
	_, follower, proxy := newPair(t)
	follower.set(func(b *backend) { b.noLeader = true })
	for _, path := range []string{"/v1/kv/a", "/v1/kv/a?consistent", "/v1/settings", "/v1/session/list", "/v1/status/leader"} {
		follower.mustFail(http.StatusServiceUnavailable, api.CodeNoLeader, "GET", path, "")
		if a := follower.call("GET", path, ""); a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	if a := follower.must("GET", "/v1/settings?stale", ""); strings.TrimSpace(a.body) != "[]" || a.header.Get(api.HeaderKnownLeader) != "false" {
		t.Fatalf("stale: %s %v", a.body, a.header)
	}
	if proxy.calls.Load() != 0 {
		t.Fatal("a request was sent on")
	}
}

func TestLeaderUnreachable(t *testing.T) {
	_, follower, proxy := newPair(t)
	proxy.err = errors.New("connection refused")
	e := follower.mustFail(http.StatusServiceUnavailable, api.CodeUnavailable, "GET", "/v1/kv/a", "")
	if !strings.Contains(e.Hint, "stale") || e.Leader == nil {
		t.Fatalf("%+v", e)
	}
	follower.mustFail(http.StatusGatewayTimeout, api.CodeInDoubt, "POST", "/v1/operator/raft/transfer-leader", "")
}

func TestConsistentReadNeedsTheBarrier(t *testing.T) {
	s := newServer(t)
	s.set(func(b *backend) { b.barrier = &api.Error{Code: api.CodeNotLeader, Message: "lost it"} })
	s.mustFail(http.StatusServiceUnavailable, api.CodeNotLeader, "GET", "/v1/kv/a?consistent", "")
	s.must("GET", "/v1/kv/?keys", "")
}

func TestRedirect(t *testing.T) {
	_, follower, _ := newPair(t)
	a := follower.call("PUT", "/v1/kv/a%2Fb?redirect&cas=0", "v")
	if a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != "http://10.0.0.1:7400/v1/kv/a%2Fb?cas=0" {
		t.Fatalf("%d %q", a.status, a.header.Get("Location"))
	}
	follower.set(func(b *backend) { b.noLeader = true })
	follower.mustFail(http.StatusServiceUnavailable, api.CodeNoLeader, "PUT", "/v1/kv/a?redirect", "v")
	leader := newServer(t)
	leader.must("PUT", "/v1/kv/a?redirect", "v")
}

// Close ends what waits on the leader for a follower's client, too.
func TestCloseEndsReadsThatWaitElsewhere(t *testing.T) {
	_, follower, proxy := newPair(t)
	got := make(chan answer, 1)
	go func() { got <- follower.call("GET", "/v1/kv/?keys&index=1000&wait=60s", "") }()
	for deadline := time.Now().Add(5 * time.Second); proxy.calls.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was sent to the leader")
		}
	}
	follower.api.Close()
	select {
	case a := <-got:
		if a.status != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", a.status, a.body)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still waiting 5 s after Close")
	}
}

// slow lets a proposal through when it is told to.
type slow struct {
	*backend
	started, release chan struct{}
}

func (p slow) Propose(ctx context.Context, op fsm.Op) (fsm.Result, error) {
	close(p.started)
	select {
	case <-p.release:
	case <-ctx.Done():
	}
	return p.backend.Propose(ctx, op)
}

func TestCloseLetsWritesFinish(t *testing.T) {
	p := slow{started: make(chan struct{}), release: make(chan struct{})}
	s := newServer(t, func(c *httpapi.Config) {
		p.backend = c.Proposer.(*backend)
		c.Proposer = p
	})
	got := make(chan answer, 1)
	go func() { got <- s.call("PUT", "/v1/kv/k", "v") }()
	<-p.started
	s.api.Close()
	close(p.release)
	if a := <-got; a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

func TestTooManyBlockedReads(t *testing.T) {
	s := newServer(t, func(c *httpapi.Config) { c.MaxBlocking = 1 })
	s.lines <- []byte("the stream is open")
	stop := errors.New("stop")
	err := s.newClient().Monitor(testContext(t), api.MonitorOptions{}, func([]byte) error {
		a := s.call("GET", "/v1/kv/a?index=5&wait=1ms", "")
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
		s.must("GET", "/v1/kv/?keys", "")
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
}
