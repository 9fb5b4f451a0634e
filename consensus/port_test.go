package consensus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
)

func FuzzPreamble(f *testing.F) {
	f.Add(consensus.PreambleBytes(consensus.KindRaft, "prod", "id", "from", "to"))
	f.Add(consensus.PreambleBytes(consensus.KindHTTP, "", "", "", ""))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0x16, 3, 1})
	f.Add([]byte{1, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, input []byte) {
		written, err := consensus.ReadPreamble(bytes.NewReader(input))
		if err != nil {
			return
		}
		again, err := consensus.ReadPreamble(bytes.NewReader(written))
		if err != nil || !bytes.Equal(written, again) {
			t.Errorf("%q became %q, then %q (%v)", input, written, again, err)
		}
	})
}

func TestStrangersAreRefused(t *testing.T) {
	var refused atomic.Pointer[string]
	c := consensustest.New(t, consensustest.Options{Servers: 1, Configure: func(_ int, cfg *consensus.Config) {
		cfg.ClusterID = func() string { return "id-1" }
		cfg.Hooks.Refused = func(reason string) { refused.Store(&reason) }
	}})
	self := c.Node(0).ServerID()
	tests := []struct {
		name, want string
		hello      []byte
	}{
		{"another cluster", `cluster_name "other" is not ours, "test"`, consensus.PreambleBytes(consensus.KindRaft, "other", "", "x", self)},
		{"another cluster of the same name", "two clusters", consensus.PreambleBytes(consensus.KindRaft, "test", "id-2", "x", self)},
		{"another server meant", "belongs to another server now", consensus.PreambleBytes(consensus.KindRaft, "test", "id-1", "x", "old")},
		{"no server meant", "belongs to another server now", consensus.PreambleBytes(consensus.KindRaft, "test", "id-1", "x", "")},
		{"a copied data directory", "data_dir copied", consensus.PreambleBytes(consensus.KindRaft, "test", "id-1", self, self)},
		{"another version", "protocol version 9", []byte{consensus.KindRaft, 9, 0, 0}},
		{"not pgraft", "first byte 0x47", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"TLS", "speaks TLS", []byte{0x16, 3, 1, 0, 5}},
		{"welcome", "", consensus.PreambleBytes(consensus.KindRaft, "test", "", "x", self)},
		{"first contact", "", consensus.PreambleBytes(consensus.KindHTTP, "test", "", "x", "")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			refused.Store(nil)
			conn, err := net.Dial("tcp", c.Address(0))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write(test.hello); err != nil {
				t.Fatal(err)
			}
			told, err := consensus.ReadWelcome(conn)
			if err != nil || !strings.Contains(told, test.want) || (test.want == "" && told != "") {
				t.Errorf("the caller was told %q (%v), want %q", told, err, test.want)
			}
			if test.want == "" {
				return
			}
			c.Eventually(func() error {
				if reason := refused.Load(); reason == nil || !strings.Contains(*reason, test.want) {
					return errors.New("the refusing side says nothing")
				}
				return nil
			})
		})
	}
}

func TestConnectionsPerAddressAreLimited(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 1, Configure: func(_ int, cfg *consensus.Config) { cfg.MaxConnsPerIP = 2 }})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", c.Address(0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		hello := consensus.PreambleBytes(consensus.KindHTTP, "test", "", "x", c.Node(0).ServerID())
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Write(hello); err != nil {
			return nil
		}
		if _, err := consensus.ReadWelcome(conn); err != nil {
			return nil
		}
		return conn
	}
	first, second := dial(), dial()
	if first == nil || second == nil {
		t.Fatal("a connection within the limit was refused")
	}
	if dial() != nil {
		t.Fatal("a connection above the limit was taken")
	}
	first.Close()
	c.Eventually(func() error {
		if dial() == nil {
			return errors.New("still refused after one was closed")
		}
		return nil
	})
}

func TestInternalRequests(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 2})
	c.Node(1).HandleInternal("GET /internal/hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	}))
	ask := func(transport http.RoundTripper) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://whoever/internal/hello", nil)
		if err != nil {
			return "", err
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	id := c.Node(1).ServerID()
	if got, err := ask(c.Node(0).PeerTransport(id)); got != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := ask(c.Node(0).AddressTransport(c.Address(1))); got != "hello" || err != nil {
		t.Fatalf("by address: %q, %v", got, err)
	}
	if _, err := ask(c.Node(0).PeerTransport(raft.ServerID("nobody"))); !contains(err, "no address is known") {
		t.Errorf("to nobody: %v", err)
	}
	// The pooled connection is dead after a restart; a GET is repeated over a new one.
	c.Stop(1)
	c.Start(1)
	c.Node(1).HandleInternal("GET /internal/hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello again")
	}))
	if got, err := ask(c.Node(0).PeerTransport(id)); got != "hello again" || err != nil {
		t.Fatalf("after a restart: %q, %v", got, err)
	}
}

// TestWipedServerDoesNotAnswerForItsFormerSelf: a server that lost its data has a new id, and the leader's entries and
// the candidates' requests for a vote, meant for the old one, must not reach it.
func TestWipedServerDoesNotAnswerForItsFormerSelf(t *testing.T) {
	wiped := -1
	var dir string
	c := consensustest.New(t, consensustest.Options{Configure: func(i int, cfg *consensus.Config) {
		if i == wiped {
			cfg.DataDir = dir
		}
	}})
	leader := c.Leader()
	wiped, dir = c.Follower(leader), t.TempDir()
	c.Stop(wiped)
	node := c.Start(wiped) // gossip knows its old id no longer, so that the configuration's address is dialled for it
	for range 20 {
		put(t, c.Node(leader), "k", "v")
	}
	time.Sleep(300 * time.Millisecond) // several heartbeats' time
	if stats := node.Stats(); stats.LastIndex != 0 || stats.Term != 0 {
		t.Errorf("the wiped server took part as its former self: %+v", stats)
	}
}

// TestStrangerMayNotWriteALog has a server that knows its configuration and not yet its cluster's id: a leader that is
// not in the configuration belongs to another cluster.
func TestStrangerMayNotWriteALog(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 2})
	greet := func(from raft.ServerID) string {
		conn, err := net.Dial("tcp", c.Address(0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Write(consensus.PreambleBytes(consensus.KindRaft, "test", "", from, c.Node(0).ServerID())); err != nil {
			t.Fatal(err)
		}
		answer, err := consensus.ReadWelcome(conn)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if refused := greet("6ba7b810-9dad-11d1-80b4-00c04fd430c8"); !strings.Contains(refused, "not in it") {
		t.Errorf("a stranger: refused = %q, want the reason", refused)
	}
	if refused := greet(c.ID(1)); refused != "" {
		t.Errorf("a server of the configuration was refused: %s", refused)
	}
}
