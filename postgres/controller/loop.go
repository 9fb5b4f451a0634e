package controller

import (
	"context"
	"errors"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
)

// Paces of the loop that are no configuration.
const (
	soonPause = 3 * time.Millisecond
	// repointPause is for a standby that was told to follow a new primary: the cluster waits to hear that it does.
	repointPause = 20 * time.Millisecond
	// patience is how long a PostgreSQL that starts is asked that often: it writes each refusal to its log.
	patience   = time.Second
	firstPause = 20 * time.Millisecond // after a step that failed; doubles
	lastPause  = 5 * time.Second
)

// run is the loop: look, plan, do.
func (c *Controller) run(ctx context.Context) {
	for ctx.Err() == nil {
		in := c.gather(ctx)
		step := plan(in)
		c.publish(&in, step)
		pause := c.pace(&in, step)
		if step.Do != Wait {
			pause = c.after(step, c.perform(ctx, &in, step))
		}
		if pause > 0 {
			c.sleep(ctx, pause)
		}
	}
}

// pace is how long to wait when there is nothing to do.
func (c *Controller) pace(in *Inputs, step Step) time.Duration {
	switch {
	case step.Soon && (in.Live != nil || !in.Running || time.Since(c.memo.pidSince) < patience):
		return soonPause
	case !c.memo.repointed.IsZero() && time.Since(c.memo.streamed) < patience:
		return repointPause
	case in.State.Phase == primacy.PhaseReady && in.State.Handover == "" && in.State.Next == nil && !step.Problem:
		return c.cfg.Idle
	}
	return c.cfg.Busy
}

// after is how long to wait after a step.
func (c *Controller) after(step Step, err error) time.Duration {
	var refusal *primacy.Refusal
	switch {
	case err == nil:
		c.memo.failures, c.memo.problem = 0, ""
		return 0
	case errors.Is(err, context.Canceled):
		return firstPause
	case errors.As(err, &refusal):
		c.logger.Debug("operation refused", "step", step.Do, "error", err)
		c.failed()
		return firstPause
	}
	c.memo.problem = err.Error()
	pause := firstPause << min(c.memo.failures, 8)
	c.failed()
	c.logger.Warn("step failed", "step", step.Do, "why", step.Why, "retry_in", min(pause, lastPause), "error", err)
	return min(pause, lastPause)
}

func (c *Controller) failed() { c.memo.failures++ }

// sleep waits for anything that may change the plan.
func (c *Controller) sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	exited := c.memo.exited
	if c.memo.pid == 0 {
		exited = nil
	}
	select {
	case <-ctx.Done():
	case <-c.memo.changed:
	case <-c.memo.proven:
	case <-exited:
	case <-c.wake:
	case <-timer.C:
	}
}
