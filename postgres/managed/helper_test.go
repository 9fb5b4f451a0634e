package managed_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

var update = flag.Bool("update", false, "write the golden files again")

const timeout = 60 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// must fails the test for an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newConfig describes a small server in a directory that is gone with the test.
func newConfig(t *testing.T) managed.Config {
	t.Helper()
	if _, err := postgres.FindBinDir(""); err != nil {
		t.Skipf("SKIPPED, needs a real PostgreSQL: %v", err)
	}
	// t.TempDir's path is too long for a socket, and closed to the server's user.
	dir, err := os.MkdirTemp("", "pgraft-m-") //nolint:usetesting // see above
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "state"), 0o700))
	return managed.Config{
		DataDir: filepath.Join(dir, "data"), StateDir: filepath.Join(dir, "state"), SocketDir: filepath.Join(dir, "s"),
		LogFile: filepath.Join(dir, "log"), ListenHost: "127.0.0.1", Port: postgrestest.FreePort(t), NoSync: true,
		NodeParams: map[string]string{"shared_buffers": "16MB", "max_connections": "30"},
	}
}

// newServer returns a server that has no data yet. Its processes end with the test.
func newServer(t *testing.T, change ...func(*managed.Config)) (*managed.Server, managed.Config) {
	t.Helper()
	cfg := newConfig(t)
	for _, c := range change {
		c(&cfg)
	}
	return openServer(t, cfg), cfg
}

// openServer returns another Server for a configuration, as an agent started anew has it.
func openServer(t *testing.T, cfg managed.Config) *managed.Server {
	t.Helper()
	server, err := managed.New(cfg)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := server.Kill(ctx); err != nil {
			t.Errorf("end test server: %v", err)
		}
		server.Close()
	})
	return server
}

// dataTemplate holds the data of a new cluster: initdb takes longer than most tests.
var dataTemplate struct {
	sync.Mutex
	dir string
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	_ = os.RemoveAll(dataTemplate.dir)
	os.Exit(code)
}

// newData returns a stopped server with data. All have the same system identifier.
func newData(t *testing.T, change ...func(*managed.Config)) (*managed.Server, managed.Config) {
	t.Helper()
	server, cfg := newServer(t, change...)
	dataTemplate.Lock()
	defer dataTemplate.Unlock()
	if dataTemplate.dir == "" {
		must(t, server.InitDB(testContext(t), managed.InitOptions{}))
		dir, err := os.MkdirTemp("", "pgraft-mt-") //nolint:usetesting // for all tests
		must(t, err)
		must(t, exec.Command("cp", "-a", cfg.DataDir, dir).Run())
		dataTemplate.dir = dir
	} else {
		must(t, exec.Command("cp", "-a", filepath.Join(dataTemplate.dir, "data"), cfg.DataDir).Run())
	}
	return server, cfg
}

// newPrimary returns a running server with data.
func newPrimary(t *testing.T, change ...func(*managed.Config)) (*managed.Server, managed.Config) {
	t.Helper()
	server, cfg := newData(t, change...)
	configure(t, server, managed.Settings{})
	must(t, server.Start(testContext(t)))
	return server, cfg
}

func configure(t *testing.T, server *managed.Server, settings managed.Settings) []string {
	t.Helper()
	changes, err := server.WriteConfig(testContext(t), settings)
	must(t, err)
	return changes
}

func reload(t *testing.T, server *managed.Server) {
	t.Helper()
	must(t, syscall.Kill(server.PID(), syscall.SIGHUP))
}

func connect(t *testing.T, server *managed.Server) *pgx.Conn {
	t.Helper()
	conn, err := server.Connect(testContext(t), "postgres")
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func mustExec(t *testing.T, server *managed.Server, sql string) {
	t.Helper()
	conn, err := server.Connect(testContext(t), "postgres")
	must(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(testContext(t), sql)
	must(t, err)
}

func query(t *testing.T, server *managed.Server, sql string) string {
	t.Helper()
	conn, err := server.Connect(testContext(t), "postgres")
	must(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var value string
	must(t, conn.QueryRow(testContext(t), sql).Scan(&value))
	return value
}

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("wait until %s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// wantProblem checks that err is a Problem whose text has all the words.
func wantProblem(t *testing.T, err error, words ...string) {
	t.Helper()
	var problem *managed.Problem
	if !errors.As(err, &problem) {
		t.Fatalf("got %v, want a problem", err)
	}
	for _, word := range words {
		if !strings.Contains(problem.Error(), word) {
			t.Errorf("problem %q does not say %q", problem, word)
		}
	}
	if problem.Hint == "" {
		t.Errorf("problem %q has no hint", problem)
	}
}

const replicationSecret = "replication's secret"

// allowReplication makes the role that clones and rewinds log in with, and its conninfo.
func allowReplication(t *testing.T, server *managed.Server, appName string) string {
	t.Helper()
	mustExec(t, server, `DO $$ BEGIN
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgraft_replication') THEN
			CREATE ROLE pgraft_replication LOGIN REPLICATION PASSWORD 'replication''s secret';
			GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
				pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO pgraft_replication;
		END IF; END $$`)
	return managed.Conninfo(managed.Target{Host: "127.0.0.1", Port: server.Port(), Secret: replicationSecret, AppName: appName})
}

// newStandby returns a running standby of primary.
func newStandby(t *testing.T, primary *managed.Server, change ...func(*managed.Config)) (*managed.Server, managed.Config) {
	t.Helper()
	server, cfg := newServer(t, change...)
	conninfo := allowReplication(t, primary, "")
	must(t, server.Clone(testContext(t), managed.CloneSource{Conninfo: conninfo}, nil))
	follow(t, server, primary)
	return server, cfg
}

// follow starts server as a standby of primary and waits until it streams.
func follow(t *testing.T, server, primary *managed.Server) {
	t.Helper()
	must(t, server.Standby(true))
	configure(t, server, managed.Settings{PrimaryConninfo: allowReplication(t, primary, "standby")})
	must(t, server.Start(testContext(t)))
	eventually(t, "the standby streams", func() error {
		if status := query(t, server, "SELECT coalesce((SELECT status FROM pg_stat_wal_receiver), '')"); status != "streaming" {
			return errors.New("its receiver's status is " + status)
		}
		return nil
	})
}

// asPostgres runs a command as the user that PostgreSQL runs as.
func asPostgres(t *testing.T, name string, args ...string) string {
	t.Helper()
	owner, err := postgres.FindOwner("postgres")
	must(t, err)
	out, err := owner.Command(testContext(t), "/", name, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}
