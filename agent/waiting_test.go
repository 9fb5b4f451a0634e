package agent

import (
	"testing"

	"github.com/pgraft/pgraft/api"
)

func TestLastWait(t *testing.T) {
	t.Parallel()
	event := func(kind, message string) api.Event { return api.Event{Type: kind, Message: message} }
	for name, tt := range map[string]struct {
		events []api.Event
		want   string
	}{
		"nothing":       {nil, ""},
		"refused":       {[]api.Event{event("refuse", "two clusters"), event("join", "b")}, "two clusters"},
		"gone on since": {[]api.Event{event("wait", "for c"), event("promote", "b")}, ""},
		"the latest":    {[]api.Event{event("fence", "a"), event("wait", "for c"), event("report", "b"), event("wait", "for d")}, "for d"},
	} {
		if got := lastWait(tt.events); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
