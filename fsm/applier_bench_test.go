package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

// BenchmarkApplier measures how many entries a second get into a real PostgreSQL, one write of 256 bytes to an entry, and
// as many as there are in a row.
func BenchmarkApplier(b *testing.B) {
	for _, keys := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { benchmarkApplier(b, keys) })
	}
}

func benchmarkApplier(b *testing.B, keys int) {
	b.Helper()
	instance := postgrestest.TempInstance(b, postgrestest.Param("shared_buffers", "128MB"))
	d := target{b, instance.DSN("postgres")}
	h := newHistory(b, "c1")
	a := d.open(h)
	waitApplied(b, a, h)
	value := strings.Repeat("x", 256)
	written := 0
	b.ResetTimer()
	for written < b.N {
		b.StopTimer() // the state machine's own work is not what is measured
		a.Close()
		for range min(b.N-written, fsm.FeedMaxRows/2) {
			h.apply(put(fmt.Sprintf("key/%d", written%keys), value))
			written++
		}
		b.StartTimer()
		a = d.open(h)
		waitApplied(b, a, h)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	assertRows(b, d.session(), h)
}
