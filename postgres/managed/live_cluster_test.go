package managed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/postgrestest"
	"github.com/pgraft/pgraft/postgres/wal"
)

// liveMax is the time for what must happen in the end.
const liveMax = 30 * time.Second

// template is a data directory that every server of a test is a copy of, so that they are of one cluster at once.
type template struct {
	dir   string
	bin   string
	owner postgres.Owner
}

func newTemplate(t *testing.T) *template {
	t.Helper()
	bin, err := postgres.FindBinDir("")
	if err != nil {
		t.Skipf("SKIPPED, needs a real PostgreSQL: %v", err)
	}
	owner, err := postgres.FindOwner("postgres")
	if err != nil {
		t.Fatal(err)
	}
	tpl := &template{dir: serverDir(t, owner), bin: bin, owner: owner}
	tpl.run(t, filepath.Join(bin, "initdb"), "-D", tpl.dir+"/data", "-U", "postgres", "-E", "UTF8", "--locale=C",
		"-A", "trust", "-k", "--no-sync", "--wal-segsize=1")
	own, err := os.OpenFile(tpl.dir+"/data/postgresql.conf", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = own.WriteString("include_if_exists = 'pgraft.conf'\n")
	if err := errors.Join(err, own.Close()); err != nil {
		t.Fatal(err)
	}
	return tpl
}

// serverDir is a directory that PostgreSQL's user may enter and whose path is short enough for a socket.
func serverDir(t *testing.T, owner postgres.Owner) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgraft-live-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), owner.Own(dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (tpl *template) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := tpl.owner.Command(t.Context(), "/", program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return string(out)
}

// liveNode is one server of a test.
type liveNode struct {
	*managed.Server
	id       int
	dir      string
	port     int
	pm       postgres.Postmaster
	settings managed.Settings
}

func (tpl *template) node(t *testing.T, id int) *liveNode {
	t.Helper()
	dir := serverDir(t, tpl.owner)
	tpl.run(t, "/bin/cp", "-a", tpl.dir+"/data", dir+"/data")
	n := &liveNode{id: id, dir: dir, port: postgrestest.FreePort(t)}
	n.pm = postgres.Postmaster{BinDir: tpl.bin, DataDir: dir + "/data", LogFile: dir + "/log", Owner: tpl.owner}
	server, err := managed.New(managed.Config{
		BinDir: tpl.bin, DataDir: dir + "/data", LogFile: dir + "/log", SocketDir: dir, ListenHost: "127.0.0.1",
		Port: n.port, Superuser: "postgres", RunAs: "postgres", Logger: hclog.NewNullLogger(),
		NodeParams: map[string]string{
			"fsync": "off", "shared_buffers": "16MB",
			"autovacuum": "off", "log_statement": "all", "max_standby_streaming_delay": "-1", "max_standby_archive_delay": "-1",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Server = server
	t.Cleanup(func() {
		server.Disconnect()
		ctx, cancel := context.WithTimeout(context.Background(), liveMax)
		defer cancel()
		if err := n.pm.Kill(ctx, time.Second); err != nil {
			t.Errorf("end test server: %v", err)
		}
		if log, err := os.ReadFile(dir + "/log"); err == nil && t.Failed() && testing.Verbose() {
			t.Logf("log of server %d:\n%s", id, log)
		}
	})
	return n
}

func (n *liveNode) name() string { return managed.StandbyName(n.id, "m") }

// start writes the settings and starts the server.
func (n *liveNode) start(t *testing.T) {
	t.Helper()
	n.write(t)
	ctx, cancel := context.WithTimeout(t.Context(), liveMax)
	defer cancel()
	pid, exited, err := n.pm.Launch(ctx)
	if err == nil {
		err = n.pm.WaitReady(ctx, pid, exited)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n *liveNode) write(t *testing.T) {
	t.Helper()
	if _, err := n.WriteConfig(t.Context(), n.settings); err != nil {
		t.Fatal(err)
	}
}

func (n *liveNode) reload(t *testing.T) {
	t.Helper()
	n.write(t)
	if err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (n *liveNode) stop(t *testing.T, mode postgres.StopMode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), liveMax)
	defer cancel()
	if err := n.pm.Stop(ctx, mode); err != nil {
		t.Fatal(err)
	}
}

// follow makes the server a standby of another, from its next start or reload on.
func (n *liveNode) follow(t *testing.T, primary *liveNode) {
	t.Helper()
	n.settings.PrimarySlot = managed.SlotName(n.id)
	n.settings.SyncNames = ""
	n.settings.PrimaryConninfo = managed.Conninfo(managed.Target{
		Host: "127.0.0.1", Port: primary.port, Secret: liveSecret, AppName: n.name(),
	})
	signal := filepath.Join(n.dir, "data", "standby.signal")
	if err := errors.Join(os.WriteFile(signal, nil, 0o600), n.pm.Owner.Own(signal)); err != nil {
		t.Fatal(err)
	}
}

func (n *liveNode) conn(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", n.dir, n.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.Close(ctx)
	})
	return conn
}

func (n *liveNode) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := n.conn(t).Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (n *liveNode) observe(t *testing.T) managed.Live {
	t.Helper()
	l, err := n.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// commits tells whether an insert is acknowledged within the time.
func (n *liveNode) commits(t *testing.T, within time.Duration) bool {
	t.Helper()
	conn := n.conn(t)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	_, err := conn.Exec(ctx, "INSERT INTO t VALUES (1)")
	if err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	return err == nil
}

// liveCluster is a primary with standbys, of which one must acknowledge a commit to table t.
type liveCluster struct {
	primary  *liveNode
	standbys []*liveNode
}

func (tpl *template) cluster(t *testing.T, standbys int) *liveCluster {
	t.Helper()
	c := &liveCluster{primary: tpl.node(t, 1)}
	for i := range standbys {
		c.standbys = append(c.standbys, tpl.node(t, i+2))
	}
	c.primary.start(t)
	if err := c.primary.EnsureReplicationRole(t.Context(), liveSecret); err != nil {
		t.Fatal(err)
	}
	if err := c.primary.EnsureSlots(t.Context(), []string{"pgraft_1", "pgraft_2", "pgraft_3"}, false); err != nil {
		t.Fatal(err)
	}
	c.primary.exec(t, "CREATE TABLE t (a int)")
	for _, n := range c.standbys {
		n.follow(t, c.primary)
		n.start(t)
	}
	c.primary.settings.SyncNames = managed.SyncNames(c.names(), 1)
	c.primary.reload(t)
	if err := c.primary.SyncNamesInForce(t.Context(), c.primary.settings.SyncNames, true); err != nil {
		t.Fatal(err)
	}
	c.awaitFlushed(t, standbys)
	return c
}

func (c *liveCluster) names() (names []string) {
	for _, n := range c.standbys {
		names = append(names, n.name())
	}
	return names
}

// awaitFlushed waits until so many standbys have what the primary has, and returns the position.
func (c *liveCluster) awaitFlushed(t *testing.T, standbys int) wal.LSN {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), liveMax)
	defer cancel()
	lsn, err := c.primary.FlushedLSN(ctx)
	if err == nil {
		err = c.primary.WaitFlushed(ctx, c.names(), lsn, standbys)
	}
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// freeze stops processes until the test ends.
func freeze(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	}
}

// soon waits for a condition.
func soon(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(liveMax); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain: %s", liveMax, what)
		}
	}
}

// output runs a program that may fail.
func (tpl *template) output(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	out, err := tpl.owner.Command(t.Context(), "/", filepath.Join(tpl.bin, program), args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err
}
