package history_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/history"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
)

// cluster answers proposals with what a test prepared, and with success after that.
type cluster struct {
	mu      sync.Mutex
	answers []answer
	events  []api.Event
	refused int
}

type answer struct {
	err     error
	applied bool
}

func (c *cluster) propose(_ context.Context, op fsm.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := answer{applied: true}
	if len(c.answers) > 0 {
		next, c.answers = c.answers[0], c.answers[1:]
	}
	if next.applied {
		e := op.(fsm.EventAppend)
		c.events = append(c.events, api.Event{Index: uint64(len(c.events) + 1), Type: e.Type, Node: e.Node, Message: e.Message, Data: e.Data})
	} else {
		c.refused++
	}
	return next.err
}

func (c *cluster) since(index uint64) (uint64, []api.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(len(c.events)), slices.Clone(c.events[min(index, uint64(len(c.events))):])
}

func TestWriter(t *testing.T) {
	rejected, doubt := &consensus.RejectedError{Code: api.CodeNoLeader}, &consensus.InDoubtError{Cause: context.DeadlineExceeded}
	for _, tc := range []struct {
		name    string
		answers []answer
		want    []string
		refused int
	}{
		{"at once", nil, []string{"a", "b"}, 0},
		{"no leader for a while", []answer{{rejected, false}, {rejected, false}, {rejected, false}}, []string{"a", "b"}, 3},
		{"in doubt and applied", []answer{{doubt, true}}, []string{"a", "b"}, 0},
		{"in doubt and lost", []answer{{doubt, false}}, []string{"a", "b"}, 1},
		{"refused for good", []answer{{&api.Error{Code: api.CodeTooLarge}, false}}, []string{"b"}, 1},
		{"broken", []answer{{errors.New("closed"), false}}, []string{"b"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &cluster{answers: tc.answers}
			w := history.New(history.Config{Propose: c.propose, Events: c.since, Rest: time.Millisecond})
			w.Add(fsm.EventAppend{Type: "read-only", Node: "n1", Message: "a"})
			w.Add(fsm.EventAppend{Type: "writable", Node: "n1", Message: "b"})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan struct{})
			go func() { defer close(done); w.Run(ctx) }()
			var got []string
			for deadline := time.Now().Add(10 * time.Second); len(got) < len(tc.want) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				got = nil
				_, events := c.since(0)
				for _, e := range events {
					got = append(got, e.Message)
				}
			}
			cancel()
			<-done
			if !slices.Equal(got, tc.want) || c.refused != tc.refused {
				t.Errorf("history %v with %d refusals, want %v with %d", got, c.refused, tc.want, tc.refused)
			}
		})
	}
}

// TestWriterNeverBlocks fills the queue of a writer that nobody runs.
func TestWriterNeverBlocks(t *testing.T) {
	w := history.New(history.Config{})
	for range 1000 {
		w.Add(fsm.EventAppend{Type: "x"})
	}
}
