package api

import (
	"context"
	"errors"
)

// Watch calls read over and over, each time with the index of the last answer, so that it blocks until something may
// have changed. It returns when ctx ends (nil) or read fails for good. read tells what it found to whom it concerns;
// it may find the same thing twice. Refusals and broken connections are tried again after a pause.
func (c *Client) Watch(ctx context.Context, opts QueryOptions, read func(context.Context, QueryOptions) (QueryMeta, error)) error {
	wait := retryFirst
	for ctx.Err() == nil {
		meta, err := read(ctx, opts)
		if err != nil {
			if err := watchError(ctx, err); err != nil {
				return err
			}
			if !pause(ctx, &wait) {
				return nil
			}
			continue
		}
		wait = retryFirst
		opts.Index = nextIndex(opts.Index, meta.Index)
		if opts.Index == 0 && !pause(ctx, &wait) {
			return nil
		}
	}
	return nil
}

// nextIndex is the rule for blocking reads: an index that goes backwards means another history (a restore, another
// node), so start over; index 0 never comes from an agent and must not make a busy loop.
func nextIndex(asked, got uint64) uint64 {
	if got < asked {
		return 0
	}
	return got
}

func watchError(ctx context.Context, err error) error {
	var ended *watchEnded
	if errors.As(err, &ended) {
		return ended.err
	}
	if ctx.Err() != nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) && retryable(e) {
		return nil
	}
	return err
}

// WatchKey calls fn with the key's pair, nil when there is none, at first and after each change.
func (c *Client) WatchKey(ctx context.Context, key string, opts QueryOptions, fn func(*KVPair) error) error {
	first, last := true, uint64(0)
	return c.Watch(ctx, opts, func(ctx context.Context, o QueryOptions) (QueryMeta, error) {
		pair, meta, err := c.KVGet(ctx, key, o)
		if err != nil {
			return meta, err
		}
		now := uint64(0)
		if pair != nil {
			now = pair.ModifyIndex
		}
		if !first && now == last {
			return meta, nil
		}
		first, last = false, now
		return meta, callbackError(fn(pair))
	})
}

// WatchPrefix calls fn with all pairs under prefix, at first and after each change.
func (c *Client) WatchPrefix(ctx context.Context, prefix string, opts QueryOptions, fn func([]KVPair) error) error {
	last := uint64(0)
	return c.Watch(ctx, opts, func(ctx context.Context, o QueryOptions) (QueryMeta, error) {
		pairs, meta, err := c.KVList(ctx, prefix, o)
		if err != nil || meta.Index == last {
			return meta, err
		}
		last = meta.Index
		return meta, callbackError(fn(pairs))
	})
}

// callbackError hides an *Error of the callback's own calls from Watch, which would take it for one of the read's.
func callbackError(err error) error {
	if err == nil {
		return nil
	}
	return &watchEnded{err}
}

type watchEnded struct{ err error }

func (w *watchEnded) Error() string { return w.err.Error() }
