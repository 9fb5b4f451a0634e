package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// byHand is a PostgreSQL that somebody made and runs without pgraft.
type byHand struct {
	*testcluster.Cluster
	dir  string
	port int
}

// makeByHand makes a data directory with settings of its owner's, some of which pgraft must have otherwise.
func makeByHand(t *testing.T, c *testcluster.Cluster, name string) *byHand {
	t.Helper()
	h := &byHand{Cluster: c, dir: c.DataPlace(name), port: testcluster.FreePorts(t, 1)}
	c.MustAsPostgres("initdb", "-D", h.dir, "-A", "trust", "-U", "postgres", "--no-sync", "-k")
	h.write(t, "postgresql.conf", fmt.Sprintf(`
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = '%s'
work_mem = '7MB'
max_connections = 60
wal_level = logical
archive_mode = off
`, h.port, filepath.Dir(h.dir)))
	return h
}

// write adds lines to a file in the data directory.
func (h *byHand) write(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(h.dir, file), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func (h *byHand) start() {
	h.MustAsPostgres("pg_ctl", "-D", h.dir, "-w", "-t", "60", "-l", h.dir+".log", "start")
}

func (h *byHand) stop() { h.MustAsPostgres("pg_ctl", "-D", h.dir, "-w", "-m", "fast", "stop") }

func (h *byHand) psql(t *testing.T, sql string) string {
	t.Helper()
	out, err := runPsql(t, h.dsn(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (h *byHand) dsn() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable", h.port)
}

// node adds a node whose agent is to take this PostgreSQL over, on the port that its clients know.
func (h *byHand) node(name string, expect int) *testcluster.Node {
	return h.AddManaged(testcluster.Spec{Name: name, Expect: expect, Join: append([]*testcluster.Node(nil), h.Nodes...)},
		testcluster.PostgresSpec{DataDir: h.dir, Port: h.port})
}

// inode tells a directory and a file in it from copies of them.
func (h *byHand) inode(t *testing.T) [2]uint64 {
	t.Helper()
	var id [2]uint64
	for i, path := range []string{h.dir, filepath.Join(h.dir, "PG_VERSION")} {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		id[i] = st.Ino
	}
	return id
}

// TestManagedAdoptPrimary gives pgraft one data directory that is there, stopped in one cluster and running in another:
// it stays where it is, keeps its settings but for what pgraft needs, and gets a standby.
func TestManagedAdoptPrimary(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "Stopped", true: "Running"}[running], func(t *testing.T) {
			c := testcluster.Custom(t)
			h := makeByHand(t, c, "old")
			h.start()
			h.psql(t, "CREATE TABLE owners AS SELECT generate_series(1, 1000) n")
			h.psql(t, "ALTER SYSTEM SET port = "+fmt.Sprint(h.port))
			h.psql(t, "ALTER SYSTEM SET maintenance_work_mem = '33MB'")
			if !running {
				h.stop()
			}
			adoptPrimary(t, c, h, running)
		})
	}
}

