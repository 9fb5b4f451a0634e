package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/agent/probe"
)

// tripsKept is how many of a node's answers are compared: those of the last minute.
const tripsKept = 6

// roundTrips remembers how long the peers' latest answers took, and returns the least of each.
func (m *Measurer) roundTrips(peers map[string]probe.Peer) []Trip {
	kept := make(map[string][]time.Duration, len(peers))
	var out []Trip
	for id, p := range peers {
		if p.Heard.IsZero() || p.RTT <= 0 || time.Since(p.Heard) > answerFresh {
			continue
		}
		all := append(m.trips[id], p.RTT)
		kept[id] = all[max(0, len(all)-tripsKept):]
		out = append(out, Trip{Node: p.Name, Least: slices.Min(kept[id]), Count: len(kept[id])})
	}
	m.trips = kept
	slices.SortFunc(out, func(a, b Trip) int { return strings.Compare(a.Node, b.Node) })
	return out
}

// Settings are those that have to fit what a node measures.
type Settings struct {
	Profile       string
	Own           bool // the timers are set by themselves, and are not the profile's
	Heartbeat     time.Duration
	MaxBatchDelay time.Duration
}

type profile struct {
	name string
	upTo time.Duration
}

// profiles by the round trip that they are made for, the nearest first; the last is for all that is farther.
var profiles = []profile{{"lan", 10 * time.Millisecond}, {"wan", 50 * time.Millisecond}, {"local", 1 << 62}}

const (
	tripsEnough = 3  // answers: the first are slow
	beats       = 10 // round trips, or fsyncs, that must fit into a heartbeat timeout
)

// Unfit names the settings that don't fit what the node measures, each with what was measured and what would fit. It is
// pure, and says nothing as long as too little was measured.
func Unfit(f Facts, s Settings) map[string]string {
	unfit := map[string]string{}
	if f.Measured.At.IsZero() || f.Status.AsOf.Sub(f.Measured.At) > staleAfter {
		return unfit
	}
	far, near := farthest(f)
	if far.Count >= tripsEnough {
		unfitProfile(unfit, far, s)
	}
	sync := f.Measured.Sync
	if sync.Count >= fsyncEnough && sync.Err == "" && s.Heartbeat < beats*sync.Median && unfit["raft.heartbeat_timeout"] == "" {
		unfit["raft.heartbeat_timeout"] = fmt.Sprintf("%s leaves no room for a disk that takes %s for a write: elections come for nothing. A faster disk, or %s at least",
			round(s.Heartbeat), round(sync.Median), round(beats*sync.Median))
	}
	if usual := sync.Median + near; sync.Count >= fsyncEnough && far.Count >= tripsEnough && s.MaxBatchDelay > max(4*usual, 2*time.Millisecond) {
		unfit["raft.max_batch_delay"] = fmt.Sprintf("disk and network take %s: a write that waits up to %s for others mostly waits for nothing. 0ms lets those share an entry "+
			"that come meanwhile", round(usual), round(s.MaxBatchDelay))
	}
	return unfit
}

// unfitProfile judges timers by the distance to the farthest voter.
func unfitProfile(unfit map[string]string, far Trip, s Settings) {
	distance := fmt.Sprintf("the way to %s and back takes %s at best", far.Node, round(far.Least))
	if s.Heartbeat < beats*far.Least {
		unfit["raft.heartbeat_timeout"] = fmt.Sprintf("%s, and %s is too short for that: elections come for nothing. Take %s at least", distance, round(s.Heartbeat), round(beats*far.Least))
	}
	at := slices.IndexFunc(profiles, func(p profile) bool { return p.name == s.Profile })
	if at < 0 || s.Own {
		return
	}
	fits := slices.IndexFunc(profiles, func(p profile) bool { return far.Least <= p.upTo })
	switch {
	case at < fits:
		unfit["gossip.profile"] = fmt.Sprintf("%s: %s is made for that", distance, profiles[fits].name)
	case at > fits && far.Least < profiles[fits].upTo/2: // not back and forth at the border
		unfit["gossip.profile"] = fmt.Sprintf("%s: %s would replace a lost leader sooner", distance, profiles[fits].name)
	}
}

// farthest is the voter whose answers take longest, and near how long those of the majority take.
func farthest(f Facts) (far Trip, near time.Duration) {
	var trips []Trip
	voters := 0
	for _, n := range f.Status.Nodes {
		if !n.Voter {
			continue
		}
		voters++
		if i := slices.IndexFunc(f.Measured.Trips, func(t Trip) bool { return t.Node == n.Name }); i >= 0 {
			trips = append(trips, f.Measured.Trips[i])
		}
	}
	if len(trips) == 0 {
		return Trip{}, 0
	}
	slices.SortFunc(trips, func(a, b Trip) int { return cmp.Compare(a.Least, b.Least) })
	return trips[len(trips)-1], trips[min(max(voters/2-1, 0), len(trips)-1)].Least
}
