package managed_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
)

func TestServerStartStop(t *testing.T) {
	server, cfg := newPrimary(t)
	pid := server.PID()
	must(t, server.Start(testContext(t)))
	if server.PID() != pid || pid == 0 {
		t.Fatalf("pid is %d after a second start, want %d", server.PID(), pid)
	}
	if got := query(t, server, "SELECT current_user::text || current_setting('data_checksums')"); got != "postgreson" {
		t.Errorf("connected as %s", got)
	}
	t.Run("taken over by another agent", func(t *testing.T) {
		other := openServer(t, cfg)
		exited := other.Exited()
		must(t, other.Start(testContext(t)))
		if other.PID() != pid {
			t.Fatalf("the other one sees pid %d, want %d", other.PID(), pid)
		}
		began := time.Now()
		must(t, server.StopQuickly(testContext(t)))
		waitClosed(t, exited, began)
	})
	if err := server.Stop(testContext(t), postgres.StopFast); err != nil {
		t.Errorf("stop a stopped one: %v", err)
	}
	waitClosed(t, server.Exited(), time.Now())
}

// waitClosed checks that a channel is closed, and soon.
func waitClosed(t *testing.T, exited <-chan struct{}, began time.Time) {
	t.Helper()
	select {
	case <-exited:
		t.Logf("told after %v", time.Since(began))
	case <-time.After(5 * time.Second):
		t.Fatal("the postmaster's end was not told")
	}
}

func TestExitedTellsOfAKill(t *testing.T) {
	server, cfg := newPrimary(t)
	adopter := openServer(t, cfg)
	for range 3 {
		channels := []<-chan struct{}{server.Exited(), adopter.Exited(), adopter.Exited()}
		for _, exited := range channels {
			select {
			case <-exited:
				t.Fatal("told of the end of a living one")
			default:
			}
		}
		began := time.Now()
		must(t, syscall.Kill(server.PID(), syscall.SIGKILL))
		for _, exited := range channels {
			waitClosed(t, exited, began)
		}
		if d := time.Since(began); d > 500*time.Millisecond {
			t.Errorf("told after %v", d)
		}
		must(t, server.Start(testContext(t)))
	}
}

func TestExitedEndsWithClose(t *testing.T) {
	server, cfg := newPrimary(t)
	other := openServer(t, cfg)
	exited := other.Exited()
	other.Close()
	if server.PID() == 0 {
		t.Fatal("Close ended the server")
	}
	select {
	case <-exited:
		t.Fatal("Close told of an end")
	default:
	}
}

func TestStopQuicklyEndsTheFrozen(t *testing.T) {
	server, _ := newPrimary(t)
	conn := connect(t, server)
	must(t, syscall.Kill(int(conn.PgConn().PID()), syscall.SIGSTOP))
	must(t, syscall.Kill(server.PID(), syscall.SIGSTOP))
	began := time.Now()
	must(t, server.StopQuickly(testContext(t)))
	if d := time.Since(began); d > 10*time.Second || server.Running() {
		t.Errorf("took %v, running: %v", d, server.Running())
	}
}

func TestStopInterruptsStart(t *testing.T) {
	server, _ := newData(t)
	must(t, server.Standby(true)) // and nobody to stream from, but it is consistent: hold it up otherwise
	configure(t, server, managed.Settings{Cluster: map[string]string{"hot_standby": "off", "restore_command": "sleep 60"}})
	started := make(chan error, 1)
	ctx := testContext(t)
	go func() { started <- server.Start(ctx) }()
	eventually(t, "it is launched", func() error {
		if server.PID() == 0 {
			return errors.New("no pid")
		}
		return nil
	})
	must(t, server.StopQuickly(testContext(t)))
	if err := <-started; err == nil {
		t.Log("it was ready before it was stopped")
	}
}

func TestStartRefuses(t *testing.T) {
	server, cfg := newServer(t)
	if err := server.Start(testContext(t)); !errors.Is(err, managed.ErrNotConfigured) {
		t.Errorf("without data: got %v", err)
	}
	must(t, server.InitDB(testContext(t), managed.InitOptions{}))
	if err := server.Start(testContext(t)); !errors.Is(err, managed.ErrNotConfigured) {
		t.Errorf("without configuration: got %v", err)
	}
	configure(t, server, managed.Settings{})
	t.Run("port in use", func(t *testing.T) {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)))
		must(t, err)
		defer func() { _ = l.Close() }()
		wantProblem(t, server.Start(testContext(t)), "port "+strconv.Itoa(cfg.Port), "in use", "postgres.listen")
	})
	t.Run("unfinished", func(t *testing.T) {
		must(t, os.Mkdir(filepath.Join(cfg.DataDir, "pgraft.new"), 0o700))
		defer func() { _ = os.Remove(filepath.Join(cfg.DataDir, "pgraft.new")) }()
		if err := server.Start(testContext(t)); !errors.Is(err, managed.ErrPartial) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("bad parameter", func(t *testing.T) {
		configure(t, server, managed.Settings{Cluster: map[string]string{"work_mem": "nonsense"}})
		err := server.Start(testContext(t))
		if err == nil || !strings.Contains(err.Error(), `"work_mem"`) {
			t.Errorf("got %v, want the server's own message", err)
		}
	})
}

func TestStartRefusesAnotherServersPort(t *testing.T) {
	_, cfg := newPrimary(t)
	second, _ := newData(t, func(c *managed.Config) { c.Port, c.SocketDir, c.ListenHost = cfg.Port, cfg.SocketDir, "" })
	configure(t, second, managed.Settings{})
	wantProblem(t, second.Start(testContext(t)), "in use")
}

func TestStartGivesUpWaiting(t *testing.T) {
	server, _ := newData(t)
	configure(t, server, managed.Settings{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := server.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	must(t, server.Start(testContext(t))) // whichever of the two launched it
}

func TestNewRefuses(t *testing.T) {
	good := newConfig(t)
	for name, tc := range map[string]struct {
		change func(*managed.Config)
		want   string
	}{
		"no data directory": {func(c *managed.Config) { c.DataDir = "" }, "postgres.data_dir"},
		"no port":           {func(c *managed.Config) { c.Port = 0 }, "port 0"},
		"no socket":         {func(c *managed.Config) { c.SocketDir = "" }, "socket directory"},
		"no programs":       {func(c *managed.Config) { c.BinDir = "/" }, "bin_dir"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			if _, err := managed.New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestNewWantsPgRewind(t *testing.T) {
	cfg := newConfig(t)
	binDir, err := postgres.FindBinDir("")
	must(t, err)
	cfg.BinDir = t.TempDir()
	for _, program := range []string{"postgres", "initdb", "pg_basebackup", "pg_controldata"} {
		must(t, os.Symlink(filepath.Join(binDir, program), filepath.Join(cfg.BinDir, program)))
	}
	_, err = managed.New(cfg)
	wantProblem(t, err, "no program pg_rewind")
}
