package api

import (
	"context"
	"errors"
	"sync"
	"time"
)

// LockOptions says which lock to take and how.
type LockOptions struct {
	Key   string
	Value []byte // written to the key while the lock is held, and left there
	// SessionTTL is how long the lock outlives a holder that vanished; default 15 s.
	SessionTTL time.Duration
	// SessionName helps an operator to see who holds the lock.
	SessionName string
	// LockDelay, a Go duration, is how long nobody gets the lock after its holder was lost; "" is the cluster's default.
	LockDelay string
	// Behavior is what becomes of the key when the session ends: release (default) or delete.
	Behavior string
}

// Lock is a lock that is held. Two goroutines, which Unlock ends, renew its session and watch the key.
type Lock struct {
	Key     string
	Session string

	client *Client
	value  []byte
	ttl    time.Duration
	cancel context.CancelFunc
	wg     sync.WaitGroup
	lost   chan struct{}
	once   sync.Once // closes lost
}

const (
	defaultLockTTL = 15 * time.Second
	// lockDelayPoll is how often to ask again for a lock that nobody holds and that is still refused: its lock delay
	// runs, and nothing changes in the store when it ends.
	lockDelayPoll = time.Second
	cleanupWait   = 5 * time.Second
)

// Lock takes the lock on a key and waits for as long as another holds it, or until ctx ends.
func (c *Client) Lock(ctx context.Context, opts LockOptions) (*Lock, error) {
	if opts.Key == "" {
		return nil, errors.New("take lock: no key given")
	}
	ttl := opts.SessionTTL
	if ttl <= 0 {
		ttl = defaultLockTTL
	}
	session, err := c.SessionCreate(ctx, Session{
		Name: opts.SessionName, TTL: ttl.String(), LockDelay: opts.LockDelay, Behavior: opts.Behavior,
	}, WriteOptions{Retry: true})
	if err != nil {
		return nil, err
	}
	lock := &Lock{
		Key: opts.Key, Session: session.ID, client: c, value: opts.Value, ttl: ttl, lost: make(chan struct{}),
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	lock.cancel = cancel
	lock.wg.Go(func() { lock.runRenew(background) })
	if err := lock.acquire(ctx); err != nil {
		lock.stop()
		lock.destroySession()
		return nil, err
	}
	lock.wg.Go(func() { lock.watchHeld(background) })
	return lock, nil
}

// Lost is closed when the lock is no longer certainly held: its session ended, another holds the key, or no agent
// confirmed the session for as long as its TTL. What the lock protects must stop then.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Unlock gives the lock back and ends its session. The lock is free for others at once.
func (l *Lock) Unlock(ctx context.Context) error {
	l.stop()
	_, err := l.client.KVPut(ctx, l.Key, l.value, KVPutOptions{
		WriteOptions: WriteOptions{Retry: true}, Release: l.Session,
	})
	_, destroyErr := l.client.SessionDestroy(ctx, l.Session, WriteOptions{Retry: true})
	if err != nil {
		return err
	}
	return destroyErr
}

func (l *Lock) stop() {
	l.cancel()
	l.wg.Wait()
}

// destroySession is for a lock that was never had; the session's TTL ends it if this can't.
func (l *Lock) destroySession() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupWait)
	defer cancel()
	_, _ = l.client.SessionDestroy(ctx, l.Session, WriteOptions{})
}

func (l *Lock) acquire(ctx context.Context) error {
	for {
		_, err := l.client.KVPut(ctx, l.Key, l.value, KVPutOptions{
			WriteOptions: WriteOptions{Retry: true}, Acquire: l.Session,
		})
		if !IsCode(err, CodeConflict) {
			return err
		}
		if err := l.waitFree(ctx); err != nil {
			return err
		}
	}
}

// waitFree returns when another try to acquire has a chance.
func (l *Lock) waitFree(ctx context.Context) error {
	pair, meta, err := l.client.KVGet(ctx, l.Key, QueryOptions{})
	if err == nil && pair != nil && pair.Session != "" {
		_, _, err = l.client.KVGet(ctx, l.Key, QueryOptions{Index: meta.Index, Wait: time.Minute})
		if err == nil {
			return nil
		}
	}
	select {
	case <-l.lost:
		return &Error{Code: CodeNotFound, Message: "the session ended while it waited for the lock"}
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(lockDelayPoll):
		return nil
	}
}

func (l *Lock) lose() { l.once.Do(func() { close(l.lost) }) }

// runRenew keeps the session alive. The time of a renewal counts from when it was sent, so that this side gives the
// lock up before the cluster does.
func (l *Lock) runRenew(ctx context.Context) {
	ticker := time.NewTicker(max(l.ttl/3, time.Millisecond))
	defer ticker.Stop()
	confirmed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		sent := time.Now()
		err := l.renew(ctx, confirmed.Add(l.ttl))
		if err == nil {
			confirmed = sent
			continue
		}
		if ctx.Err() == nil && (isNotFound(err) || time.Since(confirmed) >= l.ttl) {
			l.lose()
			return
		}
	}
}

func (l *Lock) renew(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	wait := retryFirst
	for {
		_, err := l.client.SessionRenew(ctx, l.Session)
		if err == nil || isNotFound(err) || !pause(ctx, &wait) {
			return err
		}
	}
}

func (l *Lock) watchHeld(ctx context.Context) {
	errTaken := errors.New("another session holds the key")
	err := l.client.Watch(ctx, QueryOptions{Wait: time.Minute}, func(ctx context.Context, o QueryOptions) (QueryMeta, error) {
		pair, meta, err := l.client.KVGet(ctx, l.Key, o)
		if err == nil && (pair == nil || pair.Session != l.Session) {
			return meta, errTaken
		}
		return meta, err
	})
	if errors.Is(err, errTaken) {
		l.lose()
	}
}
