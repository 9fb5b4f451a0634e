package failover_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// founded is a cluster with pg1 as primary, whose agent leads and has just ended.
func founded(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, nil, "pg1", "pg2", "pg3")
	_, stop := c.lead("pg1")
	if s := c.ready("pg1", 3); s.Sync.Acks != 1 {
		t.Fatalf("rule is %+v, want one acknowledgement", s.Sync)
	}
	stop()
	return c
}

func TestFailoverAfterDeath(t *testing.T) {
	c := founded(t)
	c.nodes["pg1"].kill()
	begin := time.Now()
	c.lead("pg2")
	c.until("fence", func(s primacy.State) bool { return s.Epoch == 2 })
	if took := time.Since(begin); took > 200*time.Millisecond { // 50 ms on a quiet machine without the race detector
		t.Errorf("the fence came after %s", took)
	} else {
		t.Logf("the fence came after %s", took)
	}
	c.until("new primary", func(s primacy.State) bool { return s.Phase == primacy.PhaseReady && s.Primary == "pg2" })
}

func TestFailoverAfterSilence(t *testing.T) {
	c := founded(t)
	c.nodes["pg1"].frozen.Store(true)
	begin := time.Now()
	c.lead("pg2")
	c.until("fence", func(s primacy.State) bool { return s.Epoch == 2 })
	if took := time.Since(begin); took < c.timing.Silent || took > 3*c.timing.Silent {
		t.Errorf("the fence came after %s, silence counts after %s", took, c.timing.Silent)
	}
}

func TestNoFailoverWhilePostgresAnswers(t *testing.T) {
	c := founded(t)
	c.nodes["pg1"].killAgent()
	w, _ := c.lead("pg2")
	for d := range c.notes {
		if strings.Contains(d.Reason, "its PostgreSQL answers: no failover") {
			break
		}
	}
	time.Sleep(2 * c.timing.Silent)
	if c.agreed.fences() != 0 {
		t.Error("a primary whose PostgreSQL answers was fenced")
	}
	if len(w.Waiting()) == 0 {
		t.Error("nothing says why there is no failover")
	}
}

func TestNoFailoverForBriefSilence(t *testing.T) {
	c := founded(t)
	c.nodes["pg1"].frozen.Store(true)
	c.lead("pg2")
	time.Sleep(c.timing.Silent / 2)
	c.nodes["pg1"].frozen.Store(false)
	time.Sleep(2 * c.timing.Silent)
	if c.agreed.fences() != 0 {
		t.Error("a primary that was silent for a moment was fenced")
	}
}

func TestFailoverWhenTheAgentSaysSo(t *testing.T) {
	c := founded(t)
	w, _ := c.lead("pg2")
	time.Sleep(100 * time.Millisecond) // all is well
	p := c.nodes["pg1"]
	p.set(func() { p.running, p.slow = false, true })
	p.pg.Close()
	begin := time.Now()
	w.Poke()
	c.until("fence", func(s primacy.State) bool { return s.Epoch == 2 })
	t.Logf("the fence came after %s", time.Since(begin))
}

