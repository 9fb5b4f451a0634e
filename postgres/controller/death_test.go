package controller_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/wal"
)

// death ends what an agent can do at a chosen call: from there on, nothing that it does has an effect.
type death struct {
	mu    sync.Mutex
	point string
	dead  bool
}

var errDead = errors.New("the agent is dead")

func (d *death) arm(point string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.point = point
}

func (d *death) at(point string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = d.dead || point != "" && d.point == point
	if d.dead {
		return errDead
	}
	return nil
}

func (d *death) isDead() bool { return d.at("") != nil }

// around does a call unless the agent is dead, and hides its outcome if it dies with it.
func (d *death) around(call string, do func() error) error {
	if err := d.at("before " + call); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, d.at("after "+call))
}

// mortal is the hands of an agent that can die.
type mortal struct {
	controller.Hands
	*death
}

func (m mortal) Configure(ctx context.Context, s controller.Settings) (changes []string, err error) {
	err = m.around("configure", func() (err error) { changes, err = m.Hands.Configure(ctx, s); return err })
	return changes, err
}

func (m mortal) Start(ctx context.Context) error {
	return m.around("start", func() error { return m.Hands.Start(ctx) })
}

func (m mortal) Stop(ctx context.Context) error {
	return m.around("stop", func() error { return m.Hands.Stop(ctx) })
}

func (m mortal) Reload(ctx context.Context) error {
	return m.around("reload", func() error { return m.Hands.Reload(ctx) })
}

func (m mortal) Standby(on bool) error {
	return m.around("standby", func() error { return m.Hands.Standby(on) })
}

func (m mortal) CutOff(ctx context.Context, s controller.Settings) error {
	return m.around("cut off", func() error { return m.Hands.CutOff(ctx, s) })
}

func (m mortal) Promote(ctx context.Context) (timeline wal.Timeline, at wal.LSN, err error) {
	err = m.around("promote", func() (err error) { timeline, at, err = m.Hands.Promote(ctx); return err })
	return timeline, at, err
}

func (m mortal) Wipe(ctx context.Context) error {
	return m.around("wipe", func() error { return m.Hands.Wipe(ctx) })
}

func (m mortal) Clone(ctx context.Context, conninfo, slot string, progress func(done, total int64)) error {
	return m.around("clone", func() error { return m.Hands.Clone(ctx, conninfo, slot, progress) })
}

func (m mortal) Rewind(ctx context.Context, conninfo string) error {
	return m.around("rewind", func() error { return m.Hands.Rewind(ctx, conninfo) })
}

// mortalRaft is the cluster as an agent sees it that can die.
type mortalRaft struct {
	*raft
	death *death
}

func (r mortalRaft) Propose(ctx context.Context, op primacy.Op) error {
	return r.death.around("propose", func() error { return r.raft.Propose(ctx, op) })
}

// TestDeathOfAgent lets an agent die at many points of a failover and of what follows, and another one go on.
func TestDeathOfAgent(t *testing.T) {
	t.Parallel()
	c := three(t)
	var want []int
	settle := func(point string) {
		t.Helper()
		want = append(want, len(want))
		c.wait("a commit after "+point, func() bool {
			return c.primary().try(2*time.Second, "INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", want[len(want)-1]) == nil
		})
		for _, n := range c.nodes {
			c.wait(n.id+" to have all after "+point, func() bool { return slices.Equal(n.rows(), want) })
			if n != c.primary() {
				c.member(n.id, 1)
			}
		}
	}
	reborn := func(n *node, point string) {
		t.Helper()
		c.wait(n.id+" to die "+point, n.death.isDead)
		n.close()
		n.armed = ""
		n.open()
	}
	for _, point := range []string{"before cut off", "after cut off", "before promote", "after promote"} {
		old := c.primary()
		next := c.nodes[(slices.Index(c.nodes, old)+1)%3]
		next.death.arm(point)
		c.crash(old, next.id)
		reborn(next, point)
		c.ready(next.id)
		old.open()
		settle(point)
	}
	for _, point := range []string{"before rewind", "after rewind", "after configure", "after start"} {
		old := c.primary()
		next := c.nodes[(slices.Index(c.nodes, old)+1)%3]
		c.crash(old, next.id)
		c.ready(next.id)
		old.armed = point
		old.open()
		reborn(old, point)
		settle(point)
	}
	for _, point := range []string{"after wipe", "after clone"} {
		n := c.nodes[(slices.Index(c.nodes, c.primary())+1)%3]
		n.death.arm(point)
		if err := n.ctl.RequestReinit(context.Background()); err != nil {
			t.Fatal(err)
		}
		reborn(n, point)
		settle(point)
	}
}

// crash kills a primary and its agent, and has the epoch ended.
func (c *cluster) crash(old *node, target string) {
	c.t.Helper()
	old.close()
	kill(c.t, old)
	s, _ := c.raft.read()
	c.propose(primacy.FenceOp{Epoch: s.Epoch + 1, Target: target, Reason: old.id + " crashed"})
}

// TestSameTimelineNumber has two servers promoted that do not know of each other, so that both call their timeline 2.
// pg_rewind would take these for one.
func TestSameTimelineNumber(t *testing.T) {
	t.Parallel()
	c := three(t)
	a, b, other := c.node("a"), c.node("b"), c.node("c")
	a.exec("INSERT INTO t VALUES (1)")
	a.close()
	kill(t, a)
	// b is promoted, and dies before anybody has heard of it.
	b.death.arm("after promote")
	c.propose(primacy.FenceOp{Epoch: 2, Target: "b", Reason: "test"})
	c.wait("b to die", b.death.isDead)
	b.close()
	if err := b.try(time.Second, "SET synchronous_commit = local; INSERT INTO t VALUES (99)"); err != nil {
		t.Fatal(err) // b's timeline 2 has what nobody else has
	}
	kill(t, b)
	a.open()
	s, _ := c.raft.read()
	c.propose(primacy.FenceOp{Epoch: s.Epoch + 1, Target: "c", Reason: "test"})
	c.wait("another primary", func() bool { now, _ := c.raft.read(); return now.Phase == primacy.PhaseReady && now.Epoch == 3 })
	p := c.primary()
	c.wait("a commit", func() bool { return p.try(time.Second, "INSERT INTO t VALUES (2) ON CONFLICT DO NOTHING") == nil })
	if tl := p.ctl.Status().Timeline; tl != 2 {
		t.Fatalf("the second promotion made timeline %d: this test shows nothing", tl)
	}
	b.open()
	c.wait("b to follow", func() bool { return b.ctl.View().Streaming && slices.Equal(b.rows(), []int{1, 2}) })
	if !b.hasEvent("clone") {
		t.Error("b was not cloned")
	}
	c.wait("all to follow", func() bool { return slices.Equal(a.rows(), []int{1, 2}) && slices.Equal(other.rows(), []int{1, 2}) })
}