func adoptPrimary(t *testing.T, c *testcluster.Cluster, h *byHand, running bool) {
	t.Helper()
	before, pid := h.inode(t), 0
	a := h.node("a", 1)
	if running {
		pid = postmasterOf(t, a)
	}
	c.StartAgent(a)
	waitMembersOn(t, c, a, 0, "a")
	if h.inode(t) != before {
		t.Error("the data was copied")
	}
	if running && postmasterOf(t, a) != pid {
		t.Errorf("postmaster %d became %d", pid, postmasterOf(t, a))
	}
	wantRow(t, a, "SELECT count(*) FROM owners", "1000")
	wantRow(t, a, "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN ('max_connections', 'work_mem', 'wal_level', 'maintenance_work_mem')", "33792 60 logical 7168")
	wantTold(t, a, "found", "keeps its data and settings", "changes", "postgresql.auto.conf: removed port", "wal_log_hints", "pg_hba.conf")
	b := c.AddManaged(testcluster.Spec{Name: "b", Join: []*testcluster.Node{a}}, testcluster.PostgresSpec{})
	c.StartAgent(b)
	wantRow(t, b, "SELECT pg_is_in_recovery(), count(*) FROM owners", "t|1000")
	wantRow(t, a, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
	if running {
		// What needs a restart is told, and waits for one.
		wantStatus(t, c, a, func(s api.Status) string {
			if !strings.Contains(fmt.Sprint(s.Postgres.PendingRestart), "wal_log_hints") {
				return fmt.Sprintf("pending restart: %v", s.Postgres.PendingRestart)
			}
			return ""
		})
	}
}

// TestManagedTakeOver has a primary and a standby made by hand adopted as they run, with nothing copied, and an agent
// stopped, killed and started again beside its PostgreSQL, which serves on.
func TestManagedTakeOver(t *testing.T) {
	c := testcluster.Custom(t)
	first := makeByHand(t, c, "first")
	first.start()
	first.psql(t, "CREATE TABLE owners AS SELECT generate_series(1, 1000) n; CREATE ROLE copier LOGIN REPLICATION")
	second := &byHand{Cluster: c, dir: c.DataPlace("second"), port: testcluster.FreePorts(t, 1)}
	c.MustAsPostgres("pg_basebackup", "-R", "-D", second.dir, "-d", first.dsn()+" user=copier application_name=by_hand", "-X", "stream", "-c", "fast", "-C", "-S", "by_hand")
	second.write(t, "postgresql.conf", fmt.Sprintf("port = %d\nunix_socket_directories = '%s'\n", second.port, filepath.Dir(second.dir)))
	second.start()

	hands := []*byHand{first, second}
	var inodes [][2]uint64
	var pids []int
	for i, h := range hands {
		n := h.node([]string{"a", "b"}[i], 3)
		inodes, pids = append(inodes, h.inode(t)), append(pids, postmasterOf(t, n))
	}
	c.Add(testcluster.Spec{Name: "w", Expect: 3, Join: c.Nodes[:2]})
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	waitMembers(t, c, 1, "a", "b")
	a, b := c.Nodes[0], c.Nodes[1]
	for i, h := range hands {
		if h.inode(t) != inodes[i] || postmasterOf(t, c.Nodes[i]) != pids[i] {
			t.Errorf("%s: files %v and postmaster %d became %v and %d", c.Nodes[i].Name, inodes[i], pids[i], h.inode(t), postmasterOf(t, c.Nodes[i]))
		}
	}
	if now := c.Primary(a, b); now != a {
		t.Errorf("%s is primary", now.Name)
	}
	if out := eventText(t, a); strings.Contains(out, " clone ") || strings.Contains(out, " rewind ") {
		t.Errorf("data was copied:\n%s", out)
	}
	wantRow(t, b, "SELECT slot_name FROM pg_stat_wal_receiver", "pgraft_2")
	raw, err := os.ReadFile(filepath.Join(second.dir, "postgresql.auto.conf"))
	if err != nil || strings.Contains(string(raw), "primary_conninfo") {
		t.Errorf("%v, postgresql.auto.conf: %s", err, raw)
	}
	t.Run("AgentsEnd", func(t *testing.T) { c.In(t); agentsEnd(t, c, a, b) })
	t.Run("Failover", func(t *testing.T) {
		c.In(t)
		c.KillNode(a)
		if now := c.Primary(b); now != b {
			t.Errorf("%s is primary", now.Name)
		}
		psql(t, b, "INSERT INTO owners VALUES (1001)")
		c.StartAgent(a)
		wantRow(t, a, "SELECT pg_is_in_recovery(), count(*) FROM owners", "t|1001")
	})
}

// agentsEnd: whatever ends an agent leaves PostgreSQL as it is, and the next agent takes it over.
func agentsEnd(t *testing.T, c *testcluster.Cluster, nodes ...*testcluster.Node) {
	t.Helper()
	for _, n := range nodes {
		pid := postmasterOf(t, n)
		for _, end := range []func(*testcluster.Node){c.TerminateAgent, c.KillAgent} {
			end(n)
			if n == nodes[0] {
				psql(t, n, "INSERT INTO owners SELECT 1 WHERE false; CREATE TABLE again (n int); DROP TABLE again")
			}
			psql(t, n, "SELECT count(*) FROM owners")
			c.StartAgent(n)
			wantStatus(t, c, n, func(s api.Status) string {
				if s.WorkerState != api.WorkerRunning {
					return fmt.Sprintf("%s: %s", s.WorkerState, s.WorkerMessage)
				}
				return ""
			})
		}
		if now := postmasterOf(t, n); now != pid {
			t.Errorf("postmaster of %s was %d and is %d", n.Name, pid, now)
		}
	}
	if epoch := statusOf(t, c, nodes[0]).Epoch; epoch != 1 {
		t.Errorf("epoch %d, want 1", epoch)
	}
}

func eventText(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	events, err := eventsOf(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return eventLines(events)
}

// TestManagedTwoClusters gives one cluster two data directories that have nothing to do with each other: neither is
// touched, and both are named.
func TestManagedTwoClusters(t *testing.T) {
	c := testcluster.Custom(t)
	var ids []string
	for _, name := range []string{"a", "b"} {
		h := makeByHand(t, c, "of-"+name)
		for line := range strings.Lines(c.MustAsPostgres("pg_controldata", "-D", h.dir)) {
			if id, ok := strings.CutPrefix(line, "Database system identifier:"); ok {
				ids = append(ids, strings.TrimSpace(id))
			}
		}
		h.node(name, 2)
	}
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	for _, n := range c.Nodes {
		wantTold(t, n, "refuse", append([]string{"a", "b", "different clusters"}, ids...)...)
		testcluster.Eventually(t, 20*time.Second, func() error {
			out, _ := c.Run(n, "status")
			for _, word := range append([]string{"different clusters"}, ids...) {
				if !strings.Contains(out, word) {
					return fmt.Errorf("pgraft status on %s does not say %q:\n%s", n.Name, word, out)
				}
			}
			return nil
		})
		if left := postmasters(t, n); left != "" {
			t.Errorf("something was started on %s: %s", n.Name, left)
		}
	}
}

func postmasters(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Postgres.DataDir, "postmaster.pid"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	return string(raw)
}
