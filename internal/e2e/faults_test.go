package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/internal/testcluster"
)

type kvRow struct {
	value   string
	version int64
}

func readRows(t *testing.T, n *testcluster.Node) (map[string]kvRow, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), n.DSN())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	query, err := conn.Query(t.Context(), "SELECT key, value, version FROM pgraft.kv WHERE key LIKE 'load/%'")
	if err != nil {
		return nil, err
	}
	rows := make(map[string]kvRow)
	var key string
	var row kvRow
	_, err = pgx.ForEachRow(query, []any{&key, &row.value, &row.version}, func() error {
		rows[key] = row
		return nil
	})
	return rows, err
}

// audit makes PostgreSQL itself write down each version of a row that the applier writes, so that one applied twice is
// seen even where the row ends up the same.
const audit = `
CREATE TABLE applied (key text, modify_index bigint);
CREATE FUNCTION note_applied() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO public.applied VALUES (NEW.key, NEW.modify_index); RETURN NEW; END';
CREATE TRIGGER note_applied AFTER INSERT OR UPDATE ON pgraft.kv FOR EACH ROW EXECUTE FUNCTION note_applied()`

// TestKillsUnderLoad kills agents and PostgreSQL servers with SIGKILL, 24 times, while writers go on.
func TestKillsUnderLoad(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{})
	for _, n := range c.Nodes {
		psql(t, n, audit)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	journal, done := writers(ctx, t, c, 8)

	random := rand.New(rand.NewPCG(1, 2))
	for i := range 24 {
		before := journal.count()
		victim := c.Nodes[random.IntN(len(c.Nodes))]
		if i%2 == 0 {
			c.KillAgent(victim)
			c.StartAgent(victim)
		} else {
			c.KillPostgres(victim)
			c.StartPostgres(victim)
		}
		c.Eventually(30*time.Second, func() error {
			if now := journal.count(); now < before+20 {
				return fmt.Errorf("after kill %d of %s: only %d writes were acknowledged", i, victim.Name, now-before)
			}
			return nil
		})
	}
	cancel()
	done.Wait()
	t.Logf("%d writes acknowledged, %d in doubt", len(journal.acked), len(journal.doubt))

	journal.verify(t, c)
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT count(*) FROM (SELECT FROM applied GROUP BY key, modify_index HAVING count(*) > 1) twice", "0")
		wantRow(t, n, "SELECT pgraft_get_worker_state()", "RUNNING")
	}
}

// TestPostgresOutage stops PostgreSQL on one node, then on two: Raft and the key/value store go on, and the rows are
// complete when the servers are back.
func TestPostgresOutage(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{})
	put := func(key string) {
		t.Helper()
		for _, n := range c.Nodes {
			if code, body, _ := call(t, "PUT", n.URL("/v1/kv/load/"+key+n.Name), "v"); code != 200 {
				t.Fatalf("put on %s: %d %s", n.Name, code, body)
			}
		}
	}
	put("all-up/")
	c.StopPostgres(c.Nodes[0])
	put("one-down/")
	c.StopPostgres(c.Nodes[1])
	put("two-down/")
	term := statusOf(t, c, c.Nodes[2]).Term

	down := statusOf(t, c, c.Nodes[0])
	if down.Postgres.Up || down.WorkerState == "RUNNING" || down.Postgres.Error == "" {
		t.Errorf("status of a node without PostgreSQL: up %v, worker %s, error %q", down.Postgres.Up, down.WorkerState, down.Postgres.Error)
	}
	out, err := runPsql(t, fmt.Sprintf("host=%s port=%d", c.Nodes[0].RunDir, c.Nodes[0].ConsolePort), "SHOW NODES")
	if err != nil || !strings.Contains(out, c.Nodes[0].Name) {
		t.Errorf("console without PostgreSQL: %v", err)
	}

	c.StartPostgres(c.Nodes[0])
	c.StartPostgres(c.Nodes[1])
	put("up-again/")
	for _, n := range c.Nodes {
		wantRow(t, n, "SELECT count(*) FROM pgraft.kv WHERE key LIKE 'load/%'", "12")
		wantRow(t, n, "SELECT pgraft_get_worker_state()", "RUNNING")
	}
	if now := statusOf(t, c, c.Nodes[2]).Term; now != term {
		t.Errorf("an outage of PostgreSQL moved Raft from term %d to %d", term, now)
	}
}

// TestFullRestart kills every agent at once and starts them again.
func TestFullRestart(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{})
	if code, body, _ := call(t, "PUT", c.Nodes[0].URL("/v1/kv/kept"), "v"); code != 200 {
		t.Fatalf("put: %d %s", code, body)
	}
	id := statusOf(t, c, c.Nodes[0]).ClusterID
	for _, n := range c.Nodes {
		c.KillAgent(n)
	}
	for i := range c.Nodes {
		c.StartAgent(c.Nodes[len(c.Nodes)-1-i])
	}
	c.Leader()
	for _, n := range c.Nodes {
		c.Eventually(30*time.Second, func() error {
			if code, body, _ := call(t, "GET", n.URL("/v1/kv/kept?raw"), ""); code != 200 || body != "v" {
				return fmt.Errorf("get on %s: %d %s", n.Name, code, body)
			}
			return nil
		})
		if now := statusOf(t, c, n).ClusterID; now != id {
			t.Errorf("cluster id of %s: %s, want %s", n.Name, now, id)
		}
	}
}

// TestGracefulStop checks that SIGTERM hands leadership over and stays a member.
func TestGracefulStop(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{})
	leader := c.Leader()
	c.TerminateAgent(leader)
	next := c.Leader(c.Others(leader)...)
	s := statusOf(t, c, next)
	if len(s.Nodes) != 3 {
		t.Errorf("nodes after SIGTERM of one: %d, want 3", len(s.Nodes))
	}
	wantRow(t, leader, "SELECT pgraft_get_worker_state()", "STOPPED")
	c.StartAgent(leader)
	wantRow(t, leader, "SELECT pgraft_get_worker_state(), pgraft_get_leader() > 0", "RUNNING|t")
}
