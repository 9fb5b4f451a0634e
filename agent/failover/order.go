package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

const (
	restartTimeout = 5 * time.Minute // crash recovery may have to be run through
	confirmTimeout = 30 * time.Second
	leaveTimeout   = 10 * time.Second // the others either follow or they don't
)

// Restart stops and starts a server's PostgreSQL in place, and returns when it is back.
func (w *Watch) Restart(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	s, err := w.fresh(ctx, "restart PostgreSQL")
	if err != nil {
		return err
	}
	if err := s.orderBar(server, "restarted"); err != nil {
		return err
	}
	return w.order(ctx, server, Order{Kind: OrderRestart, Epoch: s.State.Epoch})
}

// orderBar says why nothing can be done to a server's PostgreSQL now.
func (s *Scene) orderBar(server, done string) error {
	v, name := s.server(server), s.name(server)
	_, ok := s.view(server)
	switch {
	case v.Name == "" && !v.Voter && v.View == nil:
		return fail(api.CodeNotFound, "see pgraft members", "no server %q in this cluster", server)
	case v.Witness:
		return fail(api.CodeConflict, "", "%s has no PostgreSQL that could be %s: it is a witness", name, done)
	case !ok:
		return fail(api.CodeUnavailable, "start the agent there", "PostgreSQL of %s can't be %s: its agent is %s", name, done, state(v.Agent.Reach))
	case s.State.Phase != primacy.PhaseReady || s.State.Handover != "":
		return fail(api.CodeUnavailable, "wait for its end", "PostgreSQL of %s can't be %s while the primary changes", name, done)
	}
	return nil
}

// order has an agent do something to its PostgreSQL, and returns when that is done.
func (w *Watch) order(ctx context.Context, server string, order Order) error {
	if server == w.cfg.Self {
		return w.cfg.Obey(ctx, order)
	}
	body, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("encode order: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://peer"+OrderPath, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("build order: %w", err)
	}
	if _, err := exchange(w.cfg.Eyes.Transport(server), req, new(struct{})); err != nil {
		return fmt.Errorf("have the agent %s: %w", order.Kind, err)
	}
	return nil
}

// Reinit has a standby throw its data away and clone the primary's. A member is left out first, so that the others
// have confirmed what it had. It returns when the agent has begun.
func (w *Watch) Reinit(ctx context.Context, server string) error {
	s, err := w.fresh(ctx, "reinitialise a server")
	if err != nil {
		return err
	}
	if server == s.State.Primary {
		return fail(api.CodeConflict, "switch over to another server first", "%s can't be made anew: it is the primary", s.name(server))
	}
	if err := s.orderBar(server, "made anew"); err != nil {
		return err
	}
	defer w.keepOut(server)()
	if err := w.awaitLeft(ctx, server); err != nil {
		return err
	}
	return w.order(ctx, server, Order{Kind: OrderReinit, Epoch: s.State.Epoch})
}

// keepOut keeps a server out of the members until the returned function is called.
func (w *Watch) keepOut(server string) (end func()) {
	w.mu.Lock()
	w.out[server] = true
	w.mu.Unlock()
	signal(w.news)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.out, server)
	}
}

// awaitLeft returns when a server is no member any more, and no change of the members is under way.
func (w *Watch) awaitLeft(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	_, err := w.await(ctx, func(s primacy.State) bool {
		_, member := primacy.MemberOf(s.Sync, server)
		return !member && s.Next == nil
	})
	if err != nil {
		return fail(api.CodeUnavailable, "see pgraft status: the other servers must be up and stream from the primary",
			"%s is not made anew: the remaining servers have not confirmed that they have what it has (%s)", w.snapshot().name(server), w.reasons())
	}
	return nil
}

