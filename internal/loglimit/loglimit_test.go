package loglimit_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/internal/loglimit"
)

func TestLimiter(t *testing.T) {
	now := time.Unix(1000, 0)
	limiter := loglimit.New(30*time.Second, map[string]string{"no contact": "peer", "flood": ""}, func() time.Time { return now })
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, Exclude: limiter.Exclude}).Named("raft")
	for range 3 {
		log.Error("no contact", "peer", "a", "error", "refused")
		log.Error("no contact", "peer", "b", "error", "refused")
		log.Error("flood")
		log.Error("other")
		now = now.Add(time.Second)
	}
	now = now.Add(30 * time.Second)
	log.Error("no contact", "error", "refused again", "peer", "a")
	for text, want := range map[string]int{"peer=a": 2, "peer=b": 1, "flood": 1, "other": 3} {
		if got := strings.Count(out.String(), text); got != want {
			t.Errorf("%q is shown %d times, want %d:\n%s", text, got, want, &out)
		}
	}
}
