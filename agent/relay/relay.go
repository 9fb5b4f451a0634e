package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pgraft/pgraft/api"
)

const (
	// patience is how long a request is sent again and again. Leadership that is handed over stands still for some tens
	// of milliseconds; who was elected needs a moment until it knows that it leads.
	patience = 2 * time.Second
	// pause is between two tries.
	pause = 50 * time.Millisecond
	// maxReplay bounds the bodies that are kept for another try. Orders are small; a snapshot goes on its way once.
	maxReplay = 64 << 10
)

// ErrNoLeader means that nobody leads, as far as is known here. Nothing was sent.
var ErrNoLeader = errors.New("the cluster has no leader")

// Config says who leads and how to reach it.
type Config struct {
	// Leader returns the leader's server id, "" while none is known.
	Leader func() string
	// Self is this agent's own server id.
	Self string
	// Local returns what answers when this agent leads: its own port would refuse a connection from itself.
	Local func() http.Handler
	// Peer returns the way to another server.
	Peer func(serverID string) http.RoundTripper
}

// Transport is an http.RoundTripper to the leader, whatever host a request names. Any goroutine may use it.
type Transport struct{ cfg Config }

// New returns the way to the leader.
func New(cfg Config) *Transport { return &Transport{cfg: cfg} }

// RoundTrip implements http.RoundTripper. It returns ErrNoLeader when nobody led from the beginning.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	replay, err := keepBody(req)
	if err != nil {
		return nil, err
	}
	resp, err := t.send(req, replay)
	if err != nil || replay == nil {
		return resp, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), patience)
	defer cancel()
	for refused(resp) && wait(ctx) {
		again, err := t.send(req, replay)
		switch {
		case errors.Is(err, ErrNoLeader):
			continue
		case err != nil:
			return nil, err
		}
		resp = again
	}
	return resp, nil
}

// send asks whoever leads now.
func (t *Transport) send(req *http.Request, replay func() io.ReadCloser) (*http.Response, error) {
	leader := t.cfg.Leader()
	if leader == "" {
		return nil, ErrNoLeader
	}
	if replay != nil {
		req = req.Clone(req.Context())
		req.Body = replay()
	}
	if leader == t.cfg.Self {
		return answerLocally(t.cfg.Local(), req), nil
	}
	return t.cfg.Peer(leader).RoundTrip(req)
}

// keepBody returns what gives the request's body once more for each call, nil for a body that is too large for that.
func keepBody(req *http.Request) (func() io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return func() io.ReadCloser { return http.NoBody }, nil
	}
	if req.ContentLength < 0 || req.ContentLength > maxReplay {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }, nil
}

// refused reports whether the answer says that the one who was asked does not lead. The answer can be read as before.
func refused(resp *http.Response) bool {
	if resp.StatusCode != http.StatusServiceUnavailable {
		return false
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReplay))
	rest := resp.Body
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(raw), rest), rest}
	var e api.Error
	return err == nil && json.Unmarshal(raw, &e) == nil && e.Code == api.CodeNotLeader
}

type readCloser struct {
	io.Reader
	io.Closer
}

// wait lets some time pass, and reports whether there is time for another try.
func wait(ctx context.Context) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
