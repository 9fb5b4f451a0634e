package failover_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/agent/failover"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

func eyesOn(address string) *failover.Eyes {
	return &failover.Eyes{Address: func(string) string { return address }}
}

// silent listens and never answers.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// answering serves one connection after the other: a byte for the SSLRequest, then a message.
func answering(t *testing.T, first, then string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 256)
			_, _ = conn.Read(buffer)
			_, _ = conn.Write([]byte(first))
			if then != "" {
				_, _ = conn.Read(buffer)
				_, _ = conn.Write([]byte(then))
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}

func message(kind byte, body string) string {
	return string([]byte{kind, 0, 0, 0, byte(len(body) + 4)}) + body
}

func TestPostgresReach(t *testing.T) {
	refused := fmt.Sprintf("127.0.0.1:%d", postgrestest.FreePort(t))
	starting := message('E', "SFATAL\x00VFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00")
	noLine := message('E', "SFATAL\x00C28000\x00Mno pg_hba.conf entry\x00\x00")
	for name, c := range map[string]struct {
		address string
		deep    bool
		want    failover.Reach
	}{
		"no address":              {"", true, failover.ReachUnknown},
		"nobody listens":          {refused, true, failover.ReachRefused},
		"silent":                  {silent(t), true, failover.ReachSilent},
		"silent, light":           {silent(t), false, failover.ReachSilent},
		"starting":                {answering(t, "N", starting), true, failover.ReachStarting},
		"starting, light":         {answering(t, "N", starting), false, failover.ReachAccepting},
		"no line in pg_hba.conf":  {answering(t, "N", noLine), true, failover.ReachAccepting},
		"asks for a password":     {answering(t, "N", message('R', "\x00\x00\x00\x0a")), true, failover.ReachAccepting},
		"gone after the question": {answering(t, "N", ""), true, failover.ReachSilent},
		"can't fork":              {answering(t, "E", ""), true, failover.ReachAccepting},
		"no PostgreSQL":           {answering(t, "H", ""), true, failover.ReachSilent},
		"not TLS after all":       {answering(t, "S", "nonsense"), true, failover.ReachSilent},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			if got := eyesOn(c.address).Postgres(t.Context(), "x", c.deep); got != c.want {
				t.Errorf("reach is %q, want %q", got, c.want)
			}
			if took := time.Since(begin); took > 3*failover.DefaultTimeout {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestRealPostgresReach(t *testing.T) {
	instance := postgrestest.TempInstance(t, postgrestest.NoSync)
	cfg, err := pgx.ParseConfig(instance.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	eyes := eyesOn(net.JoinHostPort("127.0.0.1", strconv.Itoa(int(cfg.Port))))
	until := func(want failover.Reach, deep bool) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for got := eyes.Postgres(t.Context(), "x", deep); got != want; got = eyes.Postgres(t.Context(), "x", deep) {
			if time.Now().After(deadline) {
				t.Fatalf("reach is %q, want %q", got, want)
			}
		}
	}
	conn := postgrestest.Connect(t, instance, "postgres")
	if _, err := conn.Exec(t.Context(), "CREATE ROLE pgraft_replication LOGIN"); err != nil {
		t.Fatal(err)
	}
	until(failover.ReachAccepting, true)
	until(failover.ReachAccepting, false)
	log, err := os.ReadFile(filepath.Join(filepath.Dir(instance.Dir()), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "incomplete startup packet") || strings.Contains(string(log), "FATAL") {
		t.Errorf("looking left traces in the server's log:\n%s", log)
	}

	postmaster := instance.PID()
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(postmaster, syscall.SIGCONT) }) // it may be gone
	until(failover.ReachSilent, true)
	until(failover.ReachSilent, false)
	if err := syscall.Kill(postmaster, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(failover.ReachAccepting, true)

	// A smart shutdown waits for the session and lets nobody else in.
	if err := syscall.Kill(postmaster, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(failover.ReachStarting, true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := instance.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	until(failover.ReachRefused, true)
}

func TestLookByAnother(t *testing.T) {
	c := newCluster(t, nil, "pg1", "pg2", "pg3")
	eyes := c.eyes("pg2")
	look := func() failover.Sight {
		t.Helper()
		sight, err := eyes.Ask(t.Context(), "pg3", "pg1")
		if err != nil {
			t.Fatal(err)
		}
		return sight
	}
	if got := look(); got != (failover.Sight{Agent: failover.ReachAlive, Postgres: failover.ReachAccepting}) {
		t.Errorf("a healthy server is seen as %+v", got)
	}
	c.nodes["pg1"].frozen.Store(true)
	if got := look(); got != (failover.Sight{Agent: failover.ReachSilent, Postgres: failover.ReachSilent}) {
		t.Errorf("a frozen server is seen as %+v", got)
	}
	c.nodes["pg1"].kill()
	begin := time.Now()
	if got := look(); got != (failover.Sight{Agent: failover.ReachRefused, Postgres: failover.ReachRefused}) {
		t.Errorf("a dead server is seen as %+v", got)
	}
	if took := time.Since(begin); took > 100*time.Millisecond {
		t.Errorf("seeing a refusal took %s", took)
	}
}

func TestBadQuestions(t *testing.T) {
	c := newCluster(t, nil, "pg1")
	for _, path := range []string{failover.SeesPath, "/elsewhere"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.nodes["pg1"].agent.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s was answered with %s", path, resp.Status)
		}
	}
}
