package postgres

import (
	"context"
	"syscall"
	"time"
)

// childGrace is how long the children of a killed postmaster may take to notice, before they are killed too.
const childGrace = 3 * time.Second

// Running reports whether the server's postmaster lives.
func (i *Instance) Running() bool { return i.PID() != 0 }

// PID returns the postmaster's process id, 0 if it is not running.
func (i *Instance) PID() int { return i.pm.PID() }

// Stop stops the server and returns when its processes are gone, or with an error when ctx ends before that; then it
// is still stopping. Stopping one that is not running is no error.
func (i *Instance) Stop(ctx context.Context, mode StopMode) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.PID() == 0 {
		return nil
	}
	return i.pm.Stop(ctx, mode)
}

// Kill ends the postmaster as a crash would and returns when its children are gone too.
func (i *Instance) Kill(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.pm.Kill(ctx, childGrace)
}

// Reload makes the server read its configuration files again.
func (i *Instance) Reload() error { return i.pm.Signal(syscall.SIGHUP) }
