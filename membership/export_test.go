package membership

import (
	"context"
	"net/netip"
	"reflect"
	"sync"
	"unsafe"
)

// Seam is what tests change about a Membership.
type Seam struct {
	Timers    func(*Timers)
	Lookup    func(ctx context.Context, host string) ([]netip.Addr, error)
	PrivateIP func() (string, error)
	Blocked   func(addr string) bool
}

// WithSeam gives cfg with the seam's changes.
func WithSeam(cfg Config, s Seam) Config {
	cfg.tune = tuning{timers: s.Timers, lookup: s.Lookup, privateIP: s.PrivateIP, blocked: s.Blocked}
	return cfg
}

// Forgotten reports whether memberlist itself knows of no node but the local one any more, not even as dead. It has
// no function that would tell.
func Forgotten(m *Membership) bool {
	ml := reflect.ValueOf(m.ml).Elem()
	lock := (*sync.RWMutex)(unsafe.Pointer(ml.FieldByName("nodeLock").UnsafeAddr()))
	lock.RLock()
	defer lock.RUnlock()
	return ml.FieldByName("nodeMap").Len() == 1
}

// PlanRedial exposes the plan of a look.
func PlanRedial(members []Member, retryJoin []string, look int) ([]netip.AddrPort, []string) {
	plan := planRedial(members, retryJoin, look)
	return plan.members, plan.join
}

// ClassifyLine exposes what becomes of a line of memberlist's log.
var ClassifyLine = classifyLine

// ExplainJoin exposes how memberlist's join errors are read.
var ExplainJoin = explainJoin

// DecodeTombstones and DecodePeers expose decoders.
var (
	DecodeTombstones = decodeTombstones
	DecodePeers      = decodePeers
)

// EmitMany emits events that nobody takes, and gives how many were dropped.
func EmitMany(n int) uint64 {
	events := newNotifier()
	for range n {
		events.emit(Event{Type: EventUpdate})
	}
	return events.dropped.Load()
}
