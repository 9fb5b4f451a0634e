package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pgraft/pgraft/postgres/managed"
)

// askRefused asks a server that has read its files whether it takes the cluster-wide settings. What it does not take it
// only logs, and the next start would fail for it. New settings are asked about once: a failover must not wait for it.
func (c *Controller) askRefused(ctx context.Context, conf *Conf) error {
	wanted := c.settings(conf).Cluster
	if maps.Equal(wanted, c.memo.taken) {
		return nil
	}
	if err := c.cfg.Postgres.Refused(ctx, slices.Collect(maps.Keys(wanted))); err != nil {
		return err
	}
	c.memo.taken = maps.Clone(wanted)
	return nil
}

// distrust leaves the cluster-wide settings out from now on, until they change, if PostgreSQL may have refused the
// configuration for them: it then takes nothing of it, and neither a fence nor a promotion may depend on that.
func (c *Controller) distrust(conf *Conf, err error) bool {
	var problem *managed.Problem
	if !errors.As(err, &problem) || len(conf.Wanted) == 0 || maps.Equal(c.memo.bad, conf.Wanted) {
		return false
	}
	c.leaveOut(conf, err)
	return true
}

func (c *Controller) leaveOut(conf *Conf, err error) {
	c.logger.Error("leaving the cluster-wide settings out", "error", err)
	c.memo.bad, c.memo.badWhy = maps.Clone(conf.Wanted), "the cluster-wide settings are left out here: "+err.Error()
}

// start starts PostgreSQL with the configuration that was written: without the cluster-wide settings, if it does not
// start with them and does without.
func (c *Controller) start(ctx context.Context, in *Inputs, conf *Conf) error {
	err := c.launch(ctx, in)
	var problem *managed.Problem
	failed := err != nil && ctx.Err() == nil && c.cfg.Postgres.PID() == 0 && c.still(in) == nil
	if !failed || errors.As(err, &problem) || len(conf.Wanted) == 0 || maps.Equal(c.memo.bad, conf.Wanted) {
		return err
	}
	c.leaveOut(conf, err)
	errWithout := c.configure(ctx, conf, false)
	if errWithout == nil {
		errWithout = c.launch(ctx, in)
	}
	if errWithout == nil {
		return nil
	}
	c.memo.bad, c.memo.badWhy, c.memo.inForce = nil, "", nil // they were not why
	return fmt.Errorf("%w; and without the cluster-wide settings: %w", err, errWithout)
}
