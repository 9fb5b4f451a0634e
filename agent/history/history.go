// Package history brings the events of one node into the cluster's history. It owns a queue and no goroutine but the
// caller's of Run. What it tells of first is the loss of a quorum, so that an event waits until there is one, however
// long that takes; events come in their order, and none comes twice.
package history

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
)

const (
	room = 256 // events that wait
	try  = 10 * time.Second
	// late is when an event says when it was, since the history's time for it is when the leader took it.
	late = 2 * time.Second
)

// Config says what a Writer works with. All fields are required but the last ones.
type Config struct {
	Propose func(context.Context, fsm.Op) error
	// Events returns those after an index that this node knows of, and the newest index.
	Events func(since uint64) (uint64, []api.Event)
	Rest   time.Duration // between tries; 0 = 1 s
	Logger hclog.Logger
}

// Writer is the queue.
type Writer struct {
	cfg   Config
	queue chan pending
}

// pending is an event that happened at a time.
type pending struct {
	op fsm.EventAppend
	at time.Time
}

// New returns a Writer that writes nothing until Run.
func New(cfg Config) *Writer {
	if cfg.Rest == 0 {
		cfg.Rest = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Writer{cfg: cfg, queue: make(chan pending, room)}
}

// Add queues an event. It never blocks.
func (w *Writer) Add(op fsm.EventAppend) {
	select {
	case w.queue <- pending{op, time.Now()}:
	default:
		w.cfg.Logger.Warn("event is missing in the history: too many wait", "type", op.Type, "message", op.Message)
	}
}

// Run works the queue off until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-w.queue:
			w.deliver(ctx, p)
		}
	}
}

// deliver tries until an event is in the history. One whose fate is in doubt is looked for before it is sent again.
func (w *Writer) deliver(ctx context.Context, p pending) {
	before, _ := w.cfg.Events(0)
	for ctx.Err() == nil {
		err := w.send(ctx, p)
		if err == nil {
			return
		}
		rejected, doubt := new(consensus.RejectedError), new(consensus.InDoubtError)
		if !errors.As(err, &rejected) && !errors.As(err, &doubt) {
			w.cfg.Logger.Warn("event is missing in the history", "type", p.op.Type, "message", p.op.Message, "error", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.cfg.Rest):
		}
		if w.has(before, p.op) {
			return
		}
	}
}

func (w *Writer) send(ctx context.Context, p pending) error {
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	op := p.op
	if time.Since(p.at) > late {
		data := map[string]string{"at": p.at.UTC().Format(time.RFC3339Nano)}
		maps.Copy(data, op.Data)
		op.Data = data
	}
	return w.cfg.Propose(ctx, op)
}

// has reports whether an event came into the history after an index.
func (w *Writer) has(since uint64, op fsm.EventAppend) bool {
	_, events := w.cfg.Events(since)
	for _, e := range events {
		if e.Type == op.Type && e.Node == op.Node && e.Message == op.Message {
			return true
		}
	}
	return false
}
