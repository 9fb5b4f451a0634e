package logstream_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/agent/logstream"
)

func TestFollow(t *testing.T) {
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Error})
	ctx, cancel := context.WithCancel(t.Context())
	lines := logstream.Follow(ctx, logger, hclog.Debug, false)

	logger.Named("raft").Debug("below the agent's own level", "term", 7)
	if line := string(<-lines); !strings.Contains(line, "raft: below the agent's own level: term=7") {
		t.Errorf("got %q", line)
	}
	logger.Trace("below the follower's level")
	logger.Info("after it")
	if line := string(<-lines); !strings.Contains(line, "after it") {
		t.Errorf("got %q", line)
	}
	cancel()
	if line, open := <-lines; open {
		t.Errorf("got %q after the context ended", line)
	}
	logger.Info("nobody follows")
}

func TestFollowSlow(t *testing.T) {
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Error})
	lines := logstream.Follow(t.Context(), logger, hclog.Info, true)
	for range 600 {
		logger.Info("flood")
	}
	for range 512 {
		<-lines
	}
	logger.Info("last")
	if line := string(<-lines); !strings.Contains(line, "88 log lines were dropped") {
		t.Errorf("got %q, want a count of the dropped lines", line)
	}
	if line := string(<-lines); !strings.Contains(line, `"last"`) {
		t.Errorf("got %q, want the last line", line)
	}
}
