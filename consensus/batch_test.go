package consensus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
	"github.com/pgraft/pgraft/fsm"
)

func TestConcurrentProposalsShareEntries(t *testing.T) {
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			var entries, ops, largest atomic.Int64
			c := consensustest.New(t, consensustest.Options{Servers: 1, Configure: func(_ int, cfg *consensus.Config) {
				cfg.MaxBatchDelay, cfg.BatchSize = delay, 10
				cfg.Hooks.Entry = func(n, _ int, _ bool, _ time.Duration) {
					entries.Add(1)
					ops.Add(int64(n))
					for seen := largest.Load(); int64(n) > seen && !largest.CompareAndSwap(seen, int64(n)); {
						seen = largest.Load()
					}
				}
			}})
			const writes = 200
			var wg sync.WaitGroup
			for range writes {
				wg.Go(func() {
					if _, err := c.Node(0).Propose(t.Context(), fsm.Noop{}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			c.Close() // after which all hooks have been called
			if ops.Load() != writes || entries.Load() >= writes || largest.Load() > 10 {
				t.Errorf("%d operations in %d entries of up to %d", ops.Load(), entries.Load(), largest.Load())
			}
		})
	}
}

func TestWhatComesMeanwhileWaitsForCompany(t *testing.T) {
	// Writers that come one by one while no entry lands, and each entry's operations.
	var entries []int
	waiting, flying := 0, 0
	for range 16 {
		waiting++
		if !consensus.Gathers(waiting, flying) {
			entries = append(entries, waiting)
			waiting, flying = 0, flying+waiting
		}
	}
	if want := []int{1, 1, 2, 4, 8}; !slices.Equal(entries, want) {
		t.Errorf("entries of %v, want %v", entries, want)
	}
	if consensus.Gathers(1, 0) {
		t.Error("a write waits though nothing is on its way")
	}
}

// TestLargeWritesDontWait holds the batcher to an entry's bytes as well: many large writes need more than one entry each
// time, however many are on their way.
func TestLargeWritesDontWait(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 1})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := c.Node(0).Propose(t.Context(), fsm.Noop{Data: make([]byte, 200<<10)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestFullQueueIsRejectedAndAWithdrawnWriteIsCertain(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 2, Idle: true, Configure: func(_ int, cfg *consensus.Config) { cfg.MaxQueued = 1 }})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var full atomic.Bool
	wg.Go(func() { // one of these two is in the queue at any time, and the other finds it full
		for ctx.Err() == nil {
			_, err := c.Node(0).Propose(ctx, fsm.Noop{})
			check(t, err, &full)
		}
	})
	c.Eventually(func() error {
		short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err := c.Node(0).Propose(short, fsm.Noop{})
		check(t, err, &full)
		if !full.Load() {
			return errors.New("the queue takes more than its bound")
		}
		return nil
	})
	cancel()
	wg.Wait()
}

// check demands that a write which never left is rejected as such.
func check(t *testing.T, err error, full *atomic.Bool) {
	t.Helper()
	var rejected *consensus.RejectedError
	switch {
	case !errors.As(err, &rejected):
		t.Errorf("a write that never left: %v, want it rejected", err)
	case rejected.Code == api.CodeTooMany:
		full.Store(true)
	case rejected.Code != api.CodeNoLeader:
		t.Errorf("a write that never left: %s, want %s", rejected.Code, api.CodeNoLeader)
	}
}
