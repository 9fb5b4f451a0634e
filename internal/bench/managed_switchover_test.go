package bench_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// loadClients are pgbench's while the primary moves.
const loadClients = 8

// switchovers move the primary again and again under a load, and report for how long writes stand still.
func switchovers(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	prepareTPCB(b, c)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { keepLoaded(ctx, multiHost(c)) })
	defer wg.Wait()
	defer cancel()
	var gaps []float64
	steps := &stepTimes{}
	rounds := fromEnv(b, envFailovers, failovers)
	for range rounds {
		gaps = append(gaps, milliseconds(switchOver(b, c, steps)))
	}
	b.ReportMetric(0, "ns/op")
	reportGaps(b, fmt.Sprintf("writes stand still in a switchover, median of %d", rounds), gaps, 500, 0)
	steps.print(b)
}

func switchOver(b *testing.B, c *testcluster.Cluster, steps *stepTimes) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	primary := c.Primary()
	since := lastEvent(b, c)
	w := startCommitters(ctx, c)
	w.waitFor(b, time.Now().Add(steadyTime))
	var begun time.Time
	testcluster.Eventually(b, 10*time.Second, func() error { // leadership may be on its way to the primary
		begun = time.Now()
		_, err := newClient(b, primary).Switchover(ctx, "")
		return err
	})
	w.waitFor(b, time.Now().Add(steadyTime))
	cancel()
	w.wg.Wait()
	waitManaged(b, c)
	gap, first := w.longestGap(begun)
	steps.add(eventsSince(b, c, since), begun, first)
	return gap
}

// multiHost is the connection string with which a client finds the primary.
func multiHost(c *testcluster.Cluster) string {
	var hosts []string
	for _, n := range c.Nodes {
		hosts = append(hosts, net.JoinHostPort(n.Postgres.Host, strconv.Itoa(n.Postgres.Port)))
	}
	return "postgresql://postgres@" + strings.Join(hosts, ",") + "/postgres?target_session_attrs=read-write&connect_timeout=2"
}

// keepLoaded runs pgbench, anew whenever it lost its connections.
func keepLoaded(ctx context.Context, target string) {
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, "pgbench", "-n", "-M", "prepared", "-c", strconv.Itoa(loadClients), "-j", "2", "-T", "600", target)
		_ = cmd.Run() // it fails with each switchover
		pause(ctx, 20*time.Millisecond)
	}
}

// prepareTPCB makes pgbench's tables, if they are not there.
func prepareTPCB(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	conn := connect(b, c.Primary())
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('pgbench_accounts') IS NOT NULL").Scan(&there); err != nil {
		b.Fatal(err)
	}
	if there {
		return
	}
	if out, err := exec.CommandContext(ctx, "pgbench", "-i", "-q", "-s", "10", c.Primary().DSN()).CombinedOutput(); err != nil {
		b.Fatalf("pgbench -i: %v: %s", err, out)
	}
}
