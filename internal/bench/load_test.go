package bench_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How long one measurement takes, and how long the load runs before it.
const (
	measureTime = 3 * time.Second
	warmUpTime  = 500 * time.Millisecond
)

// value is what every put writes: 256 bytes, as in the figures that we compare with.
var value = []byte(strings.Repeat("0123456789abcdef", 16))

// someKey names one of the keys that the load writes and reads.
func someKey() string { return fmt.Sprintf("bench/%05d", rand.N(10000)) }

// outcome is what a load has made.
type outcome struct {
	calls   int // that were measured
	all     int // with those of the warm-up
	elapsed time.Duration
	took    []time.Duration // of each call, in order
}

func (o *outcome) rate() float64 { return float64(o.calls) / o.elapsed.Seconds() }

// drive calls from a number of clients, each of which waits for its answer before it asks again. What was asked in the
// warm-up doesn't count. A call that fails fails the benchmark.
func drive(b *testing.B, clients int, d time.Duration, call func(ctx context.Context, client int) error) *outcome {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute+d)
	defer cancel()
	var failure atomic.Pointer[error]
	var all atomic.Int64
	parts := make([][]time.Duration, clients)
	start := time.Now().Add(warmUpTime)
	end := start.Add(d)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for failure.Load() == nil {
				before := time.Now()
				if before.After(end) {
					return
				}
				if err := call(ctx, i); err != nil {
					failure.CompareAndSwap(nil, &err)
					return
				}
				all.Add(1)
				if after := time.Now(); before.After(start) && after.Before(end) {
					parts[i] = append(parts[i], after.Sub(before))
				}
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		b.Fatalf("%d clients: %v", clients, *err)
	}
	o := &outcome{took: slices.Concat(parts...), elapsed: d}
	o.calls, o.all = len(o.took), int(all.Load())
	slices.Sort(o.took)
	return o
}

// metrics reports a load's rate and percentiles.
func (o *outcome) metrics(b *testing.B, unit string) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // the time of the benchmark is its own choice
	b.ReportMetric(o.rate(), unit)
	b.ReportMetric(milliseconds(percentile(o.took, 50)), "p50-ms")
	b.ReportMetric(milliseconds(percentile(o.took, 99)), "p99-ms")
}

// percentile returns a value of an ordered list.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}
