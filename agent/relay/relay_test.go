package relay_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgraft/pgraft/agent/relay"
)

const notLeader = `{"code":"not_leader","message":"this node is not the leader"}`

func TestTransport(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		leaders []string // as they are known, one for each try; the last stays
		answers []string // of whoever is asked, in turn; the last stays
		body    string
		want    string
		tries   int64
		err     error
	}{
		"led by this node":        {leaders: []string{"self"}, answers: []string{"done"}, body: "order", want: "local done order", tries: 1},
		"led by a peer":           {leaders: []string{"b"}, answers: []string{"done"}, body: "order", want: "b done order", tries: 1},
		"led by nobody":           {leaders: []string{""}, answers: []string{"done"}, err: relay.ErrNoLeader},
		"given away":              {leaders: []string{"b", "", "c"}, answers: []string{notLeader, "done"}, body: "order", want: "c done order", tries: 2},
		"elected a moment ago":    {leaders: []string{"self"}, answers: []string{notLeader, notLeader, "done"}, want: "local done ", tries: 3},
		"refused for good reason": {leaders: []string{"b"}, answers: []string{`{"code":"conflict"}`}, want: `b {"code":"conflict"} `, tries: 1},
		"a body for once only":    {leaders: []string{"b"}, answers: []string{notLeader, "done"}, body: strings.Repeat("x", 100<<10), want: notLeader, tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, known atomic.Int64
			answer := func(who string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					a := at(tt.answers, asked.Add(1)-1)
					if strings.HasPrefix(a, "{") {
						w.WriteHeader(http.StatusServiceUnavailable)
					}
					if a == notLeader {
						_, _ = io.WriteString(w, a)
						return
					}
					_, _ = io.WriteString(w, who+" "+a+" "+string(body))
				}
			}
			transport := relay.New(relay.Config{
				Leader: func() string { return at(tt.leaders, known.Add(1)-1) },
				Self:   "self",
				Local:  func() http.Handler { return answer("local") },
				Peer:   func(id string) http.RoundTripper { return peer{t, answer(id)} },
			})
			got, err := post(t, transport, tt.body)
			if !errors.Is(err, tt.err) || got != tt.want || asked.Load() != tt.tries {
				t.Errorf("%q after %d tries, %v; want %q after %d, %v", got, asked.Load(), err, tt.want, tt.tries, tt.err)
			}
		})
	}
}

// TestNobodyLeadsLong ends with the refusal as it came, not with an error of the relay's own.
func TestNobodyLeadsLong(t *testing.T) {
	t.Parallel()
	transport := relay.New(relay.Config{
		Leader: func() string { return "self" }, Self: "self",
		Local: func() http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, notLeader)
			})
		},
	})
	if got, err := post(t, transport, "order"); err != nil || got != notLeader {
		t.Errorf("%q, %v", got, err)
	}
}

func at(list []string, i int64) string { return list[min(int(i), len(list)-1)] }

func post(t *testing.T, transport http.RoundTripper, body string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://leader/v1/cluster/switchover", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return string(got), err
}

// peer is another agent, reached over a real connection.
type peer struct {
	t *testing.T
	h http.Handler
}

func (p peer) RoundTrip(req *http.Request) (*http.Response, error) {
	server := httptest.NewServer(p.h)
	p.t.Cleanup(server.Close)
	out := req.Clone(req.Context())
	out.URL.Host = strings.TrimPrefix(server.URL, "http://")
	return server.Client().Transport.RoundTrip(out)
}
