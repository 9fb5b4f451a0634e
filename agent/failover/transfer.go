package failover

import (
	"context"
	"sync"
	"time"
)

const (
	// transferDelay is between two attempts to give leadership away, doubled with each up to maxTransferDelay: a primary
	// whose agent can't keep leadership must not get it over and over.
	transferDelay    = 5 * time.Second
	maxTransferDelay = 5 * time.Minute
	transferTimeout  = 10 * time.Second
)

// transferTimes paces attempts to give leadership away, from one leadership of this node to the next.
type transferTimes struct {
	after time.Time // no attempt before
	delay time.Duration
}

func (t *transferTimes) begin(now time.Time) {
	if t.delay == 0 || now.Sub(t.after) > 10*t.delay {
		t.delay = transferDelay
	} else {
		t.delay = min(2*t.delay, maxTransferDelay)
	}
	t.after = now.Add(t.delay)
}

// startTransfer gives leadership away while the loop goes on: it may take as long as an election.
func (w *Watch) startTransfer(ctx context.Context, wg *sync.WaitGroup, d Decision) {
	w.mu.Lock()
	w.transfer.begin(time.Now())
	w.mu.Unlock()
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, transferTimeout)
		defer cancel()
		w.cfg.Logger.Info("giving leadership away", "server_id", d.ServerID, "reason", d.Reason)
		if err := w.cfg.TransferLeadership(ctx, d.ServerID); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Info("leadership stays here for now", "error", err)
		}
	})
}
