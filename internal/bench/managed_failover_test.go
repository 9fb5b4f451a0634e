package bench_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// managedFailovers loses the primary again and again, and reports the longest time without an acknowledged commit.
func managedFailovers(b *testing.B, c *testcluster.Cluster, what string, kill killer, middle, longest float64) {
	b.Helper()
	var gaps []float64
	steps := &stepTimes{}
	rounds := fromEnv(b, envFailovers, failovers)
	for range rounds {
		gap := losePrimary(b, c, kill, steps)
		gaps = append(gaps, milliseconds(gap))
	}
	b.ReportMetric(0, "ns/op")
	reportGaps(b, fmt.Sprintf("gap between commits after kill -9 of the primary's %s, median of %d", what, rounds), gaps, middle, longest)
	steps.print(b)
}

// reportGaps reports times of which the median has a target, and the longest has one unless it is 0.
func reportGaps(b *testing.B, name string, gaps []float64, middle, longest float64) {
	b.Helper()
	ms := median(gaps) // which orders them
	b.ReportMetric(ms, "median-ms")
	b.ReportMetric(gaps[0], "min-ms")
	b.ReportMetric(gaps[len(gaps)-1], "max-ms")
	report.below(name, middle, ms, "ms")
	if longest > 0 {
		report.below("… the longest of them", longest, gaps[len(gaps)-1], "ms")
	}
}

// killer takes a primary away.
type killer func(b *testing.B, c *testcluster.Cluster, primary *testcluster.Node)

func losePrimary(b *testing.B, c *testcluster.Cluster, kill killer, steps *stepTimes) time.Duration {
	b.Helper()
	primary := c.Primary()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	since := lastEvent(b, c)
	w := startCommitters(ctx, c)
	w.waitFor(b, time.Now().Add(steadyTime))
	agent := primary.AgentPID
	killed := time.Now()
	kill(b, c, primary)
	w.waitFor(b, killed.Add(steadyTime))
	time.Sleep(steadyTime)
	cancel()
	w.wg.Wait()
	if !isAlive(agent) {
		c.StartAgent(primary)
	}
	waitManaged(b, c)
	gap, first := w.longestGap(killed)
	steps.add(eventsSince(b, c, since), killed, first)
	return gap
}

// lastEvent is the newest event's place in the history.
func lastEvent(b *testing.B, c *testcluster.Cluster) (index uint64) {
	b.Helper()
	for _, e := range eventsSince(b, c, 0) {
		index = max(index, e.Index)
	}
	return index
}

func eventsSince(b *testing.B, c *testcluster.Cluster, index uint64) (events []api.Event) {
	b.Helper()
	testcluster.Eventually(b, 10*time.Second, func() (err error) { // leadership may be on its way to the primary
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		events, _, err = newClient(b, c.Primary()).Events(ctx, api.EventOptions{Since: index})
		return err
	})
	return events
}

// stepTimes are the times of a failover's steps, by the event log.
type stepTimes struct {
	order []string
	times map[string][]float64
}

func (s *stepTimes) note(step string, ms float64) {
	if s.times == nil {
		s.times = make(map[string][]float64)
	}
	if s.times[step] == nil {
		s.order = append(s.order, step)
	}
	s.times[step] = append(s.times[step], ms)
}

// add notes how long each step of one failover took, from the kill to the first commit.
func (s *stepTimes) add(events []api.Event, killed, first time.Time) {
	slices.SortFunc(events, func(a, b api.Event) int { return cmp.Compare(a.Index, b.Index) })
	before := killed
	for _, kind := range []string{"fence", "promote", "ready"} {
		i := slices.IndexFunc(events, func(e api.Event) bool { return e.Type == kind && e.Time.After(killed) })
		if i < 0 {
			continue
		}
		s.note("until "+kind, milliseconds(events[i].Time.Sub(before)))
		before = events[i].Time
	}
	s.note("until first commit", milliseconds(first.Sub(before)))
	for _, e := range events {
		for _, name := range slices.Sorted(maps.Keys(e.Data)) {
			step, ok := strings.CutSuffix(name, "_ms")
			if ms, err := strconv.ParseFloat(e.Data[name], 64); ok && err == nil && e.Time.Before(first.Add(steadyTime)) {
				s.note("  "+e.Type+": "+step, ms)
			}
		}
	}
}

// print writes a table of medians, in lines that benchstat passes over.
func (s *stepTimes) print(b *testing.B) {
	fmt.Printf("\n# %s: where the time went, ms\n# %-28s %8s %8s %8s\n", b.Name(), "step", "median", "min", "max")
	for _, step := range s.order {
		times := slices.Sorted(slices.Values(s.times[step]))
		fmt.Printf("# %-28s %8.1f %8.1f %8.1f\n", step, median(times), times[0], times[len(times)-1])
	}
}

// isAlive reports whether a process is there and not only to be waited for.
func isAlive(pid int) bool {
	fields := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	return len(fields) > 0 && fields[0] != "Z"
}
