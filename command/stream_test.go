package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
)

// store is enough of the key/value store to hold one lock.
type store struct {
	t  *testing.T
	mu sync.Mutex // guards what follows

	changed  chan struct{}
	index    uint64
	pair     *api.KVPair
	sessions map[string]bool
	next     int
	locks    uint64
	left     []string // sessions that ended while they held the lock
}

func newStore(t *testing.T) *store {
	t.Helper()
	return &store{t: t, changed: make(chan struct{}), index: 1, sessions: map[string]bool{}}
}

func (s *store) routes() map[string]any {
	return map[string]any{
		"GET /v1/kv": api.KVStats{Index: 1}, "GET /v1/kv/{key...}": s.get, "PUT /v1/kv/{key...}": s.put,
		"PUT /v1/session/create": s.create, "PUT /v1/session/renew/{id}": s.renew, "PUT /v1/session/destroy/{id}": s.destroy,
	}
}

// bump wakes the blocked reads; s.mu is held.
func (s *store) bump() {
	s.index++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *store) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if asked := r.URL.Query().Get("index"); asked == fmt.Sprint(s.index) {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	w.Header().Set(api.HeaderIndex, fmt.Sprint(s.index))
	if s.pair == nil {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(api.Error{Code: api.CodeNotFound, Message: "not found"})
		return
	}
	_ = json.NewEncoder(w).Encode([]api.KVPair{*s.pair})
}

func (s *store) put(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	acquire, release := r.URL.Query().Get("acquire"), r.URL.Query().Get("release")
	s.mu.Lock()
	defer s.mu.Unlock()
	if acquire != "" && s.pair != nil && s.pair.Session != "" && s.pair.Session != acquire {
		reply(s.t, w, &api.Error{StatusCode: 409, Code: api.CodeConflict, Message: "held"})
		return
	}
	var flags uint64
	_, _ = fmt.Sscan(r.URL.Query().Get("flags"), &flags)
	version := uint64(1)
	if s.pair != nil {
		version = s.pair.Version + 1
	}
	if acquire != "" {
		s.locks++
	}
	s.bump()
	s.pair = &api.KVPair{Key: r.PathValue("key"), Value: body, Flags: flags, Session: acquire, LockIndex: s.locks, Version: version,
		ModifyIndex: s.index}
	if release != "" {
		s.pair.Session = ""
	}
	reply(s.t, w, api.WriteResult{Index: s.index, Version: version})
}

func (s *store) create(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := fmt.Sprintf("session-%d", s.next)
	s.sessions[id] = true
	reply(s.t, w, api.Session{ID: id})
}

func (s *store) renew(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sessions[r.PathValue("id")] {
		reply(s.t, w, &api.Error{StatusCode: 404, Code: api.CodeNotFound, Message: "no such session"})
		return
	}
	reply(s.t, w, api.Session{ID: r.PathValue("id")})
}

func (s *store) destroy(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(r.PathValue("id"))
	reply(s.t, w, api.WriteResult{Index: s.index})
}

// expire ends a session as its TTL would; s.mu is held.
func (s *store) expire(id string) {
	delete(s.sessions, id)
	if s.pair != nil && s.pair.Session == id {
		s.left = append(s.left, id)
		s.pair.Session = ""
		s.bump()
	}
}

func (s *store) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pair == nil {
		return ""
	}
	return s.pair.Session
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLockRunsCommandAndGivesBack(t *testing.T) {
	s := newStore(t)
	agent(t, s.routes())
	r := run(t, "input", "lock", "-name=me", "jobs/a", "sh", "-c", "cat; echo $PGRAFT_LOCK_KEY $PGRAFT_LOCK_INDEX; exit 7")
	if r.code != 7 || r.stdout != "inputjobs/a 1\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	if s.holder() != "" || len(s.sessions) != 0 || len(s.left) != 0 {
		t.Errorf("not given back: holder %q, sessions %v, ended holding it %v", s.holder(), s.sessions, s.left)
	}
	if r := run(t, "", "lock", "jobs/a", "echo $PGRAFT_LOCK_INDEX"); r.stdout != "2\n" {
		t.Errorf("the fencing number did not grow: %+v", r)
	}
}

func TestLockKeepsItsChildsFlags(t *testing.T) {
	agent(t, newStore(t).routes())
	if r := run(t, "", "lock", "k", "echo", "-h", "--help", "-ttl=1s"); r.code != 0 || r.stdout != "-h --help -ttl=1s\n" {
		t.Errorf("%+v", r)
	}
}

