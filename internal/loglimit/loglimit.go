// Package loglimit keeps lines that a library repeats, many times a second and about the same peer, from filling a log:
// the first is shown, and one in each period from then on. It owns no goroutine.
package loglimit

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limiter decides which lines are shown. It may be used from any goroutine.
type Limiter struct {
	period   time.Duration
	messages map[string]string // message → the argument that tells its lines apart, "" = none
	now      func() time.Time

	mu    sync.Mutex // guards shown
	shown map[string]time.Time
}

// New returns a limiter for the given messages. Each comes with the name of the argument that tells apart what it is
// about, such as the peer.
func New(period time.Duration, messages map[string]string, now func() time.Time) *Limiter {
	return &Limiter{period: period, messages: messages, now: now, shown: make(map[string]time.Time)}
}

// maxShown bounds the memory that a flood of different subjects can take.
const maxShown = 1024

// Exclude is an hclog.LoggerOptions.Exclude: true keeps the line out.
func (l *Limiter) Exclude(_ hclog.Level, message string, args ...any) bool {
	subject, limited := l.messages[message]
	if !limited {
		return false
	}
	key := message + argument(args, subject)
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.shown[key]; ok && now.Sub(last) < l.period {
		return true
	}
	if len(l.shown) >= maxShown {
		clear(l.shown)
	}
	l.shown[key] = now
	return false
}

func argument(args []any, name string) string {
	for i := 0; i+1 < len(args) && name != ""; i += 2 {
		if args[i] == name {
			return fmt.Sprint(args[i+1])
		}
	}
	return ""
}
