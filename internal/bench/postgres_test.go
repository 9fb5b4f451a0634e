package bench_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

func connect(b *testing.B, n *testcluster.Node) *pgx.Conn {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, n.DSN())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(b *testing.B, conn *pgx.Conn, sql string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := conn.Exec(ctx, sql); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
}

// functions measures the SQL functions: the share of one call in a block that makes many within the server, and the
// median round trip of a prepared statement from a client.
func functions(b *testing.B, c *testcluster.Cluster) {
	conn := connect(b, c.Others(c.Leader())[0])
	execute(b, conn, "SELECT pgraft_kv_put('bench/sql', 'v')")
	under := map[string]float64{"pgraft_is_leader": 150, "pgraft_get_nodes": 500}
	for _, call := range []string{
		"pgraft_is_leader()", "pgraft_get_leader()", "pgraft_get_term()", "pgraft_get_worker_state()", "pgraft_get_applied_index()",
		"* FROM pgraft_get_cluster_status()", "* FROM pgraft_get_nodes()", "* FROM pgraft_log_get_stats()",
		"pgraft_kv_get('bench/sql')", "pgraft_kv_put('bench/sql', 'v')",
	} {
		name := strings.TrimPrefix(strings.Split(call, "(")[0], "* FROM ")
		b.Run(name, func(b *testing.B) {
			us := perCall(b, conn, call)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(us, "us/call")
			b.ReportMetric(roundTrip(b, conn, "SELECT "+call), "roundtrip-us")
			if want, ok := under[name]; ok {
				report.below(name+"()", want, us, "µs")
			}
		})
	}
}

func perCall(b *testing.B, conn *pgx.Conn, call string) float64 {
	const calls = 50
	loop := fmt.Sprintf("DO $$BEGIN FOR i IN 1..%d LOOP PERFORM %s; END LOOP; END$$", calls, call)
	var all []float64
	for end := time.Now().Add(measureTime / 3); time.Now().Before(end); {
		start := time.Now()
		execute(b, conn, loop)
		all = append(all, float64(time.Since(start).Microseconds())/calls)
	}
	return median(all)
}

func roundTrip(b *testing.B, conn *pgx.Conn, sql string) float64 {
	var all []float64
	for range 200 {
		start := time.Now()
		execute(b, conn, sql)
		all = append(all, float64(time.Since(start).Nanoseconds())/1000)
	}
	return median(all)
}

// apply measures how fast one node's rows catch up: a lock keeps its applier from writing while puts of different keys
// gather, then the lock goes.
func apply(b *testing.B, c *testcluster.Cluster) {
	leader := c.Leader()
	follower := c.Others(leader)[0]
	holder, reader := connect(b, follower), connect(b, follower)
	execute(b, holder, "BEGIN; LOCK TABLE pgraft.meta IN EXCLUSIVE MODE")
	client := newHTTPClient(b)
	var next, count atomic.Int64
	drive(b, 64, measureTime, func(ctx context.Context, _ int) error {
		count.Add(1)
		return send(ctx, client, http.MethodPut, leader.URL(fmt.Sprintf("/v1/kv/bench/apply/%07d", next.Add(1))), value)
	})
	last := status(b, c, leader).Log.CommitIndex
	start := time.Now()
	execute(b, holder, "ROLLBACK")
	waitApplied(b, reader, last)
	rate := float64(count.Load()) / time.Since(start).Seconds()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate, "entries/s")
	report.atLeast("entries applied to PostgreSQL", 20000, rate, "/s")
}

func waitApplied(b *testing.B, conn *pgx.Conn, index uint64) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		applied := appliedIndex(b, conn)
		if applied >= index {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("after a minute the rows are at %d, not at %d", applied, index)
		}
	}
}

func appliedIndex(b *testing.B, conn *pgx.Conn) (index uint64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := conn.QueryRow(ctx, "SELECT applied_index FROM pgraft.meta").Scan(&index); err != nil {
		b.Error(err)
	}
	return index
}

// lagRate is how many puts a second come while the lag is measured.
const lagRate = 2000

// acknowledged is one put: when it was sent, when its answer came, and its place in the log.
type acknowledged struct {
	sent, answered time.Time
	index          uint64
}

// sighting is what a PostgreSQL's rows were current to at a moment.
type sighting struct {
	at    time.Time
	index uint64
}

// lag measures the time from a put's answer, and from its sending, until its row can be read on each node.
func lag(b *testing.B, c *testcluster.Cluster) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	seen := make([][]sighting, len(c.Nodes))
	for i, n := range c.Nodes {
		conn := connect(b, n)
		wg.Go(func() { seen[i] = watchApplied(ctx, b, conn) })
	}
	acks := pacedPuts(b, newClient(b, c.Leader()), 2*measureTime)
	time.Sleep(time.Second)
	stop()
	wg.Wait()
	var fromAnswer, fromSent []time.Duration
	for _, node := range seen {
		for _, a := range acks {
			i, _ := slices.BinarySearchFunc(node, a.index, func(s sighting, index uint64) int { return int(int64(s.index) - int64(index)) })
			if i == len(node) {
				b.Fatalf("entry %d has no row a second after the load", a.index)
			}
			fromAnswer = append(fromAnswer, max(0, node[i].at.Sub(a.answered)))
			fromSent = append(fromSent, node[i].at.Sub(a.sent))
		}
	}
	slices.Sort(fromAnswer)
	slices.Sort(fromSent)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(acks))/(2*measureTime).Seconds(), "puts/s")
	b.ReportMetric(milliseconds(percentile(fromAnswer, 50)), "p50-ms")
	b.ReportMetric(milliseconds(percentile(fromAnswer, 99)), "p99-ms")
	b.ReportMetric(milliseconds(percentile(fromSent, 99)), "sent-p99-ms")
	report.below(fmt.Sprintf("lag from commit to row at %d puts/s, p99", lagRate), 100, milliseconds(percentile(fromAnswer, 99)), "ms")
}

// watchApplied notes each time that the rows have moved on.
func watchApplied(ctx context.Context, b *testing.B, conn *pgx.Conn) []sighting {
	var all []sighting
	for ctx.Err() == nil && !b.Failed() {
		if index := appliedIndex(b, conn); len(all) == 0 || index > all[len(all)-1].index {
			all = append(all, sighting{time.Now(), index})
		}
		time.Sleep(time.Millisecond)
	}
	return all
}

// pacedPuts sends lagRate puts a second, whether or not earlier ones are answered.
func pacedPuts(b *testing.B, client *api.Client, d time.Duration) []acknowledged {
	b.Helper()
	var mu sync.Mutex
	var acks []acknowledged
	var wg sync.WaitGroup
	start := time.Now()
	for i := 0; time.Since(start) < d; i++ {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / lagRate)))
		wg.Go(func() {
			a := acknowledged{sent: time.Now()}
			result, err := client.KVPut(context.Background(), someKey(), value, api.KVPutOptions{})
			if err != nil {
				b.Error(err)
				return
			}
			a.answered, a.index = time.Now(), result.Index
			mu.Lock()
			acks = append(acks, a)
			mu.Unlock()
		})
	}
	wg.Wait()
	return acks
}
