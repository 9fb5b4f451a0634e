package managed_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
)

func (tpl *template) testObserve(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 2)
	lsn := c.awaitFlushed(t, 2)
	l := c.primary.observe(t)
	if l.InRecovery || l.Version < 140000 || l.Timeline != 1 || l.Flushed < lsn || l.Inserted < l.Flushed || l.ReadOnly ||
		l.SyncNames != c.primary.settings.SyncNames || len(l.Standbys) != 2 || l.Receiver != nil || len(l.PendingRestart) > 0 {
		t.Errorf("the primary says %+v", l)
	}
	if s := l.Standbys[0]; s.Name != c.standbys[0].name() || s.Flushed < lsn || s.Address != "127.0.0.1" || s.PID == 0 {
		t.Errorf("the primary says of its standby %+v", s)
	}
	standby := c.standbys[0]
	soon(t, "a message arrives", func() bool {
		l = standby.observe(t)
		return l.Receiver != nil && !l.Receiver.LastMessage.IsZero() && l.Replayed >= lsn
	})
	if !l.InRecovery || l.Timeline != 1 || l.Reach() < lsn || !strings.HasSuffix(l.PrimaryConninfo, " passfile="+standby.dir+"/passfile") ||
		l.PrimarySlot != "pgraft_2" || l.Startup.Event != "RecoveryWalStream" || l.ReplayPaused {
		t.Errorf("the standby says %+v", l)
	}
	if r := l.Receiver; r.Status != "streaming" || r.Timeline != 1 || r.Port != c.primary.port || r.Slot != "pgraft_2" {
		t.Errorf("the standby says of its receiver %+v", r)
	}
	standby.settings.ReadOnly = true
	standby.settings.Cluster = map[string]string{"max_connections": "101", "work_mem": "8MB"}
	standby.reload(t)
	soon(t, "the kept session has read the files", func() bool { return standby.observe(t).ReadOnly })
	soon(t, "the settings that wait for a restart are known", func() bool {
		pending := standby.observe(t).PendingRestart
		return len(pending) == 1 && pending[0].Name == "max_connections" && pending[0].Now != pending[0].Wanted
	})
	started := time.Now()
	for range 50 {
		standby.observe(t)
	}
	t.Logf("observed in %s", time.Since(started)/50)
	// The session that was kept is lost with the server, and nobody notices.
	standby.stop(t, postgres.StopFast)
	standby.start(t)
	if l = standby.observe(t); len(l.PendingRestart) > 0 {
		t.Errorf("settings that wait for a restart after it: %v", l.PendingRestart)
	}
}

func (tpl *template) testErrors(t *testing.T) {
	t.Parallel()
	n := tpl.node(t, 1)
	_, errObserve := n.Observe(t.Context())
	for what, err := range map[string]error{"observe": errObserve, "reload": n.Reload(t.Context()), "checkpoint": n.Checkpoint(t.Context())} {
		if !errors.Is(err, postgres.ErrNotRunning) {
			t.Errorf("%s of a stopped server: %v", what, err)
		}
	}
	n.start(t)
	if err := n.CutOff(t.Context(), n.settings); !errors.Is(err, managed.ErrNotStandby) {
		t.Errorf("cut off a primary: %v", err)
	}
	if _, err := n.FencedPosition(t.Context()); !errors.Is(err, managed.ErrNotStandby) {
		t.Errorf("fenced position of a primary: %v", err)
	}
	// A crash leaves the socket behind.
	n.stop(t, postgres.StopImmediate)
	if err := os.WriteFile(n.dir+"/.s.PGSQL.none", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Observe(t.Context()); !errors.Is(err, postgres.ErrNotRunning) {
		t.Errorf("observe after a crash: %v", err)
	}
}

func (tpl *template) testFrozen(t *testing.T) {
	t.Parallel()
	n := tpl.node(t, 1)
	n.start(t)
	n.observe(t)
	n.Disconnect()
	freeze(t, n.pm.PID())
	const deadline = 100 * time.Millisecond
	for what, call := range map[string]func(context.Context) error{
		"observe": func(ctx context.Context) error { _, err := n.Observe(ctx); return err },
		"reload":  n.Reload,
		"cut off": func(ctx context.Context) error { return n.CutOff(ctx, n.settings) },
		"promote": func(ctx context.Context) error { _, err := n.Promote(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		started := time.Now()
		err := call(ctx)
		cancel()
		if took := time.Since(started); !errors.Is(err, context.DeadlineExceeded) || took > 4*deadline {
			t.Errorf("%s of a frozen server took %s: %v", what, took, err)
		}
	}
}

func (tpl *template) testReload(t *testing.T) {
	t.Parallel()
	n := tpl.node(t, 1)
	n.start(t)
	started := time.Now()
	for i := range 10 {
		n.settings.Cluster = map[string]string{"application_name": string(rune('a' + i))}
		n.reload(t)
		var got string
		if err := n.conn(t).QueryRow(t.Context(), "SHOW application_name").Scan(&got); err != nil || got != string(rune('a'+i)) {
			t.Fatalf("a new session has %q after the reload, %v", got, err)
		}
	}
	t.Logf("reloaded in %s", time.Since(started)/10)
	n.settings.Cluster = nil
	n.write(t)
	broken, err := os.OpenFile(n.dir+"/data/postgresql.conf", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = broken.WriteString("this is = = no setting\n")
	if err := errors.Join(err, broken.Close()); err != nil {
		t.Fatal(err)
	}
	var problem *managed.Problem
	if err := n.Reload(t.Context()); !errors.As(err, &problem) || !strings.Contains(err.Error(), "postgresql.conf:") {
		t.Errorf("reload of a broken file: %v", err)
	}
}