func TestChosenDiesBeforeReady(t *testing.T) {
	c := founded(t)
	second := c.nodes["pg2"]
	second.set(func() { second.stuck = true })
	c.lead("pg3")
	// The former primary stays, so that enough can be counted again.
	if err := c.agreed.propose(t.Context(), primacy.FenceOp{Epoch: 2, Target: "pg2", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	c.until("choice", func(s primacy.State) bool { return s.Phase == primacy.PhasePromoting && s.Primary == "pg2" })
	second.kill()
	s := c.until("next primary", func(s primacy.State) bool { return s.Phase == primacy.PhaseReady && s.Primary != "pg2" })
	if s.Epoch != 3 {
		t.Errorf("epoch is %d, want 3", s.Epoch)
	}
}

func TestTooFewToCount(t *testing.T) {
	c := founded(t)
	c.nodes["pg1"].kill()
	third := c.nodes["pg3"]
	third.set(func() { third.memory = "another" })
	c.lead("pg2")
	for d := range c.notes {
		if strings.Contains(d.Reason, "name-pg3: its data is another copy") {
			break
		}
	}
	if c.agreed.fences() != 0 {
		t.Error("fenced though too few can be counted")
	}
}

func TestShrinkWithWitness(t *testing.T) {
	c := newCluster(t, map[string]bool{"pg3": true}, "pg1", "pg2", "pg3")
	c.lead("pg1")
	c.ready("pg1", 2)
	second := c.nodes["pg2"]
	second.set(func() { second.streams = false })
	c.until("shrink", func(s primacy.State) bool { return len(s.Sync.Members) == 1 && s.Sync.Acks == 0 })
	second.set(func() { second.streams = true })
	c.ready("pg1", 2)
}

func TestLeadershipFollowsThePrimary(t *testing.T) {
	c := founded(t)
	c.lead("pg2")
	if to := <-c.moved; to != "pg1" {
		t.Fatalf("leadership was given to %s", to)
	}
	time.Sleep(time.Second)
	select {
	case to := <-c.moved:
		t.Errorf("leadership was given to %s again at once", to)
	default:
	}
}

func TestSwitchover(t *testing.T) {
	c := founded(t)
	w, _ := c.lead("pg1")
	if err := w.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	outcome, err := w.Switchover(t.Context(), "pg3")
	if err != nil || outcome.ServerID != "pg3" || outcome.Name != "name-pg3" || outcome.Epoch != 2 {
		t.Fatalf("outcome %+v, %v", outcome, err)
	}
	c.ready("pg3", 3)
	second := c.nodes["pg2"]
	second.set(func() { second.priority = 200 })
	if outcome, err := w.Switchover(t.Context(), ""); err != nil || outcome.ServerID != "pg2" {
		t.Fatalf("outcome %+v, %v", outcome, err)
	}
	if err := w.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSwitchoverRefusals(t *testing.T) {
	c := newCluster(t, map[string]bool{"pg4": true}, "pg1", "pg2", "pg3", "pg4", "pg5")
	c.listed[4].Voter, c.listed[4].NonVoting = false, true
	w, _ := c.lead("pg1")
	c.ready("pg1", 3)
	third := c.nodes["pg3"]
	third.set(func() { third.streams = false })
	c.nodes["pg2"].kill()
	for target, want := range map[string]string{
		"pg1": "primary already", "pg2": "its agent is down", "pg3": "does not stream", "pg4": "witness", "pg5": "no vote", "pg9": "no server",
	} {
		_, err := w.Switchover(t.Context(), target)
		var failure *api.Error
		if err == nil || !strings.Contains(err.Error(), want) || !asError(err, &failure) {
			t.Errorf("switchover to %s: %v, want %q", target, err, want)
		}
	}
	if _, err := w.Switchover(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "no server can take over") {
		t.Errorf("switchover to the best: %v", err)
	}
}

func TestSwitchoverTimesOut(t *testing.T) {
	c := founded(t)
	p := c.nodes["pg1"]
	w, _ := c.lead("pg1")
	p.set(func() { p.slow = true })
	_, err := w.Switchover(t.Context(), "pg2")
	if err == nil || !strings.Contains(err.Error(), "took longer than") {
		t.Fatalf("switchover: %v", err)
	}
	if s := c.agreed.get(nil); s.Handover != "" || s.Primary != "pg1" || s.Epoch != 1 {
		t.Errorf("state is %+v", s)
	}
}

func TestOperatorsFailover(t *testing.T) {
	c := founded(t)
	w, _ := c.lead("pg1")
	outcome, err := w.Failover(t.Context(), "pg3", false)
	if err != nil || outcome.ServerID != "pg3" || outcome.Warning != "" {
		t.Fatalf("outcome %+v, %v", outcome, err)
	}
}

func TestFailoverWithDataLoss(t *testing.T) {
	c := founded(t)
	c.nodes["pg1"].kill()
	c.nodes["pg3"].kill()
	w, _ := c.lead("pg2")
	_, err := w.Failover(t.Context(), "", false)
	if err == nil || !strings.Contains(err.Error(), "name-pg3: its agent is down") || !strings.Contains(err.Error(), "-allow-data-loss") {
		t.Fatalf("failover: %v", err)
	}
	outcome, err := w.Failover(t.Context(), "", true)
	if err != nil || outcome.ServerID != "pg2" || !strings.Contains(outcome.Warning, "may be lost") {
		t.Fatalf("outcome %+v, %v", outcome, err)
	}
	t.Log(outcome.Warning)
}

func TestReinit(t *testing.T) {
	c := founded(t)
	w, _ := c.lead("pg1")
	if err := w.Reinit(t.Context(), "pg1"); err == nil || !strings.Contains(err.Error(), "it is the primary") {
		t.Errorf("reinit of the primary: %v", err)
	}
	if err := w.Reinit(t.Context(), "pg3"); err != nil {
		t.Fatal(err)
	}
	if orders := c.nodes["pg3"].took(); len(orders) != 1 || orders[0].Kind != "reinit" {
		t.Errorf("orders are %+v", orders)
	}
	left := false
	for _, op := range c.agreed.ops {
		if next, ok := op.(primacy.NextOp); ok && len(next.Next.Members) == 2 {
			left = true
		}
	}
	if !left {
		t.Error("the server was told to throw its data away while it was a member")
	}
}

func TestNotLeading(t *testing.T) {
	c := founded(t)
	w, stop := c.lead("pg2")
	stop()
	if _, err := w.Switchover(t.Context(), ""); !api.IsCode(err, api.CodeNotLeader) {
		t.Errorf("switchover without leadership: %v", err)
	}
	if w.Waiting() != nil {
		t.Error("a node that does not lead says why it waits")
	}
}

func asError(err error, target **api.Error) bool { return errors.As(err, target) }
