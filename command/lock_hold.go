package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pgraft/pgraft/api"
)

// lockFlags marks the keys that are locks, so that no other key's value is overwritten by mistake.
const lockFlags = 0x70677261667401

// lock holds one key by a session that it renews. One goroutine per watchLoss; everything else is the caller's.
type lock struct {
	client      *api.Client
	key, holder string
	ttl         time.Duration

	session string
	index   uint64 // how many holders the lock has had: a fencing token
}

// acquire waits for the lock, for ever if wait is negative. While it waits the session is renewed.
func (l *lock) acquire(ctx context.Context, wait time.Duration) error {
	if err := l.openSession(ctx); err != nil {
		return err
	}
	if wait >= 0 {
		limit := wait
		if wait == 0 {
			limit = l.ttl // one try, but with time for an answer
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	err := l.tryUntil(ctx, wait == 0)
	if err != nil {
		if rerr := l.destroy(); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

func (l *lock) openSession(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	session, err := l.client.SessionCreate(ctx, api.Session{
		Name: l.holder, TTL: l.ttl.String(), LockDelay: l.ttl.String(), Behavior: "release",
	}, api.WriteOptions{})
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	l.session = session.ID
	return nil
}

// tryUntil tries at once and again after each change of the key, and at least as often as the session needs renewal.
func (l *lock) tryUntil(ctx context.Context, once bool) error {
	var seen uint64
	for {
		pair, meta, err := l.client.KVGet(ctx, l.key, api.QueryOptions{Index: seen, Wait: l.ttl / 3})
		if err != nil {
			return l.waited(ctx, err, pair)
		}
		if pair != nil && pair.Flags != lockFlags {
			return advise(fmt.Errorf("the key %s is no lock: it holds a value of its own", l.key), "Choose another key for the lock.")
		}
		got := false
		if pair == nil || pair.Session == "" {
			if got, err = l.try(ctx); got || err != nil {
				return err
			}
		}
		if once {
			return held(l.key, pair)
		}
		if seen = meta.Index; pair == nil || pair.Session == "" {
			// Free, but not for us: a lock delay runs. Its end changes nothing, so only time tells.
			seen = 0
			if !sleep(ctx, time.Second) {
				return l.waited(ctx, ctx.Err(), pair)
			}
		}
		if err := l.keepSession(ctx); err != nil {
			return l.waited(ctx, err, pair)
		}
	}
}

// keepSession renews the session, or opens a new one if this process was held up for longer than its TTL: while it
// waits, nothing hangs on the old one.
func (l *lock) keepSession(ctx context.Context) error {
	_, err := l.client.SessionRenew(ctx, l.session)
	if api.IsCode(err, api.CodeNotFound) {
		return l.openSession(ctx)
	}
	return err
}

// try asks for the lock. A conflict means that somebody was faster, or that a lock delay runs.
func (l *lock) try(ctx context.Context) (bool, error) {
	_, err := l.client.KVPut(ctx, l.key, l.info(), api.KVPutOptions{Acquire: l.session, Flags: lockFlags})
	if api.IsCode(err, api.CodeConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for the lock: %w", err)
	}
	pair, _, err := l.client.KVGet(ctx, l.key, api.QueryOptions{Consistent: true})
	if err != nil {
		return false, fmt.Errorf("read the lock: %w", err)
	}
	if pair == nil || pair.Session != l.session {
		return false, nil
	}
	l.index = pair.LockIndex
	return true, nil
}

func (l *lock) waited(ctx context.Context, err error, pair *api.KVPair) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return held(l.key, pair)
	}
	return fmt.Errorf("wait for the lock: %w", err)
}

func held(key string, pair *api.KVPair) error {
	var info lockInfo
	if pair == nil || json.Unmarshal(pair.Value, &info) != nil || pair.Session == "" {
		return advise(fmt.Errorf("the lock %s was not got in time", key), "Its last holder may have vanished: it is free when its -ttl has passed.")
	}
	return advise(fmt.Errorf("the lock %s is held by %s since %s", key, info.Holder, info.Since.Local().Format(time.DateTime)),
		"Wait longer with -wait, or for ever without it.")
}

// watchLoss renews the session and looks after the key until ctx ends; the channel gets why the lock is lost, if it is.
func (l *lock) watchLoss(ctx context.Context) <-chan error {
	lost := make(chan error, 1)
	go l.runRenewal(ctx, lost)
	return lost
}

func (l *lock) runRenewal(ctx context.Context, lost chan<- error) {
	renewed := time.Now()
	for sleep(ctx, l.ttl/3) {
		err := l.renew(ctx)
		switch {
		case err == nil:
			renewed = time.Now()
		case ctx.Err() != nil:
			return
		case answered(err) && (api.IsCode(err, api.CodeNotFound) || api.IsCode(err, api.CodeConflict)):
			lost <- err
			return
		case time.Since(renewed) > l.ttl*2/3:
			// By the time the next try could answer, another may hold the lock.
			lost <- err
			return
		}
	}
}

var errTaken = &api.Error{StatusCode: 409, Code: api.CodeConflict, Message: "somebody else holds it"}

func (l *lock) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	if _, err := l.client.SessionRenew(ctx, l.session); err != nil {
		return err
	}
	pair, _, err := l.client.KVGet(ctx, l.key, api.QueryOptions{})
	if err != nil {
		return err
	}
	if pair == nil || pair.Session != l.session {
		return errTaken
	}
	return nil
}

// release gives the lock back, and the session with it. The order matters: a session that ends while it holds a lock
// starts the lock delay.
func (l *lock) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.ttl)
	defer cancel()
	_, err := l.client.KVPut(ctx, l.key, l.info(), api.KVPutOptions{
		WriteOptions: api.WriteOptions{Retry: true}, Release: l.session, Flags: lockFlags,
	})
	return errors.Join(err, l.destroy())
}

func (l *lock) destroy() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.ttl)
	defer cancel()
	_, err := l.client.SessionDestroy(ctx, l.session, api.WriteOptions{})
	if api.IsCode(err, api.CodeNotFound) {
		return nil
	}
	return err
}

// sleep waits and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
