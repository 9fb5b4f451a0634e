package managed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgraft/pgraft/postgres"
)

// How long StopQuickly lets each way of stopping last before it takes the next.
const (
	fastGrace      = 2 * time.Second
	immediateGrace = time.Second
	killGrace      = 100 * time.Millisecond
)

// Errors of Start.
var (
	// ErrPartial is returned for a data directory on which InitDB, Clone, Rewind or Wipe has not finished.
	ErrPartial = errors.New("the data directory is unfinished")
	// ErrNotConfigured is returned before WriteConfig has run.
	ErrNotConfigured = errors.New("the configuration is not written")
	// ErrRunning is returned by what needs the server stopped.
	ErrRunning = errors.New("PostgreSQL is running")
)

// Start starts the server, so that it outlives this process, and returns when it takes connections. A running one is
// left as it is. When ctx ends first the server goes on starting, and Stop in all its forms works meanwhile.
func (s *Server) Start(ctx context.Context) error {
	pid, exited, err := s.launch(ctx)
	if err != nil {
		return err
	}
	return s.pm.WaitReady(ctx, pid, exited)
}

// Launch is Start without waiting for connections.
func (s *Server) Launch(ctx context.Context) error {
	_, _, err := s.launch(ctx)
	return err
}

func (s *Server) launch(ctx context.Context) (int, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid := s.PID(); pid != 0 {
		return pid, nil, nil
	}
	// The children of one that died keep its port until they notice, and the data directory.
	if err := s.pm.Kill(ctx, killGrace); err != nil {
		return 0, nil, err
	}
	if err := s.checkStart(); err != nil {
		return 0, nil, fmt.Errorf("start PostgreSQL in %s: %w", s.cfg.DataDir, err)
	}
	if err := s.pm.Owner.MakeDir(filepath.Dir(s.cfg.LogFile), 0o700); err != nil {
		return 0, nil, err
	}
	pid, exited, err := s.pm.Launch(ctx)
	if err == nil {
		s.launched.Store(&launched{pid, exited})
	}
	return pid, exited, err
}

// launched is a postmaster that this process started. It has no lock file at first.
type launched struct {
	pid    int
	exited <-chan struct{}
}

func (s *Server) checkStart() error {
	if s.partial() {
		return ErrPartial
	}
	if err := s.checkConfigured(); err != nil {
		return err
	}
	if err := s.makeSocketDir(); err != nil {
		return err
	}
	return s.checkPort()
}

// checkPort says who else has our port, before PostgreSQL fails for it with less to say.
func (s *Server) checkPort() error {
	for _, host := range strings.Split(s.cfg.ListenHost, ",") {
		host = strings.TrimSpace(host)
		if host == "" {
			continue
		}
		if host == "*" {
			host = ""
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(s.cfg.Port)))
		if err == nil {
			_ = l.Close() // nothing has been accepted
			continue
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return s.portProblem()
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return &Problem{
				What: fmt.Sprintf("%s is no address of this machine", host),
				Hint: "correct the address in postgres.listen",
			}
		}
	}
	lock := filepath.Join(s.cfg.SocketDir, fmt.Sprintf(".s.PGSQL.%d.lock", s.cfg.Port))
	raw, err := os.ReadFile(lock)
	if err != nil {
		return nil
	}
	if other, err := postgres.ParseLockFile(string(raw)); err == nil && postgres.Alive(other.PID) && other.DataDir != s.cfg.DataDir {
		return s.portProblem()
	}
	return nil
}

func (s *Server) portProblem() error {
	return &Problem{
		What: fmt.Sprintf("port %d is in use by another program", s.cfg.Port),
		Hint: fmt.Sprintf("see which with `ss -ltnp sport = :%d` and stop it, if it is another PostgreSQL with its service, "+
			"or set postgres.listen to another port", s.cfg.Port),
	}
}

// PID returns the postmaster's process id, 0 if it is not running, whoever started it.
func (s *Server) PID() int {
	if pid := s.pm.PID(); pid != 0 {
		return pid
	}
	if l := s.launched.Load(); l != nil && !isClosed(l.exited) && postgres.Alive(l.pid) {
		return l.pid
	}
	return 0
}

// Running reports whether the postmaster lives.
func (s *Server) Running() bool { return s.PID() != 0 }

// Stop stops the server and returns when its processes are gone, or with an error when ctx ends before that; then it
// is still stopping. Stopping one that is not running is no error.
func (s *Server) Stop(ctx context.Context, mode postgres.StopMode) error { return s.pm.Stop(ctx, mode) }

// StopQuickly stops the server in a few seconds at most: fast, else immediately, else as Kill does.
func (s *Server) StopQuickly(ctx context.Context) error {
	steps := []struct {
		grace time.Duration
		mode  postgres.StopMode
	}{{fastGrace, postgres.StopFast}, {immediateGrace, postgres.StopImmediate}}
	for _, step := range steps {
		limited, cancel := context.WithTimeout(ctx, step.grace)
		err := s.Stop(limited, step.mode)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		s.log.Warn("PostgreSQL does not stop", "error", err)
	}
	return s.pm.Kill(ctx, killGrace)
}

// Kill ends the postmaster as a crash would and returns when all its processes are gone.
func (s *Server) Kill(ctx context.Context) error { return s.pm.Kill(ctx, killGrace) }
