package membership

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/pgraft/pgraft/api"
)

// Limits of one look for absent members.
const (
	maxRedial      = 16 // failed members in one look; the next look takes the next ones
	joinEveryLooks = 6  // retry_join is looked at in every so-many-th look when this node is not alone
)

// redialPlan is whom to dial in one look.
type redialPlan struct {
	members []netip.AddrPort // failed members, where they were last
	join    []string         // retry_join, to be resolved
}

// planRedial decides whom to dial: members that failed, never those that left; and retry_join, while alone each time,
// otherwise now and then, as it may lead to a part of the cluster that neither side has heard of.
func planRedial(members []Member, retryJoin []string, look int) redialPlan {
	var plan redialPlan
	alone := true
	for _, m := range members {
		switch {
		case m.Local || m.Status == api.NodeLeft:
		case m.Status == api.NodeAlive:
			alone = false
		default:
			plan.members = append(plan.members, m.Address)
		}
	}
	if n := len(plan.members); n > maxRedial {
		at := look * maxRedial % n
		plan.members = slices.Concat(plan.members[at:], plan.members[:at])[:maxRedial]
	}
	if alone || look%joinEveryLooks == 0 {
		plan.join = retryJoin
	}
	return plan
}

// retry says whom to look for and how often.
type retry struct {
	join     []string
	interval time.Duration
}

// SetRetryJoin changes whom this node looks for from the next look on; what Config.Join named stays. An interval of 0
// leaves it as it is.
func (m *Membership) SetRetryJoin(addrs []string, interval time.Duration) {
	if interval <= 0 {
		interval = m.cfg.RetryInterval
	}
	m.retry.Store(&retry{join: slices.Concat(m.cfg.Join, addrs), interval: interval})
}

// runRedial looks for members that are not here.
func (m *Membership) runRedial(ctx context.Context) {
	for look := 0; ; look++ {
		if !m.left.Load() {
			m.redial(ctx, planRedial(m.table.list(), m.retry.Load().join, look))
		}
		// Nodes started together should not look together.
		interval := m.retry.Load().interval
		jitter := time.Duration(rand.Int64N(int64(interval)/4 + 1))
		if !sleep(ctx, interval-jitter) {
			return
		}
	}
}

func (m *Membership) redial(ctx context.Context, plan redialPlan) {
	var addrs []string
	for _, addr := range plan.members {
		addrs = append(addrs, addr.String())
	}
	addrs = append(addrs, m.absent(ctx, plan.join)...)
	if len(addrs) == 0 {
		return
	}
	before := len(m.alive())
	n, err := m.joinAll(ctx, addrs)
	m.noteRefusal(err)
	switch {
	case ctx.Err() != nil:
	case n > 0 && before == 0 && len(m.alive()) > 0:
		m.log.Info("joined the cluster", "contacted", n, "members", len(m.alive())+1)
	case err != nil && len(m.alive()) == 0:
		if dropped, ok := m.limit.allow("redial", time.Now()); ok {
			m.log.Warn("no other member is reached yet: trying on", "error", err, "held_back", dropped)
		}
	case err != nil:
		m.log.Debug("absent members are not reached", "error", err)
	}
}

// noteRefusal remembers why this node is kept out, for as long as that is so.
func (m *Membership) noteRefusal(err error) {
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || len(m.alive()) > 0 {
		m.refusal.Store(nil)
		return
	}
	m.refusal.Store(refused)
}

// Refusal returns why the others keep this node out, nil while it is with them or was not refused when it last looked.
func (m *Membership) Refusal() *RefusedError {
	if m.Joined() {
		return nil
	}
	return m.refusal.Load()
}

// absent leaves out the addresses at which a member is known to live.
func (m *Membership) absent(ctx context.Context, addrs []string) []string {
	known := map[netip.AddrPort]bool{m.self.addr: true}
	for _, member := range m.alive() {
		known[member.Address] = true
	}
	var out []string
	for _, addr := range addrs {
		targets, err := resolve(ctx, m.cfg.tune.lookup, addr)
		if err != nil {
			out = append(out, addr) // resolved again where the error is reported
		}
		for _, target := range targets {
			if !known[target] {
				out = append(out, target.String())
			}
		}
	}
	return out
}
