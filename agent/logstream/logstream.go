// Package logstream lets clients follow an agent's log while it is written, at a level of their own choice. Each
// follower has a bounded buffer: a slow one loses lines and is told how many, and never holds up the agent. The package
// owns no goroutine; Follow's registration ends with its context.
package logstream

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// bufferLines is how many lines a follower may be behind.
const bufferLines = 512

// Follow returns the log's lines from now on, until ctx ends; then the channel is closed. Lines end with a newline.
func Follow(ctx context.Context, logger hclog.InterceptLogger, level hclog.Level, json bool) <-chan []byte {
	w := &writer{lines: make(chan []byte, bufferLines)}
	sink := hclog.NewSinkAdapter(&hclog.LoggerOptions{Output: w, Level: level, JSONFormat: json, Mutex: &sync.Mutex{}})
	logger.RegisterSink(sink)
	context.AfterFunc(ctx, func() {
		logger.DeregisterSink(sink)
		w.close()
	})
	return w.lines
}

// writer turns the sink's writes, one for each line, into messages.
type writer struct {
	lines chan []byte

	mu      sync.Mutex // guards dropped and closed, and that nothing is sent after close
	dropped int
	closed  bool
}

// Write never blocks and never fails, since it runs where the agent logs.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(p), nil
	}
	if w.dropped > 0 && !w.send(fmt.Appendf(nil, "%d log lines were dropped: this follower is too slow\n", w.dropped)) {
		w.dropped++
		return len(p), nil
	}
	w.dropped = 0
	if !w.send(append([]byte(nil), p...)) {
		w.dropped++
	}
	return len(p), nil
}

func (w *writer) send(line []byte) bool {
	select {
	case w.lines <- line:
		return true
	default:
		return false
	}
}

func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	close(w.lines)
}
