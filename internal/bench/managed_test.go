package bench_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// Environment variables that make the benchmarks of managed PostgreSQL shorter, or longer.
const (
	envFailovers = "PGRAFT_BENCH_FAILOVERS" // of each kind, and switchovers
	envRounds    = "PGRAFT_BENCH_ROUNDS"    // of the loads with and without agents
	envCloneMB   = "PGRAFT_BENCH_CLONE_MB"
)

// BenchmarkManaged is a primary with two standbys and the default configuration, but for what PostgreSQL needs to serve
// the loads.
func BenchmarkManaged(b *testing.B) {
	c := testcluster.Custom(b)
	for _, name := range []string{"n1", "n2", "n3"} {
		n := c.AddManaged(testcluster.Spec{Name: name, Expect: 3, Join: c.Nodes}, testcluster.PostgresSpec{Params: `max_connections = "200"`})
		c.EditConfig(n, func(text string) string {
			return strings.Replace(text, `shared_buffers = "16MB"`, `shared_buffers = "256MB"`, 1)
		})
	}
	c.StartAll()
	prepareManaged(b, c)
	b.Run("failover", func(b *testing.B) {
		b.Run("agent-and-postmaster", func(b *testing.B) { managedFailovers(b, c, "agent and postmaster", killNode, 1000, 2000) })
		b.Run("postmaster", func(b *testing.B) { managedFailovers(b, c, "postmaster", killPostmaster, 500, 0) })
	})
	b.Run("switchover", func(b *testing.B) { switchovers(b, c) })
	b.Run("commits", func(b *testing.B) { commits(b, c) })
	b.Run("clone", func(b *testing.B) { clones(b, c) })
}

// fromEnv is a number that may be set for one run.
func fromEnv(b *testing.B, name string, otherwise int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q is no number above 0", name, text)
	}
	return n
}

// prepareManaged waits for the whole cluster and makes the writers' table.
func prepareManaged(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	waitManaged(b, c)
	execute(b, connect(b, c.Primary()), "CREATE TABLE IF NOT EXISTS bench_writes (node text, at timestamptz)")
}

// leadershipTime is how long leadership has to come to a new primary by itself.
const leadershipTime = 4 * time.Second

// waitManaged waits until both standbys stream and count, and has the primary's agent lead, as it does in a cluster that
// is left alone. With one failover after the other pgraft itself is slower and slower to give leadership away.
func waitManaged(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	begun := time.Now()
	testcluster.Eventually(b, time.Minute, func() error {
		for _, n := range c.Nodes {
			s, err := c.Status(n)
			if err != nil {
				return err
			}
			standbys := 0
			for _, other := range s.Nodes {
				if other.Role == "standby" && other.Status == api.NodeAlive {
					standbys++
				}
			}
			if s.PrimaryID != 0 && s.PrimaryID != s.LeaderID && time.Since(begun) > leadershipTime {
				c.Run(n, "operator", "raft", "transfer-leader", c.Primary().Name)
			}
			if s.PrimaryID == 0 || s.PrimaryID != s.LeaderID || standbys < len(c.Nodes)-1 || len(s.Sync.Members) < len(c.Nodes) {
				return fmt.Errorf("%s: primary %d, leader %d, %d standbys, rule %+v", n.Name, s.PrimaryID, s.LeaderID, standbys, s.Sync)
			}
		}
		return nil
	})
}

// startCommitters commit on whichever node is the primary, and remember when they were told that it is done. There is
// one for each node, which keeps its connection from before a promotion.
func startCommitters(ctx context.Context, c *testcluster.Cluster) *writers {
	w := &writers{}
	for _, n := range c.Nodes {
		w.wg.Go(func() {
			for ctx.Err() == nil {
				w.commitOn(ctx, n)
				pause(ctx, writeInterval/2)
			}
		})
	}
	return w
}

// commitOn commits until the connection breaks.
func (w *writers) commitOn(ctx context.Context, n *testcluster.Node) {
	conn, err := n.Connect(ctx)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for ctx.Err() == nil {
		done, err := tryCommit(ctx, conn, n.Name)
		if err != nil {
			return
		}
		if done {
			w.acked(time.Now())
		}
		pause(ctx, writeInterval/2)
	}
}

// tryCommit inserts a row, unless the server is a standby.
func tryCommit(ctx context.Context, conn *pgx.Conn, node string) (done bool, err error) {
	var standby bool
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby); err != nil || standby {
		return false, err
	}
	_, err = conn.Exec(ctx, "INSERT INTO bench_writes VALUES ($1, now())", node)
	return err == nil, err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// killPostmaster ends a node's postmaster, as the lack of memory would.
func killPostmaster(b *testing.B, _ *testcluster.Cluster, n *testcluster.Node) {
	b.Helper()
	if err := syscall.Kill(n.Postmaster(), syscall.SIGKILL); err != nil {
		b.Fatal(err)
	}
}

// killNode ends its agent, too.
func killNode(b *testing.B, c *testcluster.Cluster, n *testcluster.Node) {
	b.Helper()
	killPostmaster(b, c, n)
	c.KillAgent(n)
}
