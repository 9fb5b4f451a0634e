package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// ErrNotRunning is returned by an operation that needs a running server.
var ErrNotRunning = errors.New("PostgreSQL is not running")

// Postmaster is the server process of one data directory, whoever started it. It keeps nothing: what it tells is read
// from the lock file and from the system. The caller keeps two from being started at once.
type Postmaster struct {
	BinDir  string
	DataDir string // absolute
	LogFile string // takes the server's standard error
	Owner   Owner
}

// PID returns the postmaster's process id, 0 if it is not running.
func (p Postmaster) PID() int {
	lock, err := ReadLockFile(p.DataDir)
	if err != nil || !Alive(lock.PID) || !worksIn(lock.PID, p.DataDir) {
		return 0
	}
	return lock.PID
}

// Launch starts the server detached, so that it outlives this process, and returns its process id and a channel that
// is closed when it has ended, at the latest.
func (p Postmaster) Launch(ctx context.Context) (pid int, exited <-chan struct{}, err error) {
	if err := p.clearStaleLock(ctx); err != nil {
		return 0, nil, err
	}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, nil, fmt.Errorf("open server log: %w", err)
	}
	defer func() { _ = log.Close() }() // the server has its own handle
	if err := p.Owner.Own(p.LogFile); err != nil {
		return 0, nil, err
	}
	program := filepath.Join(p.BinDir, "postgres")
	cmd := p.Owner.Command(context.WithoutCancel(ctx), p.DataDir, program, "-D", p.DataDir) // not bound to ctx: it stays
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, nil, fmt.Errorf("start postgres: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // reaps it; how it ended is in the server's log
	}()
	return cmd.Process.Pid, done, nil
}

// WaitReady returns when the postmaster pid takes connections. exited may be nil for one that we are no parent of.
func (p Postmaster) WaitReady(ctx context.Context, pid int, exited <-chan struct{}) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if lock, err := ReadLockFile(p.DataDir); err == nil && lock.PID == pid && lock.Ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL in %s to take connections: %w: %s", p.DataDir, ctx.Err(), p.logEnd(lastLines))
		case <-exited:
			return fmt.Errorf("start PostgreSQL in %s: it ended at once: %s", p.DataDir, p.logEnd(whyItEnded))
		case <-tick.C:
		}
		if exited == nil && !Alive(pid) {
			return fmt.Errorf("wait for PostgreSQL in %s: it ended: %s", p.DataDir, p.logEnd(whyItEnded))
		}
	}
}

// clearStaleLock removes the lock files of a postmaster that has ended, the data directory's and the socket's, once no
// child of it works in the directory any more. PostgreSQL would do so by itself, but not while the dead one is unreaped
// or its pid belongs to another process.
func (p Postmaster) clearStaleLock(ctx context.Context) error {
	lock, err := ReadLockFile(p.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && Alive(lock.PID) && worksIn(lock.PID, p.DataDir) {
		return fmt.Errorf("start PostgreSQL in %s: process %d holds its lock", p.DataDir, lock.PID)
	}
	if err := p.waitEmpty(ctx); err != nil {
		return err
	}
	if lock.SocketDir != "" { // first: the data directory's lock says where it is
		if err := p.removeSocketLock(lock); err != nil {
			return err
		}
	}
	return removeLock(filepath.Join(p.DataDir, "postmaster.pid"))
}

// removeSocketLock removes the lock file that the ended postmaster left beside its socket.
func (p Postmaster) removeSocketLock(ended LockFile) error {
	path := filepath.Join(ended.SocketDir, fmt.Sprintf(".s.PGSQL.%d.lock", ended.Port))
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read socket's lock file: %w", err)
	}
	lock, err := ParseLockFile(string(text))
	if err != nil || lock.PID != ended.PID || lock.DataDir != ended.DataDir {
		return nil // another server's: PostgreSQL says what is wrong with it
	}
	return removeLock(path)
}

func removeLock(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale lock file: %w", err)
	}
	return nil
}

// Signal sends sig to the postmaster; it returns ErrNotRunning where there is none.
func (p Postmaster) Signal(sig syscall.Signal) error {
	pid := p.PID()
	if pid == 0 {
		return fmt.Errorf("send %s to PostgreSQL in %s: %w", sig, p.DataDir, ErrNotRunning)
	}
	return signal(pid, sig)
}

// Stop stops the server and returns when its processes are gone, or with an error when ctx ends before that; then it
// is still stopping. Stopping one that is not running is no error.
func (p Postmaster) Stop(ctx context.Context, mode StopMode) error {
	return p.waitEmptyAfter(ctx, func(pid int) error { return signal(pid, syscall.Signal(mode)) })
}

// Kill ends the postmaster as a crash would and returns when its children are gone too. Those that have not left by
// themselves after childGrace are killed.
func (p Postmaster) Kill(ctx context.Context, childGrace time.Duration) error {
	if pid := p.PID(); pid != 0 {
		if err := signal(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	grace, cancel := context.WithTimeout(ctx, childGrace)
	defer cancel()
	if p.waitEmpty(grace) == nil {
		return nil
	}
	for _, child := range processesIn(p.DataDir) {
		if err := signal(child, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return p.waitEmpty(ctx)
}

func signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to PostgreSQL process %d: %w", sig, pid, err)
	}
	return nil
}

// waitEmpty waits until no server process works in the data directory.
func (p Postmaster) waitEmpty(ctx context.Context) error {
	return p.waitEmptyAfter(ctx, func(int) error { return nil })
}

// waitEmptyAfter does end to the postmaster and waits until no server process works in the data directory. One that is
// just starting has no lock file at first, and gets its end when it has one.
func (p Postmaster) waitEmptyAfter(ctx context.Context, end func(pid int) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	ended := 0
	for {
		pid := p.PID()
		if pid == 0 && len(processesIn(p.DataDir)) == 0 { // in this order: the second looks at every process
			return nil
		}
		if pid != 0 && pid != ended {
			if err := end(pid); err != nil {
				return err
			}
			ended = pid
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL in %s to end: %w (processes left: %v)", p.DataDir, ctx.Err(), processesIn(p.DataDir))
		case <-tick.C:
		}
	}
}

// logEnd returns what pick finds in the last part of the server's log, for an error message.
func (p Postmaster) logEnd(pick func(log []byte) string) string {
	const tail = 4096
	f, err := os.Open(p.LogFile)
	if err != nil {
		return "no server log: " + err.Error()
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return "no server log: " + err.Error()
	}
	buf := make([]byte, min(tail, info.Size()))
	n, _ := f.ReadAt(buf, info.Size()-int64(len(buf))) // what could be read is shown
	return fmt.Sprintf("%s (%s)", pick(buf[:n]), p.LogFile)
}

// logLines is how many lines of a log an error message shows.
const logLines = 5

func lastLines(log []byte) string { return LastLines(log, logLines) }

// whyItEnded picks what the log of a server that ended says of that: its last fatal error and what is said after it, then
// what came just before, which can be the cause; without such an error the last lines.
func whyItEnded(log []byte) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], "starting PostgreSQL") {
			lines = lines[i+1:]
			break
		}
	}
	for i := len(lines) - 1; i >= 0; i-- {
		for _, severity := range []string{"FATAL:  ", "PANIC:  "} {
			if _, words, ok := strings.Cut(lines[i], severity); ok {
				lines = slices.Concat([]string{severity + words}, lines[i+1:], lines[max(0, i-2):i])
				return strings.Join(lines[:min(len(lines), logLines)], " | ")
			}
		}
	}
	return lastLines(log)
}
