package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// keepAlive is how often a quiet stream shows that it lives.
const keepAlive = 15 * time.Second

func (s *Server) getEvents(w http.ResponseWriter, r *request) error {
	if follow, err := followsEvents(r); follow || err != nil {
		if err != nil {
			return err
		}
		return s.streamEvents(w, r)
	}
	since, _, err := r.number("since")
	if err != nil {
		return err
	}
	limit, _, err := r.number("limit")
	if err != nil {
		return err
	}
	var events []api.Event
	err = s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, events = store.Events(ws, since, int(min(limit, math.MaxInt32)))
		return index, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, list(events))
}

// followsEvents reports whether the request is for a stream. The asked node gives it from its own memory: events come
// in order everywhere, so there is nothing for the leader to know better.
func followsEvents(r *request) (bool, error) {
	follow, err := r.flag("follow")
	if err != nil || !follow {
		return false, err
	}
	return true, r.exclusive("follow", "index", "stale", "consistent", "limit")
}

// streamEvents sends server-sent events until the client goes or the server closes.
func (s *Server) streamEvents(w http.ResponseWriter, r *request) error {
	since, err := eventsFrom(r)
	if err != nil {
		return err
	}
	leave, err := s.enterWait(w)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := s.untilClose(r.Context())
	defer cancel()
	stream := newStream(w, "text/event-stream")
	if err := stream.send([]byte(": events\n\n")); err != nil {
		return nil
	}
	for ctx.Err() == nil {
		if since, err = s.sendEvents(ctx, stream, since); err != nil {
			return nil // the client is gone
		}
	}
	return nil
}

// eventsFrom is where a stream starts: behind ?since, or where a browser says that its last one broke.
func eventsFrom(r *request) (uint64, error) {
	since, given, err := r.number("since")
	if err != nil || given {
		return since, err
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		return 0, nil
	}
	since, err = strconv.ParseUint(last, 10, 64)
	if err != nil {
		return 0, badRequest("header Last-Event-ID: want an event's index, not %q", last)
	}
	return since, nil
}

// sendEvents waits for events after since, sends them, and returns where to go on.
func (s *Server) sendEvents(ctx context.Context, stream *stream, since uint64) (uint64, error) {
	var events []api.Event
	var newest uint64
	err := s.cfg.FSM.Block(ctx, max(since, 1), keepAlive, func(ws memdb.WatchSet, store *fsm.Store) (uint64, error) {
		newest, events = store.Events(ws, since, 0)
		if len(events) > 0 {
			return math.MaxUint64, nil // the first event has index 1, which a wait from 1 would sit out
		}
		return newest, nil
	})
	if err != nil {
		return since, err
	}
	if len(events) == 0 {
		// After a restore history may be shorter than what was sent: go on from its end.
		return min(since, newest), stream.send([]byte(": still here\n\n"))
	}
	var buf []byte
	for _, event := range events {
		data, err := json.Marshal(event)
		if err != nil {
			return since, fmt.Errorf("encode event: %w", err)
		}
		buf = fmt.Appendf(buf, "id: %d\nevent: %s\ndata: %s\n\n", event.Index, oneLine(event.Type), data)
	}
	return events[len(events)-1].Index, stream.send(buf)
}

// oneLine keeps an event's type from breaking the stream's lines.
func oneLine(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c < ' ' {
			out[i] = ' '
		}
	}
	return string(out)
}