// RollingRestart restarts, one after the other, every server whose settings wait for it, in an order that is safe for
// standbys, and returns their names. It ends at the first that fails.
func (w *Watch) RollingRestart(ctx context.Context) (names []string, err error) {
	for done := map[string]bool{}; ; {
		s, err := w.fresh(ctx, "restart PostgreSQL")
		if err != nil {
			return names, err
		}
		order, err := RestartOrder(s)
		if err != nil {
			return names, err
		}
		order = slices.DeleteFunc(order, func(id string) bool { return done[id] })
		if len(order) == 0 {
			return names, nil
		}
		if err := w.awaitSettled(ctx); err != nil {
			return names, err
		}
		if err := w.Restart(ctx, order[0]); err != nil {
			return names, fmt.Errorf("restart %s: %w", s.name(order[0]), err)
		}
		done[order[0]], names = true, append(names, s.name(order[0]))
	}
}

// awaitSettled returns when every member acknowledges, so that a restart of one leaves a quorum.
func (w *Watch) awaitSettled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	ticker := time.NewTicker(w.cfg.Busy)
	defer ticker.Stop()
	for {
		missing := w.snapshot().unsettled()
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fail(api.CodeUnavailable, "see pgraft status", "the restarts are not gone on with: %s", missing)
		case <-ticker.C:
		}
	}
}

// unsettled says why no member should be restarted now, "" if one can.
func (s *Scene) unsettled() string {
	primary, ok := s.current(s.State.Primary)
	switch {
	case s.State.Phase != primacy.PhaseReady || !ok || !primary.Running:
		return "there is no primary now"
	case s.State.Next != nil:
		return "the members are changing"
	}
	live := s.live(primary)
	for _, m := range s.State.Sync.Members {
		if m.ServerID != s.State.Primary && !acknowledges(live, m) {
			return s.name(m.ServerID) + " does not stream from the primary"
		}
	}
	return ""
}

// standbyLimits are the settings that a standby must have at least as high as its primary, or it stops.
var standbyLimits = map[string]bool{
	"max_connections": true, "max_worker_processes": true, "max_wal_senders": true, "max_prepared_transactions": true,
	"max_locks_per_transaction": true,
}

// RestartOrder lists the servers whose settings wait for a restart, in the order in which to restart them: standbys
// first, since that is of no consequence to clients, or the primary first where a limit is lowered that standbys must
// not go below. It is pure.
func RestartOrder(s Scene) ([]string, error) {
	s.Term = s.Term.withDefaults()
	var standbys []string
	var raised, lowered string
	primaryToo := false
	for i := range s.Servers {
		v := &s.Servers[i]
		view, ok := s.view(v.ID)
		if !ok || len(view.Pending) == 0 {
			continue
		}
		for _, p := range view.Pending {
			switch compareLimit(p) {
			case 1:
				raised = p.Name
			case -1:
				lowered = p.Name
			}
		}
		if v.ID == s.State.Primary {
			primaryToo = true
		} else {
			standbys = append(standbys, v.ID)
		}
	}
	slices.SortFunc(standbys, func(a, b string) int { return strings.Compare(s.name(a), s.name(b)) })
	switch {
	case raised != "" && lowered != "":
		return nil, fail(api.CodeConflict, "set one of the two back, restart, and set it again then",
			"no order of restarts is safe for standbys: %s is raised and %s is lowered at the same time", raised, lowered)
	case lowered != "" && !primaryToo && !s.primaryServes():
		return nil, fail(api.CodeUnavailable, "see pgraft status", "no order of restarts is known: the primary does not answer, and %s is lowered", lowered)
	case !primaryToo:
		return standbys, nil
	case lowered != "":
		return append([]string{s.State.Primary}, standbys...), nil
	}
	return append(standbys, s.State.Primary), nil
}

// primaryServes reports whether the primary says that it is one, so that what it does not say is not so.
func (s *Scene) primaryServes() bool {
	view, ok := s.current(s.State.Primary)
	return ok && view.Role == api.RolePrimary
}

// compareLimit returns 1 for a limit that standbys have to follow and that is raised, -1 for one that is lowered.
func compareLimit(p Pending) int {
	now, err := strconv.ParseInt(p.Now, 10, 64)
	wanted, err2 := strconv.ParseInt(p.Wanted, 10, 64)
	switch {
	case !standbyLimits[p.Name] || err != nil || err2 != nil || now == wanted:
		return 0
	case wanted > now:
		return 1
	}
	return -1
}