func TestLockHeldByAnother(t *testing.T) {
	s := newStore(t)
	agent(t, s.routes())
	s.sessions["other"] = true
	s.pair = &api.KVPair{Key: "k", Session: "other", Flags: 0x70677261667401, Value: []byte(`{"holder":"them","since":"2026-03-14T15:09:26Z"}`)}
	r := run(t, "", "lock", "-wait=0s", "k", "true")
	if r.code != 1 || !strings.Contains(r.stderr, "held by them") {
		t.Errorf("%+v", r)
	}
	if len(s.sessions) != 1 {
		t.Errorf("left a session behind: %v", s.sessions)
	}
	done := make(chan result, 1)
	go func() { done <- run(t, "", "lock", "k", "echo", "got it") }()
	eventually(t, "the second one waits", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.sessions) == 2 })
	s.mu.Lock()
	s.expire("other")
	s.mu.Unlock()
	if r := <-done; r.code != 0 || r.stdout != "got it\n" {
		t.Errorf("%+v", r)
	}
}

func TestLockRefusesAKeyWithAValue(t *testing.T) {
	s := newStore(t)
	agent(t, s.routes())
	s.pair = &api.KVPair{Key: "k", Value: []byte("precious")}
	r := run(t, "", "lock", "k", "true")
	if r.code != 1 || !strings.Contains(r.stderr, "no lock") || string(s.pair.Value) != "precious" {
		t.Errorf("%+v, value %q", r, s.pair.Value)
	}
}

func TestLockLostEndsTheCommand(t *testing.T) {
	s := newStore(t)
	agent(t, s.routes())
	done := make(chan result, 1)
	started := filepath.Join(t.TempDir(), "started")
	go func() {
		done <- run(t, "", "lock", "-ttl=300ms", "k", "sh", "-c", `touch "$0"; exec sleep 60`, started)
	}()
	eventually(t, "the command runs", func() bool { _, err := os.Stat(started); return err == nil })
	s.mu.Lock()
	s.expire(s.pair.Session)
	s.mu.Unlock()
	select {
	case r := <-done:
		if r.code != 1 || !strings.Contains(r.stderr, "was lost") {
			t.Errorf("%+v", r)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the command runs on without the lock")
	}
}

func TestWatchKey(t *testing.T) {
	s := newStore(t)
	server := agent(t, s.routes())
	cmd := process(t, []string{api.EnvAddress + "=" + server.URL}, "watch", "k")
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, "the first answer", func() bool { return strings.Contains(out.String(), "k is not there") })
	for i := range 3 {
		if r := run(t, "", "kv", "put", "k", fmt.Sprintf("value %d", i)); r.code != 0 {
			t.Fatal(r.stderr)
		}
		eventually(t, "the change", func() bool { return strings.Contains(out.String(), fmt.Sprintf(": value %d\n", i)) })
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C is no failure: %v: %s", err, out.String())
	}
}

func TestWatchRunsACommand(t *testing.T) {
	s := newStore(t)
	agent(t, s.routes())
	if r := run(t, "", "kv", "put", "k", "v1"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	r := run(t, "", "watch", "k", "sh", "-c", "cat; echo \" $PGRAFT_KEY $PGRAFT_VERSION\"; exit 3")
	if r.code != 3 || r.stdout != "v1 k 1\n" {
		t.Errorf("%+v", r)
	}
}

func TestEventsFollowAndMonitor(t *testing.T) {
	server := agent(t, map[string]any{
		"GET /v1/events": func(w http.ResponseWriter, r *http.Request) {
			if !r.URL.Query().Has("follow") {
				reply(t, w, events()[:1])
				return
			}
			if since := r.URL.Query().Get("since"); since != "1" {
				t.Errorf("followed from %s, want 1", since)
			}
			text, _ := json.Marshal(events()[1])
			fmt.Fprintf(w, ": hello\n\ndata: %s\n\n", text)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"GET /v1/agent/monitor": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "[DEBUG] level %s\n", r.URL.Query().Get("loglevel"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"events", "-follow"}, "pg4 joined"},
		{[]string{"events", "-follow", "-format=json"}, `"type":"join"`},
		{[]string{"monitor", "-log-level=debug"}, "level debug"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			cmd := process(t, []string{api.EnvAddress + "=" + server.URL}, tt.args...)
			out := &syncBuffer{}
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			eventually(t, "the stream's line", func() bool { return strings.Contains(out.String(), tt.want) })
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, out.String())
			}
		})
	}
}

func TestCompletionIsNotARun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	cmd := process(t, []string{"COMP_LINE=pgraft tls ca create "}, "pgraft", "tls", "ca", "create", "-dir="+filepath.Dir(file))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(left) > 0 {
		t.Errorf("completing ran the verb: %v", left)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
