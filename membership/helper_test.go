package membership_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/membership"
)

// logBuffer keeps what is logged, for tests to look into and for a failed test to show.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) count(text string) int { return strings.Count(b.String(), text) }

// newLog gives a logger whose output appears when the test fails.
func newLog(t *testing.T, name string) (hclog.Logger, *logBuffer) {
	t.Helper()
	buf := &logBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, buf)
		}
	})
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug, Output: buf}), buf
}

// config gives the configuration of a node on the loopback interface, with quick timers.
func config(t *testing.T, name string) membership.Config {
	t.Helper()
	log, _ := newLog(t, name)
	return membership.WithSeam(membership.Config{
		NodeName: name, ServerID: uuid.NewString(), ClusterName: "test", BindAddr: "127.0.0.1",
		RetryInterval: 200 * time.Millisecond, Logger: log,
		Meta: membership.Meta{RaftAddress: "127.0.0.1:7401", HTTPAddress: "127.0.0.1:7400", Version: "1.0.0", Protocol: 1},
	}, membership.Seam{Timers: quick})
}

// quick notices a dead node in about a second, and still bears a busy machine.
func quick(t *membership.Timers) {
	t.Probe, t.ProbeTimeout, t.SuspicionMult, t.SuspicionMaxMult = 150*time.Millisecond, 75*time.Millisecond, 4, 2
	t.Gossip, t.PushPull, t.Sync = 20*time.Millisecond, time.Second, 50*time.Millisecond
}

// patient takes nobody for dead, however slow the machine is.
func patient(t *membership.Timers) {
	quick(t)
	t.Probe = time.Hour
}

func open(t *testing.T, cfg membership.Config) *membership.Membership {
	t.Helper()
	m, err := membership.Open(cfg)
	if err != nil {
		t.Fatalf("open %s: %v", cfg.NodeName, err)
	}
	t.Cleanup(func() { stop(t, m) })
	return m
}

func stop(t *testing.T, m *membership.Membership) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func addr(m *membership.Membership) string { return m.Local().Address.String() }

func port(m *membership.Membership) int { return int(m.Local().Address.Port()) }

// join waits until the others see m, as they answer before they look at its claim.
func join(t *testing.T, m *membership.Membership, others ...*membership.Membership) {
	t.Helper()
	for _, other := range others {
		if n, err := m.Join(t.Context(), []string{addr(other)}); err != nil || n != 1 {
			t.Fatalf("join: n=%d, %v", n, err)
		}
		eventually(t, func() error {
			if got, _ := find(other, m.Local().Name); got.Address != m.Local().Address || got.Status != api.NodeAlive {
				return fmt.Errorf("%s has %+v", other.Local().Name, got)
			}
			return nil
		})
	}
}

// eventually waits until check is content.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("waited too long: %v", err)
		case <-tick.C:
		}
	}
}

func find(m *membership.Membership, name string) (membership.Member, bool) {
	for _, member := range m.Members() {
		if member.Name == name {
			return member, true
		}
	}
	return membership.Member{}, false
}

// sees is content when m has exactly these members alive, itself among them.
func sees(m *membership.Membership, names ...string) func() error {
	return func() error {
		alive := []string{}
		for _, member := range m.Members() {
			if member.Status == api.NodeAlive {
				alive = append(alive, member.Name)
			}
		}
		if got, want := strings.Join(alive, " "), strings.Join(names, " "); got != want {
			return fmt.Errorf("%s sees %q alive, want %q", m.Local().Name, got, want)
		}
		return nil
	}
}

// has is content when m has the member with the status.
func has(m *membership.Membership, name, status string) func() error {
	return func() error {
		member, _ := find(m, name)
		if member.Status != status {
			return fmt.Errorf("%s has %s as %q, want %q", m.Local().Name, name, member.Status, status)
		}
		return nil
	}
}

func all(checks ...func() error) func() error {
	return func() error {
		var errs []error
		for _, check := range checks {
			errs = append(errs, check())
		}
		return errors.Join(errs...)
	}
}

// wantRefusal fails the test unless err is a refusal of the kind whose text has all of texts.
func wantRefusal(t *testing.T, err error, kind membership.RefusalKind, texts ...string) {
	t.Helper()
	var refused *membership.RefusedError
	if !errors.As(err, &refused) || refused.Kind != kind {
		t.Fatalf("got %v, want a refusal: %s", err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Fatalf("got %q, want it to name %q", err, text)
		}
	}
}
