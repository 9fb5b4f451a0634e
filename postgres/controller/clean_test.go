package controller_test

import (
	"context"
	"testing"
	"time"

	"github.com/pgraft/pgraft/postgres/controller"
)

// slowDisk is a server whose checkpoints take so long, one after the other.
type slowDisk struct {
	controller.Postgres
	each    []time.Duration
	written int
}

func (d *slowDisk) Checkpoint(context.Context) error {
	time.Sleep(d.each[min(d.written, len(d.each)-1)])
	d.written++
	return nil
}

// TestCheckpointsBeforeStop: what became dirty during a long checkpoint is written, too, before clients have to wait.
func TestCheckpointsBeforeStop(t *testing.T) {
	t.Parallel()
	const long = 120 * time.Millisecond
	for _, test := range []struct {
		each []time.Duration
		want int
	}{
		{[]time.Duration{0}, 1},
		{[]time.Duration{long, 0}, 2},
		{[]time.Duration{long}, 3},
	} {
		disk := &slowDisk{each: test.each}
		if err := controller.Clean(t.Context(), disk); err != nil {
			t.Fatal(err)
		}
		if disk.written != test.want {
			t.Errorf("checkpoints that take %v: %d written, want %d", test.each, disk.written, test.want)
		}
	}
}
