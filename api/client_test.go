package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
)

// script answers requests one after the other as written, and remembers them.
type script struct {
	mu      sync.Mutex // guards the rest
	answers []http.HandlerFunc
	ids     []string // request ids of the writes
}

// ServeHTTP answers the next line of the script; the last one stays.
func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		answer(http.StatusOK, api.KVStats{Index: 41})(w, r) // where a client learns a committed index
		return
	}
	s.mu.Lock()
	next := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	s.ids = append(s.ids, r.Header.Get(api.HeaderRequestID))
	s.mu.Unlock()
	next(w, r)
}

func answer(status int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func refuse(status int, code string) http.HandlerFunc {
	return answer(status, api.Error{Message: "refused", Code: code})
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func newScript(t *testing.T, answers ...http.HandlerFunc) (*script, *api.Client) {
	t.Helper()
	s := &script{answers: answers}
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	return s, newClient(t, api.Config{Address: ts.URL})
}

func newClient(t *testing.T, cfg api.Config) *api.Client {
	t.Helper()
	c, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var done = answer(http.StatusOK, api.WriteResult{Index: 42})

func put(c *api.Client, timeout time.Duration, opts api.WriteOptions) (api.WriteResult, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return c.KVPut(ctx, "k", []byte("v"), api.KVPutOptions{WriteOptions: opts})
}

// A write is repeated under one id until it is done, through every kind of failure that may pass.
func TestRetryUntilDone(t *testing.T) {
	s, c := newScript(t,
		refuse(503, api.CodeNoLeader), refuse(504, api.CodeInDoubt), hangUp, refuse(429, api.CodeTooMany),
		answer(502, "a proxy's words"), done)
	out, err := put(c, 20*time.Second, api.WriteOptions{Retry: true})
	if err != nil || out.Index != 42 {
		t.Fatalf("%+v %v", out, err)
	}
	if len(s.ids) < 6 {
		t.Fatalf("%d tries", len(s.ids))
	}
	for _, id := range s.ids {
		if id != s.ids[0] || !strings.HasSuffix(id, ";base=41") {
			t.Fatalf("ids %v", s.ids)
		}
	}
}

func TestNoRetryUnlessAsked(t *testing.T) {
	s, c := newScript(t, refuse(503, api.CodeNoLeader), done)
	if _, err := put(c, time.Second, api.WriteOptions{}); !api.IsCode(err, api.CodeNoLeader) || len(s.ids) != 1 || s.ids[0] != "" {
		t.Fatalf("%v after %v", err, s.ids)
	}
}

func TestRetryStopsAtADefiniteAnswer(t *testing.T) {
	for _, code := range []string{api.CodePrecondition, api.CodeConflict, api.CodeBadRequest, api.CodeTooLarge, api.CodeForbidden} {
		s, c := newScript(t, refuse(400, code))
		if _, err := put(c, time.Second, api.WriteOptions{Retry: true}); !api.IsCode(err, code) || len(s.ids) != 1 {
			t.Fatalf("%s: %v after %d tries", code, err, len(s.ids))
		}
	}
}

// Once a try was in doubt the write is, whatever the last try was refused for.
func TestDoubtIsNotForgotten(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{"answer": refuse(504, api.CodeInDoubt), "connection": hangUp} {
		s, c := newScript(t, first, refuse(503, api.CodeNoLeader))
		_, err := put(c, 300*time.Millisecond, api.WriteOptions{Retry: true})
		var e *api.Error
		if !errors.As(err, &e) || !e.InDoubt() || e.RequestID != s.ids[0] {
			t.Fatalf("%s: %+v, ids %v", name, err, s.ids)
		}
	}
	_, c := newScript(t, refuse(503, api.CodeNoLeader))
	if _, err := put(c, 100*time.Millisecond, api.WriteOptions{Retry: true}); !api.IsCode(err, api.CodeNoLeader) {
		t.Fatalf("never in doubt: %v", err)
	}
}

// "Too late" for a first try only means that the base was old; for a repeat in doubt it is the answer.
func TestRetryExpired(t *testing.T) {
	s, c := newScript(t, refuse(504, api.CodeRetryExpired), done)
	if _, err := put(c, 5*time.Second, api.WriteOptions{Retry: true}); err != nil || s.ids[0] == s.ids[1] {
		t.Fatalf("%v, ids %v", err, s.ids)
	}
	_, c = newScript(t, refuse(504, api.CodeInDoubt), refuse(504, api.CodeRetryExpired), done)
	if _, err := put(c, 5*time.Second, api.WriteOptions{Retry: true}); !api.IsCode(err, api.CodeRetryExpired) {
		t.Fatalf("repeat: %v", err)
	}
	s, c = newScript(t, refuse(504, api.CodeRetryExpired), done)
	if _, err := put(c, 5*time.Second, api.WriteOptions{Retry: true, RequestID: "mine"}); !api.IsCode(err, api.CodeRetryExpired) || s.ids[0] != "mine" {
		t.Fatalf("own id: %v, ids %v", err, s.ids)
	}
}

func TestBrokenConnectionLeavesAWriteInDoubt(t *testing.T) {
	_, c := newScript(t, hangUp)
	_, err := put(c, time.Second, api.WriteOptions{RequestID: "mine"})
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeInDoubt || e.RequestID != "mine" {
		t.Fatalf("%+v", err)
	}
}

func TestRefusedConnectionIsDefinite(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	_, err = put(newClient(t, api.Config{Address: addr}), time.Second, api.WriteOptions{})
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeUnavailable || e.Hint == "" || !strings.Contains(e.Message, addr) {
		t.Fatalf("%+v", err)
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"": api.DefaultAddress, "10.0.0.1:7400": "http://10.0.0.1:7400", "https://h:1/": "https://h:1",
		"http://h:1/sub/": "http://h:1/sub", "unix:///run/x.sock": "http://localhost",
	} {
		if got := newClient(t, api.Config{Address: in}).Address(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, bad := range []string{"ftp://h", "http://", "unix://", "http://a b"} {
		if _, err := api.New(api.Config{Address: bad}); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestUnixSocketAndToken(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "http.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Status{Name: r.Header.Get(api.HeaderToken)})
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	st, err := newClient(t, api.Config{Address: "unix://" + socket, Token: "secret"}).Status(context.Background())
	if err != nil || st.Name != "secret" {
		t.Fatalf("%q %v", st.Name, err)
	}
}

func TestTLS(t *testing.T) {
	ts := httptest.NewTLSServer(answer(http.StatusOK, api.Status{Name: "n1"}))
	t.Cleanup(ts.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, ca, ts.Certificate().Raw)
	host := strings.TrimPrefix(ts.URL, "https://")
	st, err := newClient(t, api.Config{Address: host, TLS: api.TLSConfig{CAFile: ca}}).Status(context.Background())
	if err != nil || st.Name != "n1" {
		t.Fatalf("%q %v", st.Name, err)
	}
	if _, err := newClient(t, api.Config{Address: ts.URL}).Status(context.Background()); err == nil {
		t.Fatal("a certificate of an unknown authority was taken")
	}
	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.New(api.Config{TLS: api.TLSConfig{CAFile: ca}}); err == nil {
		t.Fatal("a CA file without a certificate was taken")
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv(api.EnvAddress, "10.0.0.9:7400")
	t.Setenv(api.EnvToken, "secret")
	cfg := api.DefaultConfig()
	if cfg.Address != "10.0.0.9:7400" || cfg.Token != "secret" {
		t.Fatalf("%+v", cfg)
	}
}

// An index that goes backwards starts a watch over; one that stays 0 doesn't make it spin.
func TestWatchIndexRules(t *testing.T) {
	c := newClient(t, api.Config{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	steps := []struct {
		index uint64
		err   error
	}{{5, nil}, {9, nil}, {0, &api.Error{Code: api.CodeNoLeader}}, {3, nil}, {3, nil}, {7, nil}}
	var asked []uint64
	err := c.Watch(ctx, api.QueryOptions{}, func(_ context.Context, o api.QueryOptions) (api.QueryMeta, error) {
		asked = append(asked, o.Index)
		if len(steps) == 0 {
			cancel()
			return api.QueryMeta{}, ctx.Err()
		}
		step := steps[0]
		steps = steps[1:]
		return api.QueryMeta{Index: step.index}, step.err
	})
	want := []uint64{0, 5, 9, 9, 0, 3, 7}
	if err != nil || len(asked) != len(want) {
		t.Fatalf("%v, asked %v", err, asked)
	}
	for i := range want {
		if asked[i] != want[i] {
			t.Fatalf("asked %v, want %v", asked, want)
		}
	}
}

func TestWatchEndsWithADefiniteError(t *testing.T) {
	c := newClient(t, api.Config{})
	err := c.Watch(context.Background(), api.QueryOptions{}, func(context.Context, api.QueryOptions) (api.QueryMeta, error) {
		return api.QueryMeta{}, &api.Error{Code: api.CodeForbidden}
	})
	if !api.IsCode(err, api.CodeForbidden) {
		t.Fatal(err)
	}
}
