package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pgSetting is one pgraft.* setting of postgresql.conf.
type pgSetting struct {
	name string
	doc  string
	// apply gives the values for the keys it stands for.
	apply func(text string) (map[string]any, error)
}

const (
	pgBatchSize  = "pgraft.batch_size"
	pgBatchDelay = "pgraft.max_batch_delay"
	pgSnapshots  = "pgraft.snapshot_interval"
	pgMaxLog     = "pgraft.max_log_entries"
	pgElection   = "pgraft.election_timeout"
	pgHeartbeat  = "pgraft.heartbeat_interval"
)

// heartbeatsPerTimeout is how often Raft's leader sends a heartbeat at most within the heartbeat timeout.
const heartbeatsPerTimeout = 10

func pgSettings() []pgSetting {
	return []pgSetting{
		{pgBatchSize, "`raft.batch_size`", oneNumber("raft.batch_size")},
		{pgBatchDelay, "`raft.max_batch_delay`, in milliseconds", oneDuration("raft.max_batch_delay")},
		{pgSnapshots, "`raft.snapshot_interval`, in milliseconds", oneDuration("raft.snapshot_interval")},
		{pgMaxLog, "`raft.trailing_logs` and `raft.snapshot_threshold`, in entries: so many are kept, and a snapshot is due when so many are new",
			func(text string) (map[string]any, error) {
				n, err := strconv.ParseUint(text, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("%q is not a number of entries", text)
				}
				return map[string]any{"raft.trailing_logs": n, "raft.snapshot_threshold": n}, nil
			}},
		{pgElection, "`raft.election_timeout`, in milliseconds, and `raft.heartbeat_timeout`: how long a node waits for a silent leader", func(text string) (map[string]any, error) {
			d, err := parsePGDuration(text)
			return map[string]any{"raft.election_timeout": d, "raft.heartbeat_timeout": d}, err
		}},
		{pgHeartbeat, "a tenth of `raft.heartbeat_timeout`, in milliseconds, since the leader sends up to ten heartbeats within that; no more than `pgraft.election_timeout` where both are set", func(text string) (map[string]any, error) {
			d, err := parsePGDuration(text)
			return map[string]any{"raft.heartbeat_timeout": d * heartbeatsPerTimeout}, err
		}},
	}
}

func oneNumber(path string) func(string) (map[string]any, error) {
	return func(text string) (map[string]any, error) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return map[string]any{path: n}, nil
	}
}

func oneDuration(path string) func(string) (map[string]any, error) {
	return func(text string) (map[string]any, error) {
		d, err := parsePGDuration(text)
		return map[string]any{path: d}, err
	}
}

// parsePGDuration reads a time as PostgreSQL does: a number without a unit is milliseconds.
func parsePGDuration(text string) (time.Duration, error) {
	number := strings.TrimRight(text, " abcdefghijklmnopqrstuvwxyz")
	units := map[string]time.Duration{
		"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}
	unit, known := units[strings.TrimSpace(text[len(number):])]
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	d := n * float64(unit)
	if err != nil || !known || !(d >= 0 && d < float64(1<<62)) {
		return 0, fmt.Errorf(`%q is not a time: write milliseconds, or a number with one of the units us, ms, s, min, h, d`, text)
	}
	return time.Duration(d), nil
}

// ApplyPostgresDefaults takes the pgraft.* settings of the PostgreSQL beside the agent, by name, as defaults for keys
// that neither a file nor a flag has set. It applies all of them or, where one is wrong or contradicts what is set,
// none, and then the error is an *Error that names each. Settings of pgraft.* that it doesn't know are in the warnings.
// Call it before the Config is shared.
func (c *Config) ApplyPostgresDefaults(settings map[string]string) ([]Problem, error) {
	l := newLoader(c.clone(), c.sources)
	known := map[string]bool{}
	for _, s := range pgSettings() {
		known[s.name] = true
		if text, ok := settings[s.name]; ok {
			l.applyPGSetting(s, strings.TrimSpace(text))
		}
	}
	l.capHeartbeat()
	l.checkTimers()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if strings.HasPrefix(name, "pgraft.") && !known[name] {
			l.warnings = append(l.warnings, Problem{Source: Source{Conf: name}, Message: "pgraft does not read this setting"})
		}
	}
	if len(l.problems) > 0 {
		return l.warnings, &Error{Problems: l.problems}
	}
	*c = *l.c
	return l.warnings, nil
}

// applyPGSetting sets the keys that a setting stands for where only an earlier setting, or nothing, has set them.
func (l *loader) applyPGSetting(s pgSetting, text string) {
	src := Source{Conf: s.name}
	values, err := s.apply(text)
	if err != nil {
		l.problems = append(l.problems, Problem{Source: src, Message: err.Error()})
		return
	}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		if old, set := l.c.sources[path]; set && old.Conf == "" {
			continue
		}
		k := l.keys.byPath[path]
		if err := k.check(values[path]); err != nil {
			l.problems = append(l.problems, Problem{Source: src, Path: path, Message: err.Error()})
			continue
		}
		k.set(l.c, values[path])
		l.c.sources[path] = src
	}
}

// capHeartbeat resolves the one contradiction that two sound settings of postgresql.conf can give: ten heartbeats that
// last longer than the election timeout.
func (l *loader) capHeartbeat() {
	r := &l.c.Raft
	if l.c.sources["raft.heartbeat_timeout"].Conf == pgHeartbeat && r.ElectionTimeout > 0 {
		r.HeartbeatTimeout = min(r.HeartbeatTimeout, r.ElectionTimeout)
	}
}
