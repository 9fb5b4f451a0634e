package membership

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// quietFor is how long a line of one kind is held back after it was logged.
const quietFor = 30 * time.Second

// limiter lets one message of a kind through per interval and counts the others.
type limiter struct {
	every time.Duration

	mu   sync.Mutex // guards seen
	seen map[string]*limited
}

type limited struct {
	last    time.Time
	dropped int
}

const maxLimited = 1024

func newLimiter(every time.Duration) *limiter {
	return &limiter{every: every, seen: map[string]*limited{}}
}

// allow reports whether a message of the kind may go out now, and how many were held back before it.
func (l *limiter) allow(kind string, now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seen[kind]
	if s == nil {
		if len(l.seen) >= maxLimited {
			clear(l.seen) // kinds can hold what strangers sent: better to repeat a line than to grow
		}
		l.seen[kind] = &limited{last: now}
		return 0, true
	}
	if now.Sub(s.last) < l.every {
		s.dropped++
		return 0, false
	}
	dropped = s.dropped
	s.last, s.dropped = now, 0
	return dropped, true
}

// lineRule says what becomes of memberlist's lines that contain text.
type lineRule struct {
	text  string
	level hclog.Level
	cut   string // drop the line from here on
}

// lineRules put memberlist's lines where they belong. What this package reports itself, with its reason, goes to
// debug; what another node's failure makes memberlist complain about does as well, since that is an event here.
var lineRules = [...]lineRule{
	{text: "Stream connection", level: hclog.Trace},
	{text: "Initiating push/pull", level: hclog.Trace},
	{text: "Refuting an alive message", level: hclog.Debug, cut: " meta:("},
	{text: "Refuting", level: hclog.Debug},
	{text: "Conflicting address", level: hclog.Debug},
	{text: "ignoring alive message", level: hclog.Debug},
	{text: "Updating address for left or failed node", level: hclog.Debug},
	{text: "Suspect ", level: hclog.Debug},
	{text: "Marking ", level: hclog.Debug},
	{text: "Failed fallback", level: hclog.Debug},
	{text: "Failed to send", level: hclog.Debug},
	{text: "Push/Pull with", level: hclog.Debug},
	{text: "Got ping for unexpected node", level: hclog.Debug},
	{text: "no installed keys could decrypt", level: hclog.Warn},
	{text: "encryption is", level: hclog.Warn},
	{text: "unacceptable label", level: hclog.Warn},
	{text: "over TCP but UDP probes failed", level: hclog.Warn},
}

// logWriter takes the lines of memberlist's logger to hclog.
type logWriter struct {
	log   hclog.Logger
	limit *limiter
}

var _ io.Writer = (*logWriter)(nil)

// Write logs one line.
func (w *logWriter) Write(line []byte) (int, error) {
	level, kind, text := classifyLine(string(bytes.TrimSpace(line)))
	if level < hclog.Warn {
		w.log.Log(level, text)
		return len(line), nil
	}
	dropped, ok := w.limit.allow(kind, time.Now())
	switch {
	case !ok:
		w.log.Trace(text)
	case dropped > 0:
		w.log.Log(level, text, "held_back", dropped)
	default:
		w.log.Log(level, text)
	}
	return len(line), nil
}

// classifyLine takes a line of memberlist apart. Lines of one kind differ only in names and addresses.
func classifyLine(line string) (level hclog.Level, kind, text string) {
	level, text = hclog.Info, line
	if tag, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(tag, "[") {
		level, text = lineLevel(tag[1:]), rest
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	if strings.HasPrefix(text, "Err: ") {
		level = hclog.Error
	}
	for _, r := range lineRules {
		if strings.Contains(text, r.text) {
			if r.cut != "" {
				text, _, _ = strings.Cut(text, r.cut)
			}
			return r.level, r.text, text
		}
	}
	if parseRefusal(text) != nil {
		return hclog.Debug, "refusal", text
	}
	kind, _, _ = strings.Cut(text, ":")
	return level, strings.TrimRight(kind, "0123456789 "), text
}

func lineLevel(tag string) hclog.Level {
	switch tag {
	case "DEBUG":
		return hclog.Debug
	case "WARN":
		return hclog.Warn
	case "ERR", "ERROR":
		return hclog.Error
	}
	return hclog.Info
}
