package bench_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

const (
	failovers     = 20
	writeInterval = 10 * time.Millisecond // of each of the writers, one per node
	steadyTime    = 300 * time.Millisecond
)

// failover kills the leader's agent again and again and reports the longest time without an acknowledged write.
func failover(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	var gaps []float64
	for range failovers {
		gaps = append(gaps, milliseconds(killLeader(b, c)))
	}
	slices.Sort(gaps)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(gaps[len(gaps)/2], "median-ms")
	b.ReportMetric(gaps[0], "min-ms")
	b.ReportMetric(gaps[len(gaps)-1], "max-ms")
	report.below(fmt.Sprintf("gap after kill -9 of the leader, median of %d", failovers), 1000, gaps[len(gaps)/2], "ms")
}

func killLeader(b *testing.B, c *testcluster.Cluster) time.Duration {
	b.Helper()
	leader := c.Leader()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := startWriters(ctx, b, c)
	w.waitFor(b, time.Now().Add(steadyTime))
	killed := time.Now()
	c.KillAgent(leader)
	w.waitFor(b, killed.Add(steadyTime))
	time.Sleep(steadyTime)
	cancel()
	w.wg.Wait()
	c.StartAgent(leader)
	waitSettled(c)
	gap, _ := w.longestGap(killed)
	return gap
}

// writers write to all nodes and remember when they were told that it is done.
type writers struct {
	wg   sync.WaitGroup
	mu   sync.Mutex // guards acks
	acks []time.Time
}

func startWriters(ctx context.Context, b *testing.B, c *testcluster.Cluster) *writers {
	b.Helper()
	w := &writers{}
	client := newHTTPClient(b)
	for i, n := range c.Nodes {
		w.wg.Go(func() {
			tick := time.NewTicker(writeInterval)
			defer tick.Stop()
			for ctx.Err() == nil {
				if send(ctx, client, http.MethodPut, n.URL(fmt.Sprintf("/v1/kv/bench/failover/%d", i)), value) == nil {
					w.acked(time.Now())
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	return w
}

func (w *writers) acked(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks = append(w.acks, at)
}

// waitFor waits until a write was acknowledged after a moment.
func (w *writers) waitFor(b *testing.B, moment time.Time) {
	b.Helper()
	testcluster.Eventually(b, 30*time.Second, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.acks) == 0 || w.acks[len(w.acks)-1].Before(moment) {
			return fmt.Errorf("no write was acknowledged after %s", moment)
		}
		return nil
	})
}

// longestGap returns the longest time between two acknowledged writes of which the later came after a moment, and when
// it ended.
func (w *writers) longestGap(after time.Time) (longest time.Duration, end time.Time) {
	slices.SortFunc(w.acks, time.Time.Compare)
	for i := 1; i < len(w.acks); i++ {
		if gap := w.acks[i].Sub(w.acks[i-1]); w.acks[i].After(after) && gap > longest {
			longest, end = gap, w.acks[i]
		}
	}
	return longest, end
}

// waitSettled waits until all nodes follow one leader again, with logs that reach equally far.
func waitSettled(c *testcluster.Cluster) {
	c.WaitWhole()
	c.Eventually(30*time.Second, func() error {
		var leaders, indexes []uint64
		for _, n := range c.Nodes {
			s, err := c.Status(n)
			if err != nil {
				return err
			}
			leaders, indexes = append(leaders, uint64(s.LeaderID)), append(indexes, s.Log.AppliedIndex)
		}
		if len(slices.Compact(leaders)) != 1 || slices.Max(indexes)-slices.Min(indexes) > 10 {
			return fmt.Errorf("leaders %v, applied indexes %v", leaders, indexes)
		}
		return nil
	})
}
