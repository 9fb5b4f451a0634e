package command

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// fakeAgent stops when it is told to, unless it hangs.
type fakeAgent struct {
	hang    bool
	fail    error
	reloads chan struct{}
}

func (f *fakeAgent) Run(ctx context.Context) error {
	if f.fail != nil {
		return f.fail
	}
	<-ctx.Done()
	if f.hang {
		select {}
	}
	return nil
}

func (f *fakeAgent) Reload() error {
	f.reloads <- struct{}{}
	return errors.New("refused")
}

func TestSupervise(t *testing.T) {
	failed := errors.New("port in use")
	tests := []struct {
		name    string
		agent   *fakeAgent
		signals []os.Signal
		reloads int
		check   func(error) bool
	}{
		{"SIGTERM stops", &fakeAgent{}, []os.Signal{syscall.SIGTERM}, 0, func(err error) bool { return err == nil }},
		{"Ctrl-C stops", &fakeAgent{}, []os.Signal{os.Interrupt}, 0, func(err error) bool { return err == nil }},
		{"SIGHUP reloads and goes on", &fakeAgent{}, []os.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM}, 2,
			func(err error) bool { return err == nil }},
		{"second signal ends a hanging stop", &fakeAgent{hang: true}, []os.Signal{syscall.SIGTERM, os.Interrupt}, 0, func(err error) bool {
			var exit *exitError
			return errors.As(err, &exit) && exit.code == exitFailed
		}},
		{"the agent's own end", &fakeAgent{fail: failed}, nil, 0, func(err error) bool { return errors.Is(err, failed) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.agent.reloads = make(chan struct{}, 8)
			signals := make(chan os.Signal, 4)
			for _, s := range tt.signals {
				signals <- s
			}
			ended := make(chan error, 1)
			go func() { ended <- supervise(context.Background(), tt.agent, hclog.NewNullLogger(), signals) }()
			select {
			case err := <-ended:
				if !tt.check(err) || len(tt.agent.reloads) != tt.reloads {
					t.Errorf("got %v after %d reloads", err, len(tt.agent.reloads))
				}
			case <-time.After(20 * time.Second):
				t.Fatal("goes on for ever")
			}
		})
	}
}
