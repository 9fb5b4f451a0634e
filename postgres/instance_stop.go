package postgres

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// StopMode is how a server is asked to stop, in PostgreSQL's words.
type StopMode syscall.Signal

// The stop modes.
const (
	// StopSmart waits for all clients to leave.
	StopSmart = StopMode(syscall.SIGTERM)
	// StopFast ends the clients' sessions. It can hang for long with a frozen standby, so give it a deadline.
	StopFast = StopMode(syscall.SIGINT)
	// StopImmediate does not write a checkpoint: the next start recovers from the WAL.
	StopImmediate = StopMode(syscall.SIGQUIT)
)

// childGrace is how long the children of a killed postmaster may take to notice, before they are killed too.
const childGrace = 3 * time.Second

// ErrNotRunning is returned by an operation that needs a running server.
var ErrNotRunning = errors.New("PostgreSQL is not running")

// Running reports whether the server's postmaster lives.
func (i *Instance) Running() bool { return i.PID() != 0 }

// PID returns the postmaster's process id, 0 if it is not running.
func (i *Instance) PID() int {
	lock, err := readLockFile(i.cfg.DataDir)
	if err != nil || !alive(lock.PID) || !worksIn(lock.PID, i.cfg.DataDir) {
		return 0
	}
	return lock.PID
}

// Stop stops the server and returns when its processes are gone, or with an error when ctx ends before that; then it
// is still stopping. Stopping one that is not running is no error.
func (i *Instance) Stop(ctx context.Context, mode StopMode) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	pid := i.PID()
	if pid == 0 {
		return nil
	}
	if err := i.signal(pid, syscall.Signal(mode)); err != nil {
		return err
	}
	return i.waitEmpty(ctx)
}

// Kill ends the postmaster as a crash would and returns when its children are gone too.
func (i *Instance) Kill(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if pid := i.PID(); pid != 0 {
		if err := i.signal(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	grace, cancel := context.WithTimeout(ctx, childGrace)
	defer cancel()
	if i.waitEmpty(grace) == nil {
		return nil
	}
	for _, child := range processesIn(i.cfg.DataDir) {
		if err := i.signal(child, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return i.waitEmpty(ctx)
}

// Reload makes the server read its configuration files again.
func (i *Instance) Reload() error {
	pid := i.PID()
	if pid == 0 {
		return fmt.Errorf("reload PostgreSQL in %s: %w", i.cfg.DataDir, ErrNotRunning)
	}
	return i.signal(pid, syscall.SIGHUP)
}

func (i *Instance) signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to PostgreSQL process %d: %w", sig, pid, err)
	}
	return nil
}

// waitEmpty waits until no process works in the data directory.
func (i *Instance) waitEmpty(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		pids := processesIn(i.cfg.DataDir)
		if len(pids) == 0 && i.PID() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL in %s to end: %w (processes left: %v)", i.cfg.DataDir, ctx.Err(), pids)
		case <-tick.C:
		}
	}
}
