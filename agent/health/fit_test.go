package health_test

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/health"
	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
)

const ms = time.Millisecond

func TestUnfit(t *testing.T) {
	trips := func(pg2, pg3, replica time.Duration) []health.Trip {
		return []health.Trip{{Node: "pg2", Least: pg2, Count: 6}, {Node: "pg3", Least: pg3, Count: 6}, {Node: "replica", Least: replica, Count: 6}}
	}
	fast := health.Sync{Median: ms, Count: 5}
	profile := func(name string) health.Settings {
		timers, _ := config.ProfileTimers(name)
		return health.Settings{Profile: name, Heartbeat: timers.Heartbeat}
	}
	with := func(s health.Settings, change func(*health.Settings)) health.Settings { change(&s); return s }
	for _, tt := range []struct {
		name     string
		trips    []health.Trip
		sync     health.Sync
		settings health.Settings
		want     map[string]string // words of it
	}{
		{"Near", trips(ms, 2*ms, 3*ms), fast, profile("lan"), nil},
		{"NearAtTheBorder", trips(ms, 7*ms, ms), fast, profile("wan"), nil},
		{"NearWithTimersForFar", trips(ms, 2*ms, ms), fast, profile("local"), map[string]string{"gossip.profile": "to pg3 and back takes 2ms at best: lan would replace"}},
		{"OtherTown", trips(ms, 22*ms, ms), fast, profile("lan"), map[string]string{"gossip.profile": "22ms at best: wan is made for that"}},
		{"OtherTownFits", trips(ms, 22*ms, ms), fast, profile("wan"), nil},
		{"OtherContinent", trips(80*ms, 120*ms, ms), fast, profile("lan"),
			map[string]string{"gossip.profile": "120ms at best: local is made", "raft.heartbeat_timeout": "300ms is too short for that: elections come for nothing. Take 1.2s at least"}},
		{"OtherContinentFits", trips(80*ms, 120*ms, ms), fast, profile("local"), nil},
		{"FarReplica", trips(ms, 2*ms, 90*ms), fast, profile("lan"), nil}, // it has no vote
		{"OwnTimers", trips(ms, 22*ms, ms), fast, with(profile("lan"), func(s *health.Settings) { s.Own, s.Heartbeat = true, time.Second }), nil},
		{"OwnTimersTooShort", trips(ms, 22*ms, ms), fast, with(profile("lan"), func(s *health.Settings) { s.Own, s.Heartbeat = true, 100*ms }),
			map[string]string{"raft.heartbeat_timeout": "Take 220ms at least"}},
		{"SlowDisk", trips(ms, 2*ms, ms), health.Sync{Median: 45 * ms, Count: 5}, profile("lan"), map[string]string{"raft.heartbeat_timeout": "a disk that takes 45ms for a write"}},
		{"SlowDiskOnce", trips(ms, 2*ms, ms), health.Sync{Median: 45 * ms, Count: 1}, profile("lan"), nil},
		{"SlowDiskLongTimers", trips(20*ms, 20*ms, ms), health.Sync{Median: 45 * ms, Count: 5}, profile("wan"), nil},
		{"DelayForNothing", trips(ms, 2*ms, ms), fast, with(profile("lan"), func(s *health.Settings) { s.MaxBatchDelay = 20 * ms }),
			map[string]string{"raft.max_batch_delay": "disk and network take 2ms: a write that waits up to 20ms"}},
		{"DelayOnSlowDisk", trips(ms, 2*ms, ms), health.Sync{Median: 12 * ms, Count: 5}, with(profile("lan"), func(s *health.Settings) { s.MaxBatchDelay = 20 * ms }), nil},
		{"Alone", nil, fast, profile("local"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := api.Status{AsOf: now, Nodes: []api.NodeStatus{
				{Name: "pg1", Voter: true}, {Name: "pg2", Voter: true}, {Name: "pg3", Voter: true}, {Name: "replica"},
			}}
			facts := health.Facts{Status: &s, Measured: health.Measured{At: now, Trips: tt.trips, Sync: tt.sync}}
			got := health.Unfit(facts, tt.settings)
			if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(tt.want))) {
				t.Fatalf("got %v", got)
			}
			for name, words := range tt.want {
				if !strings.Contains(got[name], words) {
					t.Errorf("%s: %q, want %q", name, got[name], words)
				}
			}
			for _, at := range []time.Time{{}, now.Add(-2 * time.Minute)} { // not measured, or too long ago
				facts.Measured.At = at
				if got := health.Unfit(facts, tt.settings); len(got) > 0 {
					t.Errorf("measured at %s: %v", at, got)
				}
			}
		})
	}
}

// TestMeasureTrips takes the least of a node's latest answers, and forgets one that is silent.
func TestMeasureTrips(t *testing.T) {
	var asked atomic.Int64
	got := begin(t, health.Config{DataDir: t.TempDir(), Peers: func() map[string]probe.Peer {
		n := asked.Add(1)
		rtt := 40 * ms
		if n == 3 {
			rtt = 7 * ms
		}
		peers := map[string]probe.Peer{"s2": {Answer: probe.Answer{Name: "pg2"}, Heard: time.Now(), RTT: rtt}, "s4": {}}
		if n < 3 {
			peers["s3"] = probe.Peer{Answer: probe.Answer{Name: "pg3"}, Heard: time.Now(), RTT: ms}
		}
		return peers
	}}, func(m health.Measured) bool {
		return asked.Load() >= 3 && len(m.Trips) == 1 && m.Trips[0].Least == 7*ms
	})
	if got.Trips[0].Node != "pg2" || got.Trips[0].Count < 3 {
		t.Errorf("%+v", got.Trips)
	}
}
