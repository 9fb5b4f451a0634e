package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedSettings sets PostgreSQL's parameters for a whole cluster under load, and gives orders that can't be obeyed.
func TestManagedSettings(t *testing.T) {
	c := threeManaged(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInserts(ctx, t, c, 2)
	load.wantMore(t, 50)
	for _, part := range []struct {
		name string
		do   func(t *testing.T, c *testcluster.Cluster, load *inserts)
	}{
		{"Reload", settingReloaded}, {"RollingRestart", settingRestarted}, {"Refused", settingRefused}, {"Senseless", settingSenseless},
		{"SwitchoverRefused", switchoverRefused}, {"SlotLost", slotLost}, {"ForeignServer", foreignServer},
	} {
		whole(t, c, part.name, func(t *testing.T) {
			begun := time.Now()
			part.do(t, c, load)
			load.wantMore(t, 50)
			waitMembersOn(t, c, c.Primary(), 1, "a", "b", "c")
			t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
		})
	}
	cancel()
	load.verify(t, &testcluster.Cluster{Nodes: c.Nodes[:3]})
}

// mustSet sets a parameter of PostgreSQL for the cluster.
func mustSet(t *testing.T, c *testcluster.Cluster, name, value string) {
	t.Helper()
	if out, err := order(t, c, c.Nodes[0], "settings", "set", "postgres."+name, value); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func settingReloaded(t *testing.T, c *testcluster.Cluster, _ *inserts) {
	t.Helper()
	mustSet(t, c, "work_mem", "11MB")
	for _, n := range c.Nodes {
		wantRow(t, n, "SHOW work_mem", "11MB")
		wantRow(t, n, "SHOW max_slot_wal_keep_size", "4GB") // so that a dead standby fills no disk
	}
}

// settingRestarted: what only a restart changes is told, and brought about one node after the other, both ways.
func settingRestarted(t *testing.T, c *testcluster.Cluster, load *inserts) {
	t.Helper()
	for _, connections := range []string{"130", "90"} {
		mustSet(t, c, "max_connections", connections)
		wantStatus(t, c, c.Nodes[1], func(s api.Status) string {
			for _, n := range s.Nodes {
				if fmt.Sprint(n.PendingRestart) != "[max_connections]" {
					return fmt.Sprintf("%s waits for a restart for %v", n.Name, n.PendingRestart)
				}
			}
			return ""
		})
		text, _ := c.Run(c.Nodes[1], "status")
		wantText(t, "pgraft status", text, "must be restarted on", "max_connections", "pgraft restart")
		out, err := order(t, c, c.Nodes[1], "restart", "-yes")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", strings.TrimSpace(out))
		wantText(t, "pgraft restart", out, "a", "b", "c")
		for _, n := range c.Nodes {
			wantRow(t, n, "SHOW max_connections", connections)
		}
		load.wantMore(t, 20)
		if out, err := order(t, c, c.Nodes[2], "restart", "-yes"); err != nil || !strings.Contains(out, "othing waits") {
			t.Errorf("a second rolling restart: %v: %s", err, out)
		}
	}
}

func settingRefused(t *testing.T, c *testcluster.Cluster, _ *inserts) {
	t.Helper()
	for name, word := range map[string]string{
		"synchronous_standby_names": "majority", "primary_conninfo": "decision", "port": "listen", "max_wal_senders": "10 or more",
	} {
		out, err := order(t, c, c.Nodes[0], "settings", "set", "postgres."+name, "1")
		if err == nil || !strings.Contains(out, word) {
			t.Errorf("%s was set: %v: %s, want %q", name, err, out, word)
		}
	}
}

// settingSenseless: PostgreSQL does not take it. That is told, and nothing else suffers.
func settingSenseless(t *testing.T, c *testcluster.Cluster, load *inserts) {
	t.Helper()
	mustSet(t, c, "work_mem", "banana")
	wantStatus(t, c, c.Primary(), func(s api.Status) string {
		if text := s.WorkerMessage + s.Postgres.Error; !strings.Contains(text, "work_mem") {
			return "it says " + text
		}
		return ""
	})
	// A server that starts would refuse it, were it still in its file; the agent that starts does not know yet.
	again := c.Others(c.Primary())[0]
	c.KillNode(again)
	c.StartAgent(again)
	wantRow(t, again, "SELECT status FROM pg_stat_wal_receiver", "streaming")
	load.wantMore(t, 20)
	mustSet(t, c, "work_mem", "12MB")
	for _, n := range c.Nodes {
		wantRow(t, n, "SHOW work_mem", "12MB")
	}
	waitMembers(t, c, 1, "a", "b", "c")
}

// switchoverRefused: to a node that lags, and to one that is down.
func switchoverRefused(t *testing.T, c *testcluster.Cluster, load *inserts) {
	t.Helper()
	primary := c.Primary()
	lagging, down := c.Others(primary)[0], c.Others(primary)[1]
	epoch := statusOf(t, c, primary).Epoch
	psql(t, lagging, "SELECT pg_wal_replay_pause()")
	psql(t, primary, "SELECT count(pg_logical_emit_message(false, 'lag', repeat('x', 1000000))) FROM generate_series(1, 80)")
	wantStatus(t, c, primary, func(s api.Status) string {
		if r := row(s, lagging.Name); r == nil || r.LagBytes < 70<<20 {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	out, err := order(t, c, primary, "switchover", "-yes", lagging.Name)
	if err == nil || !strings.Contains(out, "behind the primary") {
		t.Errorf("switchover to a node that lags: %v: %s", err, out)
	}
	psql(t, lagging, "SELECT pg_wal_replay_resume()")
	c.KillNode(down)
	out, err = order(t, c, primary, "switchover", "-yes", down.Name)
	if err == nil || !strings.Contains(out, down.Name) {
		t.Errorf("switchover to a node that is down: %v: %s", err, out)
	}
	t.Logf("switchover to a node that is down: %s", strings.TrimSpace(out))
	c.StartAgent(down)
	load.wantMore(t, 20)
	if s := statusOf(t, c, primary); s.Epoch != epoch || s.Handover != "" {
		t.Errorf("epoch %d became %d, handover to %q", epoch, s.Epoch, s.Handover)
	}
}

// slotLost: a standby was away for longer than the primary keeps WAL. It is cloned again by itself.
func slotLost(t *testing.T, c *testcluster.Cluster, _ *inserts) {
	t.Helper()
	primary := c.Primary()
	away := c.Others(primary)[0]
	mustSet(t, c, "max_slot_wal_keep_size", "32MB")
	mustSet(t, c, "wal_keep_size", "0")
	wantRow(t, primary, "SHOW max_slot_wal_keep_size", "32MB")
	wantRow(t, primary, "SHOW wal_keep_size", "0")
	from := psql(t, away, "SELECT pg_last_wal_receive_lsn()")
	c.KillNode(away)
	testcluster.Eventually(t, 60*time.Second, func() error {
		// The other one must keep up: without both nothing is acknowledged before a copy is complete.
		wantRow(t, primary, "SELECT count(*) > 0 FROM pg_stat_replication WHERE pg_current_wal_lsn() - flush_lsn < 4 << 20", "t")
		psql(t, primary, "SELECT count(pg_logical_emit_message(false, 'fill', repeat('x', 1000000))) FROM generate_series(1, 20)")
		psql(t, primary, "SELECT pg_switch_wal()")
		psql(t, primary, "CHECKPOINT")
		there := psql(t, primary, fmt.Sprintf("SELECT count(*) FROM pg_ls_waldir() WHERE name = pg_walfile_name('%s')", from))
		if there != "0" {
			return fmt.Errorf("%s is still kept", from)
		}
		return nil
	})
	c.StartAgent(away)
	wantTold(t, primary, "clone", away.Name, "copies the primary's data")
	wantRow(t, away, "SELECT pg_is_in_recovery(), status FROM pg_stat_wal_receiver", "t|streaming")
}

// foreignServer: a node comes whose data directory is another cluster's, with a server that runs. It stays as it is.
func foreignServer(t *testing.T, c *testcluster.Cluster, _ *inserts) {
	t.Helper()
	h := makeByHand(t, c, "foreign")
	h.start()
	h.psql(t, "CREATE TABLE theirs (n int)")
	before, conf := h.inode(t), h.conf(t)
	x := h.AddManaged(testcluster.Spec{Name: "x", Join: c.Nodes[:3]}, testcluster.PostgresSpec{DataDir: h.dir, Port: h.port})
	pid := postmasterOf(t, x)
	c.StartAgent(x)
	s := wantStatus(t, c, x, func(s api.Status) string {
		if s.WorkerState != api.WorkerError || !strings.Contains(s.WorkerMessage, "another cluster's data (system identifier") {
			return fmt.Sprintf("%s: %s", s.WorkerState, s.WorkerMessage)
		}
		return ""
	})
	if s.Role == api.RolePrimary || s.Role == api.RoleStandby {
		t.Errorf("it is said to be %s", s.Role)
	}
	if h.inode(t) != before || postmasterOf(t, x) != pid || h.psql(t, "SELECT pg_is_in_recovery(), count(*) FROM theirs") != "f|0" {
		t.Error("the other cluster's server was touched")
	}
	if now := h.conf(t); now != conf {
		t.Errorf("its configuration was changed:\n%s\nbefore:\n%s", now, conf)
	}
	c.TerminateAgent(x)
	h.stop()
	if out, err := order(t, c, c.Nodes[0], "force-leave", "x"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	c.Nodes = c.Nodes[:3]
}

// conf is what the server's configuration file holds.
func (h *byHand) conf(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(h.dir, "postgresql.conf"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
