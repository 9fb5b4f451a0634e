package api

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// WriteOptions says how a write is done. Its zero value sends it once.
type WriteOptions struct {
	// Retry repeats the write until it has an answer or the context ends: after a refused or broken connection, after
	// "no leader", and after an answer in doubt. A request id makes sure that it is applied once all the same.
	Retry bool
	// RequestID is sent as it is when set, as Error.RequestID of an earlier try told it. Its id must be new otherwise.
	RequestID string
}

// Backoff between the tries of one write.
const (
	retryFirst = 20 * time.Millisecond
	retryMost  = time.Second
)

// write sends a replicated write and decodes its answer.
func (c *Client) write(ctx context.Context, k call, opts WriteOptions, out any) error {
	var err error
	if opts.Retry {
		err = c.writeRetry(ctx, k, opts, out)
	} else {
		err = c.writeOnce(ctx, k, opts.RequestID, out)
	}
	if err == nil {
		c.noteIndex(out)
	}
	return err
}

func (c *Client) writeOnce(ctx context.Context, k call, requestID string, out any) error {
	if requestID != "" {
		k.header = withHeader(k.header, HeaderRequestID, requestID)
	}
	resp, err := c.send(ctx, k)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.InDoubt() && e.RequestID == "" {
			e.RequestID = requestID
		}
		return err
	}
	defer closeBody(resp.Body)
	if err := decodeBody(resp, out); err != nil {
		return &Error{Message: err.Error(), Code: CodeInDoubt, RequestID: requestID, cause: err}
	}
	return nil
}

func (c *Client) writeRetry(ctx context.Context, k call, opts WriteOptions, out any) error {
	id := opts.RequestID
	if id == "" {
		id = c.newRequestID(ctx)
	}
	doubt := false // some try of this id may have been applied
	wait := retryFirst
	for {
		err := c.writeOnce(ctx, k, id, out)
		if err == nil {
			return nil
		}
		var e *Error
		if !errors.As(err, &e) {
			return err
		}
		if e.Code == CodeRetryExpired && !doubt && opts.RequestID == "" {
			// The first try of a fresh id can't be a late repeat: its base was too old. Ask for a newer one.
			c.seen.Store(0)
			id = c.newRequestID(ctx)
		} else if !retryable(e) {
			return err
		}
		doubt = doubt || e.Code == CodeInDoubt
		if !pause(ctx, &wait) {
			return lastError(e, doubt, id)
		}
	}
}

func retryable(e *Error) bool {
	switch e.Code {
	case CodeNoLeader, CodeNotLeader, CodeUnavailable, CodeInDoubt, CodeTimeout, CodeTooMany:
		return true
	}
	return false
}

// lastError keeps the doubt of an earlier try: that the last one was refused says nothing about the others.
func lastError(e *Error, doubt bool, id string) error {
	if !doubt || e.InDoubt() {
		return e
	}
	return &Error{
		StatusCode: http.StatusGatewayTimeout,
		Code:       CodeInDoubt,
		Message:    "no answer in time; the last try ended with: " + e.Message,
		Hint:       "an earlier try may have been applied: try again with the same request id",
		RequestID:  id,
		cause:      e,
	}
}

// pause waits a jittered while that doubles from call to call, and reports whether the context lives.
func pause(ctx context.Context, wait *time.Duration) bool {
	timer := time.NewTimer(*wait/2 + mathrand.N(*wait))
	defer timer.Stop()
	*wait = min(*wait*2, retryMost)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// newRequestID gives an id with the newest committed index that the client knows of, so that the cluster can tell a
// repeat which comes too late from a new request.
func (c *Client) newRequestID(ctx context.Context) string {
	base := c.seen.Load()
	if base == 0 {
		if stats, _, err := c.KVStats(ctx, QueryOptions{}); err == nil {
			base = stats.Index
			c.raiseSeen(base)
		}
	}
	if base == 0 {
		return rand.Text()
	}
	return rand.Text() + ";base=" + strconv.FormatUint(base, 10)
}

func (c *Client) noteIndex(out any) {
	switch r := out.(type) {
	case *WriteResult:
		c.raiseSeen(r.Index)
	case *TxnResponse:
		c.raiseSeen(r.Index)
	}
}

func (c *Client) raiseSeen(index uint64) {
	for {
		old := c.seen.Load()
		if index <= old || c.seen.CompareAndSwap(old, index) {
			return
		}
	}
}

func withHeader(h http.Header, name, value string) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	out.Set(name, value)
	return out
}
