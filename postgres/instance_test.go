package postgres_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func mustStart(t *testing.T, instance *postgres.Instance) {
	t.Helper()
	if err := instance.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestInstanceStartStop(t *testing.T) {
	for name, mode := range map[string]postgres.StopMode{
		"smart": postgres.StopSmart, "fast": postgres.StopFast, "immediate": postgres.StopImmediate,
	} {
		t.Run(name, func(t *testing.T) {
			instance := postgrestest.TempInstance(t)
			pid := instance.PID()
			mustStart(t, instance) // once more: takes the running one
			if instance.PID() != pid || pid == 0 {
				t.Fatalf("pid is %d after a second start, want %d", instance.PID(), pid)
			}
			if err := instance.Stop(testContext(t), mode); err != nil {
				t.Fatal(err)
			}
			if instance.Running() {
				t.Fatal("still running after Stop")
			}
			if err := instance.Stop(testContext(t), mode); err != nil {
				t.Fatalf("stop a stopped one: %v", err)
			}
			mustStart(t, instance)
			if got := instance.PID(); got == 0 || got == pid {
				t.Fatalf("pid is %d after a restart, was %d before", got, pid)
			}
		})
	}
}

func TestInstanceRestartsAfterKill(t *testing.T) {
	instance := postgrestest.TempInstance(t)
	for range 3 {
		conn := postgrestest.Connect(t, instance, "postgres") // a child that outlives its postmaster for a moment
		if err := instance.Kill(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(testContext(t)); err == nil {
			t.Fatal("a session outlived Kill")
		}
		mustStart(t, instance)
	}
}

func TestInstanceStartIgnoresLockOfAnotherProcess(t *testing.T) {
	instance := postgrestest.TempInstance(t)
	served, err := postgres.ReadLockFile(instance.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := instance.Stop(testContext(t), postgres.StopFast); err != nil {
		t.Fatal(err)
	}
	owner, err := postgres.FindOwner("postgres")
	if err != nil {
		t.Fatal(err)
	}
	unreaped := owner.Command(t.Context(), instance.Dir(), "true") // PostgreSQL heeds only processes of its own user
	if err := unreaped.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unreaped.Wait() })
	// Our own pid lives, but is no PostgreSQL in this directory; the other one's is dead and unreaped.
	for name, pid := range map[string]int{"pid reused": os.Getpid(), "unreaped": unreaped.Process.Pid} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf("%d\n%s\n%d\n%d\n%s\n", pid, instance.Dir(), time.Now().Unix(), served.Port, served.SocketDir)
			for _, lock := range []string{
				filepath.Join(instance.Dir(), "postmaster.pid"),
				filepath.Join(served.SocketDir, fmt.Sprintf(".s.PGSQL.%d.lock", served.Port)),
			} {
				if err := os.WriteFile(lock, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			mustStart(t, instance)
			if err := instance.Stop(testContext(t), postgres.StopFast); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestInstanceStartFailureShowsServerLog(t *testing.T) {
	instance := postgrestest.StoppedInstance(t, postgrestest.Param("shared_buffers", "nonsense"))
	err := instance.Start(testContext(t))
	if err == nil || !strings.Contains(err.Error(), `"shared_buffers"`) {
		t.Fatalf("start with a bad parameter: got %v, want the server's own message", err)
	}
	if !strings.Contains(err.Error(), "at once: FATAL:  ") {
		t.Errorf("%v: want its fatal error first", err)
	}
}

func TestInstancePasswordIsAskedFor(t *testing.T) {
	instance := postgrestest.TempInstance(t, func(cfg *postgres.Config) { cfg.Password = `it's a \ secret` })
	postgrestest.Connect(t, instance, "postgres")
	conn, err := pgx.Connect(testContext(t), instance.DSN("postgres")+" password=wrong")
	if err == nil {
		_ = conn.Close(testContext(t))
		t.Fatal("logged in with a wrong password")
	}
}

func TestNewRefuses(t *testing.T) {
	cases := []struct {
		name string
		cfg  postgres.Config
		want string
	}{
		{"no data directory", postgres.Config{Port: 5432, Host: "127.0.0.1"}, "no data directory"},
		{"no port", postgres.Config{DataDir: "/x", Host: "127.0.0.1"}, "port 0"},
		{"nowhere to listen", postgres.Config{DataDir: "/x", Port: 5432}, "neither a host"},
		{"open to all", postgres.Config{DataDir: "/x", Port: 5432, Host: "0.0.0.0"}, "anyone could log in"},
		{"bin_dir without programs", postgres.Config{DataDir: "/x", Port: 5432, Host: "::1", BinDir: "/"}, "bin_dir"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := postgres.New(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestFindBinDir(t *testing.T) {
	dir, err := postgres.FindBinDir("")
	if err != nil {
		t.Skipf("SKIPPED, needs a real PostgreSQL: %v", err)
	}
	if got, err := postgres.FindBinDir(dir); err != nil || got != dir {
		t.Fatalf("FindBinDir(%q) = %q, %v", dir, got, err)
	}
}

func TestInstanceIgnoresShellInDataDir(t *testing.T) {
	instance := postgrestest.TempInstance(t)
	shell := exec.Command("sleep", "60")
	shell.Dir = instance.Dir()
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Wait() })
	t.Cleanup(func() { _ = shell.Process.Kill() })
	if err := instance.Kill(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mustStart(t, instance)
	if err := instance.Stop(testContext(t), postgres.StopFast); err != nil {
		t.Fatal(err)
	}
	if err := shell.Process.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("the shell was ended with the server: %v", err)
	}
}

func TestRenderParams(t *testing.T) {
	got := postgres.RenderParams(map[string]string{"b": `it's \d`, "a": "1\n2"})
	if want := "a = '1\\n2'\nb = 'it''s \\\\d'\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
