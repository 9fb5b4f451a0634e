package httpapi_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func isLost(l *api.Lock) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

func waitLost(t *testing.T, l *api.Lock) {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("the lock doesn't count as lost after 10 s")
	}
}

// The second waits while the first holds, and gets the lock as soon as it is given back.
func TestLockIsHandedOver(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	first, err := c.Lock(ctx, api.LockOptions{Key: "lock", Value: []byte("first"), SessionName: "test"})
	noError(t, err)
	second := make(chan *api.Lock, 1)
	go func() {
		l, err := c.Lock(ctx, api.LockOptions{Key: "lock", Value: []byte("second")})
		if err != nil {
			t.Error(err)
		}
		second <- l
	}()
	select {
	case <-second:
		t.Fatal("two hold the lock")
	case <-time.After(100 * time.Millisecond):
	}
	noError(t, first.Unlock(ctx))
	l := <-second
	_, pair := s.fsm.Store().KVGet(nil, "lock")
	if pair.Session != l.Session || string(pair.Value) != "second" || isLost(l) {
		t.Fatalf("pair %+v, session %s", pair, l.Session)
	}
	noError(t, l.Unlock(ctx))
	if _, sessions := s.fsm.Store().SessionList(nil); len(sessions) != 0 {
		t.Fatalf("sessions left: %+v", sessions)
	}
}

func TestLockIsLostWithItsSession(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	lock, err := c.Lock(ctx, api.LockOptions{Key: "lock", LockDelay: "0s"})
	noError(t, err)
	_, err = s.Propose(ctx, fsm.SessionDestroy{ID: lock.Session, Expired: true})
	noError(t, err)
	waitLost(t, lock)
	if err := lock.Unlock(ctx); !api.IsCode(err, api.CodeConflict) {
		t.Fatalf("unlock of a lost lock: %v", err)
	}
}

// A holder that nobody confirms gives up before its session can have ended elsewhere.
func TestLockIsLostWhenNobodyRenewsIt(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	start := time.Now()
	lock, err := c.Lock(ctx, api.LockOptions{Key: "lock", SessionTTL: time.Second})
	noError(t, err)
	s.set(func(b *backend) { b.orderErr = &api.Error{Code: api.CodeUnavailable, Message: "no"} })
	waitLost(t, lock)
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Fatalf("lost after %v: one failed renewal is no loss", took)
	}
	s.set(func(b *backend) { b.orderErr = nil })
	noError(t, lock.Unlock(ctx))
}

func TestLockGivesUpWithItsContext(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	held, err := c.Lock(ctx, api.LockOptions{Key: "lock"})
	noError(t, err)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := c.Lock(short, api.LockOptions{Key: "lock"}); err == nil {
		t.Fatal("took a lock that is held")
	}
	if _, sessions := s.fsm.Store().SessionList(nil); len(sessions) != 1 {
		t.Fatalf("%d sessions, want the holder's", len(sessions))
	}
	noError(t, held.Unlock(ctx))
	if _, err := c.Lock(ctx, api.LockOptions{}); err == nil {
		t.Fatal("a lock without a key")
	}
}

func TestWatchKeyAndPrefix(t *testing.T) {
	s := newServer(t)
	c, ctx := s.newClient(), testContext(t)
	enough := errors.New("enough")
	var seen []string
	err := c.WatchKey(ctx, "k", api.QueryOptions{Wait: 10 * time.Second}, func(pair *api.KVPair) error {
		if pair == nil {
			seen = append(seen, "-")
		} else {
			seen = append(seen, string(pair.Value))
		}
		switch len(seen) {
		case 1:
			s.must("PUT", "/v1/kv/k", "1")
		case 2:
			s.must("PUT", "/v1/kv/k", "2")
		case 3:
			s.must("DELETE", "/v1/kv/k", "")
		default:
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || len(seen) != 4 || seen[1] != "1" || seen[2] != "2" || seen[3] != "-" {
		t.Fatalf("%v after %q", err, seen)
	}
	counts := []int{}
	err = c.WatchPrefix(ctx, "p/", api.QueryOptions{}, func(pairs []api.KVPair) error {
		counts = append(counts, len(pairs))
		if len(counts) == 3 {
			return &api.Error{Code: api.CodeNoLeader, Message: "the callback's own"} // not the read's: ends the watch
		}
		s.must("PUT", "/v1/kv/p/"+string(rune('a'+len(counts))), "x")
		return nil
	})
	if !api.IsCode(err, api.CodeNoLeader) || counts[0] != 0 || counts[2] != 2 {
		t.Fatalf("%v after %v", err, counts)
	}
}
