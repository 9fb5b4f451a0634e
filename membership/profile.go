package membership

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// Profiles by the round trip between the nodes. These are not memberlist's profiles of the same names.
const (
	ProfileLAN   = "lan"   // below 10 ms
	ProfileWAN   = "wan"   // 10 to 50 ms
	ProfileLocal = "local" // above 50 ms: nodes far apart, each local to its site
)

// Timers are a profile's values. A dead node is noticed after up to (members-1) × Probe until somebody probes it,
// one Probe until that has failed, and SuspicionMult × Probe in which it may object. Twice ProbeTimeout and a round
// trip must fit into Probe: a helper that got no answer either says so after a ProbeTimeout of its own, and if that
// comes too late the prober takes itself for the slow one and probes less often.
type Timers struct {
	Probe             time.Duration // how often a node is probed, and how long a probe may take in all
	ProbeTimeout      time.Duration // for the direct probe; then others are asked and TCP is tried
	SuspicionMult     int
	SuspicionMaxMult  int // how much longer when nobody else confirms the suspicion
	Gossip            time.Duration
	PushPull          time.Duration
	Stream            time.Duration // to dial, and for each read and write of a state exchange
	GossipToTheDead   time.Duration // memberlist forgets a dead node after this
	Sync              time.Duration // between exchanges while others see this node wrong
	ReclaimAfter      time.Duration // how long a failed node's name is kept for its owner
	TombstoneLifetime time.Duration // how long a node that left is remembered
	FailedLifetime    time.Duration // how long a failed node is remembered and redialed
}

// ProfileTimers gives the timers of a profile; the empty name means lan.
func ProfileTimers(profile string) (Timers, error) {
	t := Timers{
		Probe: 250 * time.Millisecond, ProbeTimeout: 100 * time.Millisecond, SuspicionMult: 4, SuspicionMaxMult: 3,
		Gossip: 200 * time.Millisecond, PushPull: 10 * time.Second, Stream: 5 * time.Second,
		GossipToTheDead: 30 * time.Second, Sync: 500 * time.Millisecond, ReclaimAfter: 30 * time.Second,
		TombstoneLifetime: 24 * time.Hour, FailedLifetime: 72 * time.Hour,
	}
	switch profile {
	case "", ProfileLAN:
	case ProfileWAN:
		t.Probe, t.ProbeTimeout, t.SuspicionMult = 500*time.Millisecond, 180*time.Millisecond, 5
		t.Gossip, t.PushPull, t.Stream, t.Sync = 150*time.Millisecond, 15*time.Second, 10*time.Second, time.Second
	case ProfileLocal:
		t.Probe, t.ProbeTimeout, t.SuspicionMult = time.Second, 400*time.Millisecond, 5
		t.Gossip, t.PushPull, t.Stream, t.Sync = 250*time.Millisecond, 20*time.Second, 15*time.Second, 2*time.Second
		t.GossipToTheDead = time.Minute
	default:
		return t, fmt.Errorf("gossip profile %q is unknown: use %s (round trips below 10 ms), %s (10 to 50 ms) or %s (above 50 ms)",
			profile, ProfileLAN, ProfileWAN, ProfileLocal)
	}
	return t, nil
}

// memberlistConfig puts the timers into a memberlist configuration.
func (t Timers) memberlistConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.ProbeInterval, c.ProbeTimeout = t.Probe, t.ProbeTimeout
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = t.SuspicionMult, t.SuspicionMaxMult
	c.GossipInterval, c.PushPullInterval = t.Gossip, t.PushPull
	c.TCPTimeout, c.GossipToTheDeadTime = t.Stream, t.GossipToTheDead
	// The rules in rules.go decide who may take a name, and when. memberlist's own rule must not stand in their
	// way, and zero would mean never.
	c.DeadNodeReclaimTime = time.Millisecond
	c.MsgpackUseNewTimeFormat = true
	return c
}
