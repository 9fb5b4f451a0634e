package fsm

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
)

// The bounds of one transaction of the applier. One log entry is never split, so the last one taken may pass them.
const (
	applierMaxRows  = 2000
	applierMaxBytes = 4 << 20
)

// How long the applier waits before it tries again, and how long single steps may take.
const (
	applierRetryMin    = 100 * time.Millisecond
	applierRetryMax    = 5 * time.Second
	applierStepTimeout = time.Minute      // of a statement or a batch
	applierCloseWait   = time.Second      // for the server to take note of a closed connection
	applierConnectWait = 15 * time.Second // for a connection
)

// ApplierConfig configures an Applier.
type ApplierConfig struct {
	FSM *FSM // required
	// Connect opens a connection of the applier's own to the database that holds schema pgraft. It needs a session: a
	// pooler that hands out a server per transaction won't do. Required.
	Connect func(ctx context.Context) (*pgx.Conn, error)
	// Prepare makes the schema what the applier needs. It is called on each new connection to a writable server that
	// doesn't hold another cluster's rows.
	Prepare func(ctx context.Context, conn *pgx.Conn) error
	// Caught tells whether the store has caught up with the leader. Until then a PostgreSQL that is ahead of the store is
	// taken for one that remembers more of the same history, not for one of another history. Default: it has.
	Caught func() bool
	// NodeName is part of the session's application_name.
	NodeName string
	Logger   hclog.Logger
}

// Applier writes what the store's feed says to the PostgreSQL beside the agent, in log order, with the applied index
// in the transaction that carries the rows. It never holds up the log: whatever PostgreSQL does, the applier retries,
// and its Status says so.
type Applier struct {
	cfg    ApplierConfig
	status applierStatus
	wake   chan struct{} // holds one token; cuts a pause short

	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned
}

// NewApplier returns an Applier that does nothing until Open.
func NewApplier(cfg ApplierConfig) *Applier {
	if cfg.Prepare == nil {
		cfg.Prepare = func(context.Context, *pgx.Conn) error { return nil }
	}
	if cfg.Caught == nil {
		cfg.Caught = func() bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Applier{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Open starts applying.
func (a *Applier) Open() {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel, a.done = cancel, make(chan struct{})
	go a.run(ctx)
}

// Close stops applying and returns when the connection is closed. A transaction that is under way may or may not be
// committed; the next Applier finds out.
func (a *Applier) Close() {
	if a.cancel == nil {
		return
	}
	a.cancel()
	<-a.done
}

// Wake makes the applier try again now, as when PostgreSQL was seen healthy again.
func (a *Applier) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Applier) run(ctx context.Context) {
	defer close(a.done)
	delay := applierRetryMin
	for ctx.Err() == nil {
		before := a.status.successes()
		err := a.runSession(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRoleChanged) {
			continue
		}
		a.report(err)
		if a.status.successes() != before {
			delay = applierRetryMin
		}
		if _, refused := errors.AsType[*RefusedError](err); refused {
			delay = applierRetryMax
		}
		a.pause(ctx, delay)
		delay = min(2*delay, applierRetryMax)
	}
}

// report notes an error in the status and logs it unless it is the one that was logged last.
func (a *Applier) report(err error) {
	if a.status.failed(err) {
		a.cfg.Logger.Warn("PostgreSQL does not follow the log; trying again", "error", err)
	}
}

// pause waits between half and all of d.
func (a *Applier) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-timer.C:
	}
}

// reached notes what the server's rows are current to.
func (a *Applier) reached(p position) {
	a.status.at(p)
	a.cfg.FSM.Feed().Release(p.index)
}

// position is a place in a history: an index alone does not tell two histories apart.
type position struct{ index, term uint64 }
