package membership

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Join exchanges states with the nodes at addrs, host[:port], and gives how many of them that worked with. The error
// says of each of the others why not, and is nil when at least one worked; a [RefusedError] in it is a refusal that
// will not go away by itself, unless it is a [RefusedKept].
//
// A node answers with what it knew before the exchange. So of two that join with one name at the same instant both
// may be told that it worked; the one that came second is refused, and hears of it by the next exchange.
func (m *Membership) Join(ctx context.Context, addrs []string) (int, error) {
	if err := m.usable(); err != nil {
		return 0, fmt.Errorf("join: %w", err)
	}
	n, err := m.joinAll(ctx, addrs)
	if n > 0 && err != nil {
		m.log.Warn("part of the addresses could not be joined", "joined", n, "error", err)
		err = nil
	}
	if n == 0 && err == nil {
		err = errors.New("join: there is no address but this node's own: name another member's")
	}
	return n, err
}

func (m *Membership) joinAll(ctx context.Context, addrs []string) (int, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	total, errs := 0, make([]error, len(addrs))
	slots := make(chan struct{}, 16)
	for i, addr := range addrs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			n, err := m.joinOne(ctx, addr)
			mu.Lock()
			defer mu.Unlock()
			total, errs[i] = total+n, err
		})
	}
	wg.Wait()
	return total, errors.Join(errs...)
}

// joinOne contacts every address behind one host[:port], except the local node's own.
func (m *Membership) joinOne(ctx context.Context, addr string) (int, error) {
	targets, err := resolve(ctx, m.cfg.tune.lookup, addr)
	if err != nil {
		return 0, fmt.Errorf("join %s: %w", addr, err)
	}
	targets = slices.DeleteFunc(targets, m.isSelf)
	n := 0
	var errs []error
	for _, target := range targets {
		if err := CheckAdvertise(m.self.addr.String(), []string{target.String()}); err != nil {
			errs = append(errs, fmt.Errorf("join %s: %w", addr, err))
			continue
		}
		if err := m.contact(ctx, target); err != nil {
			errs = append(errs, err)
			continue
		}
		n++
	}
	if n > 0 {
		return n, nil
	}
	return 0, errors.Join(errs...)
}

func (m *Membership) isSelf(addr netip.AddrPort) bool { return addr == m.self.addr }

// contact exchanges states with one node. When the name was kept for somebody else there, the exchange is repeated
// once: the answer is from before the other side looked at this node's claim, and may have taken it.
func (m *Membership) contact(ctx context.Context, addr netip.AddrPort) error {
	err := m.exchangeOnce(ctx, addr)
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Kind == RefusedKept && sleep(ctx, m.timers.Sync) {
		return m.exchangeOnce(ctx, addr)
	}
	return err
}

func (m *Membership) exchangeOnce(ctx context.Context, addr netip.AddrPort) error {
	done := make(chan error, 1)
	if !m.track(func() { done <- m.exchange(addr) }) {
		return fmt.Errorf("join %s: %w", addr, ErrClosed)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("join %s: %w", addr, context.Cause(ctx))
	}
}

func (m *Membership) exchange(addr netip.AddrPort) error {
	_, err := m.ml.Join([]string{addr.String()})
	if err != nil {
		return explainJoin(addr.String(), m.cfg.ClusterName, err)
	}
	return nil
}

// explainJoin makes the best of the text that memberlist leaves of an error.
func explainJoin(addr, clusterName string, err error) error {
	var list interface{ WrappedErrors() []error }
	text := err.Error()
	if errors.As(err, &list) && len(list.WrappedErrors()) > 0 {
		text = list.WrappedErrors()[0].Error()
	}
	text = strings.TrimPrefix(text, "failed to join "+addr+": ")
	if refused := parseRefusal(text); refused != nil {
		return fmt.Errorf("join %s: %w", addr, refused)
	}
	keyHint := "set encrypt to the cluster's key, and remove " + KeyringFileName + " from data_dir if this node was never a member"
	switch {
	case strings.Contains(text, "no installed keys could decrypt"):
		return fmt.Errorf("join %s: %w", addr, refuse(RefusedKey, "the node there encrypts with a key that this node does not have: %s", keyHint))
	case strings.Contains(text, "encryption is configured but remote state is not encrypted"):
		return fmt.Errorf("join %s: %w", addr, refuse(RefusedKey, "the node there gossips in the clear and this node encrypts: set the same encrypt on all nodes, or on none"))
	case strings.Contains(text, "remote state is encrypted and encryption is not configured"):
		return fmt.Errorf("join %s: %w", addr, refuse(RefusedKey, "the node there encrypts and this node does not: %s", keyHint))
	case text == "EOF" || strings.Contains(text, "connection reset by peer"):
		return fmt.Errorf("join %s: %w", addr, refuse(RefusedCluster, "the node there hung up without an answer, as a node with another cluster_name than %q does: compare cluster_name on both, and look into the log there", clusterName))
	}
	return fmt.Errorf("join %s: %s", addr, text)
}

// exchangeAll exchanges states with all living members, and gives what went wrong.
func (m *Membership) exchangeAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.timers.Stream)
	defer cancel()
	var wg sync.WaitGroup
	members := m.alive()
	errs := make([]error, len(members))
	for i, member := range members {
		wg.Go(func() { errs[i] = m.contact(ctx, member.Address) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// runSync repeats state exchanges while others see this node wrong: an answer to an exchange shows what the other
// side knew before it, so only an exchange that finds nothing wrong ends it.
func (m *Membership) runSync(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.view.kick:
		}
		if m.left.Load() {
			continue // they see it right
		}
		m.view.begin()
		if err := m.exchangeAll(ctx); err != nil {
			m.log.Debug("state exchange is incomplete", "error", err)
		}
		m.checkView(m.view.end())
		if !sleep(ctx, m.timers.Sync) {
			return
		}
	}
}

// cloneAfter is when a wrong view of the local node can't be a memory of its old address any more.
const cloneAfter = 60 * time.Second

func (m *Membership) checkView(last claim, since time.Time, wrong bool) {
	if !wrong || time.Since(since) < cloneAfter || last.addr == m.self.addr || m.left.Load() {
		return
	}
	if dropped, ok := m.limit.allow("clone", time.Now()); ok {
		m.log.Error("other members know this node's name at another address, where something answers: is the agent running twice, or was its data_dir copied? stop one of them",
			"name", m.self.name, "address", m.self.addr.String(), "other_address", last.addr.String(), "other_server_id", last.meta.ServerID, "held_back", dropped)
	}
}

// sleep waits, and reports false when ctx ended instead.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
