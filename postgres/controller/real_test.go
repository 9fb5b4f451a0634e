package controller_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
)

// TestFailover walks one cluster through what a cluster goes through.
func TestFailover(t *testing.T) {
	t.Parallel()
	c := three(t)
	a := c.node("a")
	a.exec("INSERT INTO t VALUES (1)")

	// The agents end, and PostgreSQL does not.
	pids := map[string]int{}
	for _, n := range c.nodes {
		pids[n.id] = n.server.PID()
		n.close()
	}
	a.exec("INSERT INTO t VALUES (2)")
	for _, n := range c.nodes {
		n.open()
	}
	for _, n := range c.nodes {
		c.wait(n.id+" to be taken over", func() bool {
			s := n.ctl.Status()
			return s.Epoch == 1 && (s.Role == controller.RolePrimary || s.Role == controller.RoleStandby)
		})
		if pid := n.server.PID(); pid != pids[n.id] {
			t.Errorf("%s: process %d became %d when the agent was restarted", n.id, pids[n.id], pid)
		}
	}

	// The primary's postmaster is killed.
	began := time.Now()
	if err := syscall.Kill(a.server.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.wait("the fence", func() bool { s, _ := c.raft.read(); return s.Epoch == 2 })
	fenced := time.Since(began)
	c.wait("another primary", func() bool { s, _ := c.raft.read(); return s.Phase == primacy.PhaseReady && s.Epoch == 2 })
	ready := time.Since(began)
	first := c.primary()
	c.wait("an acknowledged commit", func() bool { return first.try(time.Second, "INSERT INTO t VALUES (3)") == nil })
	t.Logf("fenced after %s, new primary %s ready after %s, first acknowledged commit after %s", fenced, first.id, ready, time.Since(began))
	c.took()

	// The old one comes back by itself.
	c.wait("a to rejoin", func() bool { return a.ctl.View().Streaming })
	c.wait("a to have all", func() bool { return slices.Equal(a.rows(), []int{1, 2, 3}) })
	if !a.hasEvent("rewind") {
		t.Error("a was not rewound")
	}
	c.member("a", 1)

	// A switchover, back to it, needs no rewind.
	rewinds := 0
	for _, n := range c.nodes {
		n.mu.Lock()
		n.events = nil
		n.mu.Unlock()
	}
	began = time.Now()
	state, _ := c.raft.read()
	c.propose(primacy.HandoverOp{Epoch: state.Epoch, Target: "a"})
	c.wait("a to be primary", func() bool {
		s, _ := c.raft.read()
		return s.Phase == primacy.PhaseReady && s.Primary == "a"
	})
	c.wait("an acknowledged commit", func() bool { return a.try(time.Second, "INSERT INTO t VALUES (4)") == nil })
	t.Logf("switchover: first acknowledged commit after %s", time.Since(began))
	for _, n := range c.nodes {
		if n.id == "a" {
			continue
		}
		c.wait(n.id+" to stream", func() bool { return n.ctl.View().Streaming })
		c.wait(n.id+" to have all", func() bool { return slices.Equal(n.rows(), []int{1, 2, 3, 4}) })
		if n.hasEvent("rewind") || n.hasEvent("clone") {
			rewinds++
		}
	}
	if rewinds > 0 {
		t.Errorf("%d servers were copied to after a switchover", rewinds)
	}
	c.took()
}

// TestLostQuorum isolates the primary: it becomes read-only, and writable again by itself.
func TestLostQuorum(t *testing.T) {
	t.Parallel()
	c := three(t)
	a := c.node("a")
	// A proposal that gets no answer must not keep it from seeing that the quorum is gone.
	a.raft.setHangs(true)
	a.exec("INSERT INTO t VALUES (0)")
	c.wait("a to propose what is acknowledged", a.raft.proposing)
	lost := time.Now()
	a.raft.setAway(true)
	c.wait("a to be read-only", func() bool { return a.ctl.Status().ReadOnly })
	if took := time.Since(lost); took > time.Second {
		t.Errorf("a was read-only %s after it lost the quorum", took)
	}
	a.raft.setHangs(false)
	if err := a.try(time.Second, "INSERT INTO t VALUES (1)"); err == nil {
		t.Error("a is writable without a quorum")
	}
	a.raft.setAway(false)
	c.wait("a to be writable", func() bool { return a.try(time.Second, "INSERT INTO t VALUES (2)") == nil })

	// A new primary is made while it is away. What it wrote alone goes.
	a.raft.setAway(true)
	c.propose(primacy.FenceOp{Epoch: 2, Reason: "test"})
	c.wait("another primary", func() bool {
		s, _ := c.raft.read()
		return s.Phase == primacy.PhaseReady && s.Epoch == 2
	})
	p := c.primary()
	if p == a {
		t.Fatal("the primary that was away was chosen")
	}
	c.wait("an acknowledged commit", func() bool { return p.try(time.Second, "INSERT INTO t VALUES (3)") == nil })
	_ = a.try(500*time.Millisecond, "SET default_transaction_read_only = off; INSERT INTO t VALUES (99)") // waits in vain
	a.raft.setAway(false)
	c.wait("a to rejoin", func() bool { return a.ctl.View().Streaming && slices.Equal(a.rows(), []int{0, 2, 3}) })
	if !a.hasEvent("discarded") {
		t.Error("the history does not tell that a's WAL was thrown away")
	}
}

// TestLostMemory removes a standby's data by hand, then loses the primary: what only these two had must not be lost
// silently.
func TestLostMemory(t *testing.T) {
	t.Parallel()
	c := three(t)
	a, b, other := c.node("a"), c.node("b"), c.node("c")

	// c sees nothing of what follows.
	other.close()
	kill(t, other)
	a.exec("INSERT INTO t VALUES (1)") // on a and b
	before := b.ctl.View().Memory
	b.close()
	kill(t, b)
	a.close()
	kill(t, a)
	if err := b.server.Wipe(context.Background()); err != nil {
		t.Fatal(err)
	}
	other.open()
	b.open()
	c.propose(primacy.FenceOp{Epoch: 2, Reason: "test"})
	c.wait("b to tell of its loss", func() bool {
		s, _ := c.raft.read()
		m, _ := primacy.MemberOf(s.Sync, "b")
		return m.Lost
	})
	c.wait("c to report", func() bool {
		s, _ := c.raft.read()
		_, ok := primacy.ReportOf(s.Reports, "c")
		return ok
	})
	time.Sleep(300 * time.Millisecond)
	if s, _ := c.raft.read(); s.Phase != primacy.PhaseFenced {
		t.Fatalf("in phase %s with primary %s, who lacks an acknowledged commit", s.Phase, s.Primary)
	}

	// a has it, and with it enough have reported.
	a.open()
	c.ready("a")
	c.wait("b to be cloned", func() bool { return slices.Equal(b.rows(), []int{1}) })
	c.wait("c to follow", func() bool { return slices.Equal(other.rows(), []int{1}) })
	if b.ctl.View().Memory == before {
		t.Error("b's new copy has the old one's memory")
	}
}

// TestUpkeep has done to one cluster what operators do, and what may happen to all of it.
func TestUpkeep(t *testing.T) {
	t.Parallel()
	c := three(t)
	reinitAndRestart(t, c)
	restartInPlace(t, c)
	refuseSettings(t, c)
}

// reinitAndRestart does what operators ask for.
func reinitAndRestart(t *testing.T, c *cluster) {
	t.Helper()
	a, b := c.node("a"), c.node("b")
	if err := a.ctl.RequestReinit(context.Background()); err == nil {
		t.Error("the primary agreed to be thrown away")
	}
	before := b.ctl.View().Memory
	if err := b.ctl.RequestReinit(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.wait("b to be another copy", func() bool { v := b.ctl.View(); return v.Memory != before && v.Streaming })
	s, _ := c.raft.read()
	if m, ok := primacy.MemberOf(s.Sync, "b"); !ok || !m.Lost {
		t.Errorf("b's former copy is %+v in the rule", m)
	}
	c.member("b", 1)
	pid := a.server.PID()
	if err := a.ctl.RequestRestart(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.wait("a to be restarted and open", func() bool {
		return a.server.PID() != pid && a.server.PID() != 0 && a.ctl.Status().Role == controller.RolePrimary && !a.ctl.Status().Gated
	})
	a.exec("INSERT INTO t VALUES (1)")
	if s, _ := c.raft.read(); s.Epoch != 1 {
		t.Errorf("a restart made it epoch %d", s.Epoch)
	}
}

// restartInPlace kills everything at once: the primary of before serves again, and only once its WAL is confirmed.
func restartInPlace(t *testing.T, c *cluster) {
	t.Helper()
	for _, n := range c.nodes {
		n.close()
		kill(t, n)
	}
	a := c.node("a")
	a.open()
	c.wait("a to run", func() bool { return a.server.PID() != 0 && a.rows() != nil })
	time.Sleep(300 * time.Millisecond)
	if s := a.ctl.Status(); !s.Gated || s.Role != controller.RoleStarting {
		t.Errorf("a restarted primary lets clients in before its WAL is confirmed: %+v", s)
	}
	c.node("b").open()
	c.wait("a to be open", func() bool { s := a.ctl.Status(); return !s.Gated && s.Role == controller.RolePrimary })
	a.exec("INSERT INTO t VALUES (2)")
	c.node("c").open()
	c.wait("c to follow", func() bool { return slices.Equal(c.node("c").rows(), []int{1, 2}) })
}

// refuseSettings gives the cluster a setting that PostgreSQL does not know. A failover must not depend on it.
func refuseSettings(t *testing.T, c *cluster) {
	t.Helper()
	c.mu.Lock()
	c.settings = map[string]string{"no_such_setting": "1"}
	c.mu.Unlock()
	for _, n := range c.nodes {
		n.ctl.Wake()
		c.wait(n.id+" to complain", func() bool { return n.ctl.Status().Problem != "" })
	}
	c.crash(c.node("a"), "b")
	c.wait("another primary", func() bool { s, _ := c.raft.read(); return s.Phase == primacy.PhaseReady && s.Epoch == 2 })
	c.wait("a commit", func() bool { return c.primary().try(time.Second, "INSERT INTO t VALUES (3)") == nil })
}

// TestAdopt takes over a primary and its standby that pgraft knows nothing of. Nothing is copied.
func TestAdopt(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "a", "b")
	a, b := c.node("a"), c.node("b")
	a.open()
	b.open()
	c.found("a")
	c.wait("b to stream", func() bool { return b.ctl.View().Streaming })
	a.exec("CREATE TABLE t (n int PRIMARY KEY)")
	a.exec("INSERT INTO t VALUES (1)")
	for _, n := range c.nodes {
		n.close()
		if err := os.Remove(filepath.Join(n.agentDir(), "postgres.json")); err != nil {
			t.Fatal(err)
		}
	}
	kill(t, b) // one runs, one does not
	pid := a.server.PID()
	*c.raft = agreement{changed: make(chan struct{})}
	a.open()
	b.open()
	c.wait("a's view", func() bool {
		v := a.ctl.View()
		return v.Data == controller.DataPresent && v.SystemID != "" && !v.Standby
	})
	c.wait("b's view", func() bool { v := b.ctl.View(); return v.Data == controller.DataPresent && v.Standby })
	c.propose(primacy.FoundOp{Epoch: 1, ServerID: "a", Memory: a.ctl.View().Memory, How: primacy.FoundAdopt, Secret: "anders"})
	c.ready("a")
	c.member("b", 1)
	a.exec("INSERT INTO t VALUES (2)")
	c.wait("b to have all", func() bool { return slices.Equal(b.rows(), []int{1, 2}) })
	if a.server.PID() != pid {
		t.Error("the running primary was restarted")
	}
	if b.hasEvent("clone") {
		last := b.events[len(b.events)-1]
		if n := len(slices.DeleteFunc(slices.Clone(b.events), func(e controller.Event) bool { return e.Type != "clone" })); n > 2 {
			t.Errorf("b was cloned again: %s", last.Message)
		}
	}
}

func kill(t *testing.T, n *node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.server.Kill(ctx); err != nil {
		t.Fatal(err)
	}
}
