package membership

import (
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/pgraft/pgraft/api"
)

// delegate is what memberlist calls. NotifyAlive, NotifyConflict, NotifyJoin, NotifyLeave and NotifyUpdate come with
// its node lock held; none of the methods calls back into memberlist or waits for anything.
type delegate struct{ *Membership }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.AliveDelegate    = delegate{}
	_ memberlist.MergeDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.PingDelegate     = delegate{}
)

// NodeMeta gives the local node's metadata.
func (d delegate) NodeMeta(int) []byte { return *d.encoded.Load() }

// NotifyMsg ignores messages: this package sends none.
func (d delegate) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to add to gossip.
func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState adds the tombstones to a state exchange.
func (d delegate) LocalState(bool) []byte { return encodeTombstones(tombstonesOf(d.table.list())) }

// MergeRemoteState takes in the other side's tombstones.
func (d delegate) MergeRemoteState(buf []byte, _ bool) {
	tombs, err := decodeTombstones(buf)
	if err != nil {
		if _, ok := d.limit.allow("tombstones", time.Now()); ok {
			d.log.Warn("news of nodes that left is not readable", "error", err)
		}
		return
	}
	for _, tomb := range tombs {
		d.bury(tomb)
	}
}

// AckPayload adds nothing to the answer to a probe.
func (d delegate) AckPayload() []byte { return nil }

// NotifyPingComplete records that a member answered a probe.
func (d delegate) NotifyPingComplete(other *memberlist.Node, rtt time.Duration, _ []byte) {
	d.table.seen(other.Name, rtt, time.Now())
}

// NotifyAlive admits or refuses news of a living node.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	c, err := newClaim(n)
	if err != nil {
		if dropped, ok := d.limit.allow("metadata of "+n.Name, time.Now()); ok {
			d.log.Warn("node is ignored", "node", n.Name, "address", n.Address(), "error", err, "held_back", dropped)
		}
		return err
	}
	byName := d.table.byName(c.name)
	refused := admit(d.identity(), byName, d.table.byID(c.meta.ServerID, c.name), c, time.Now(), d.timers.ReclaimAfter)
	if refused == nil {
		return nil
	}
	if refused.Kind == RefusedCluster && byName != nil && byName.Meta.ServerID == c.meta.ServerID {
		d.table.drop(c.name) // it was taken in before it knew where it belongs
	}
	d.report(refused, c, byName)
	return refused
}

// NotifyMerge admits or refuses a join, on both sides of it, and looks how the other side sees this node.
func (d delegate) NotifyMerge(peers []*memberlist.Node) error {
	self := d.identity()
	if refused := admitMerge(self, peers); refused != nil {
		d.report(refused, claim{name: self.name, addr: self.addr}, nil)
		return refused
	}
	for _, n := range peers {
		c, err := newClaim(n)
		if err != nil || c.name != self.name {
			continue
		}
		if c.meta.ServerID != self.serverID || c.addr != self.addr || n.State != memberlist.StateAlive {
			d.view.mark(c, time.Now())
		}
	}
	return nil
}

// NotifyConflict hears of a claim to a name at another address than the name's owner's.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	c, err := newClaim(other)
	if err != nil {
		return
	}
	self := d.identity()
	switch {
	case existing.Name == self.name && c.meta.ServerID == self.serverID:
		d.view.mark(c, time.Now())
	case existing.Name == self.name:
		if refused := mergeClaim(self, c); refused != nil {
			d.report(refused, c, d.table.byName(self.name))
		}
	default:
		d.log.Debug("member moves: waiting until its old address is found dead", "node", existing.Name, "from", existing.Address(), "to", c.addr.String())
	}
}

// NotifyJoin records a member that is new or back.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	c, err := newClaim(n)
	if err != nil {
		return
	}
	m, before := d.table.alive(c, time.Now())
	if m.Local {
		return
	}
	if before != nil && before.Address != m.Address {
		d.log.Info("member is back at a new address", "node", m.Name, "from", before.Address.String(), "to", m.Address.String())
	} else {
		d.log.Info("member joined", "node", m.Name, "address", m.Address.String())
	}
	d.events.emit(Event{Type: EventJoin, Time: time.Now(), Member: m, Message: "joined"})
}

// NotifyUpdate records a member's new metadata.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	c, err := newClaim(n)
	if err != nil {
		return
	}
	if m, _ := d.table.alive(c, time.Now()); !m.Local {
		d.events.emit(Event{Type: EventUpdate, Time: time.Now(), Member: m, Message: "changed its metadata"})
	}
}

// NotifyLeave records a member that is gone.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	c, _ := newClaim(n)
	m, ok := d.table.gone(n.Name, c.meta.Leaving, time.Now())
	if !ok || m.Local {
		return
	}
	if m.Status == api.NodeLeft {
		d.log.Info("member left", "node", m.Name, "address", m.Address.String())
		d.events.emit(Event{Type: EventLeave, Time: time.Now(), Member: m, Message: "left"})
		return
	}
	d.log.Warn("member failed", "node", m.Name, "address", m.Address.String())
	d.events.emit(Event{Type: EventFail, Time: time.Now(), Member: m, Message: "failed: does not answer"})
}

// report tells of a refusal, now and then while it goes on.
func (m *Membership) report(refused *RefusedError, c claim, owner *Member) {
	if refused.Kind == RefusedStale {
		m.log.Debug("news is ignored", "node", c.name, "reason", refused.Reason)
		return
	}
	dropped, ok := m.limit.allow(string(refused.Kind)+" "+c.name+" "+c.addr.String(), time.Now())
	if !ok {
		return
	}
	m.log.Error("node is refused", "kind", string(refused.Kind), "reason", refused.Reason, "held_back", dropped)
	e := Event{Type: EventConflict, Time: time.Now(), Message: refused.Error()}
	if owner != nil {
		e.Member = *owner
	}
	m.events.emit(e)
}

// staleView remembers that others see the local node wrong: dead, or where it was before.
type staleView struct {
	kick chan struct{} // runSync waits on it

	mu     sync.Mutex // guards the rest
	since  time.Time  // zero = nobody does
	last   claim      // what they said
	marked bool       // since the last round
}

func (v *staleView) mark(c claim, now time.Time) {
	v.mu.Lock()
	if v.since.IsZero() {
		v.since = now
	}
	v.last, v.marked = c, true
	v.mu.Unlock()
	v.poke()
}

func (v *staleView) poke() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// begin starts a round; end says whether somebody still saw the local node wrong in it, and since when.
func (v *staleView) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.marked = false
}

func (v *staleView) end() (last claim, since time.Time, wrong bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.marked {
		v.since = time.Time{}
	}
	return v.last, v.since, v.marked
}
