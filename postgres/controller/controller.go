package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

// Config is what a Controller needs. All fields but those with a default are required.
type Config struct {
	ServerID string
	NodeID   int
	DataDir  string // the agent's: the record is in it
	Postgres Postgres
	Raft     Raft
	Registry Registry
	// TLS is how to reach the primary, nil = without.
	TLS *managed.ClientTLS
	// Settings returns the cluster-wide PostgreSQL parameters; nil = none. Wake tells of a change.
	Settings func() map[string]string
	// Room returns how many bytes PostgreSQL can still write; nil = nobody knows.
	Room func() (int64, error)
	// TLSReplaced tells whether PostgreSQL must be given new certificates; nil = never.
	TLSReplaced func() bool
	// CanFailover tells whether enough members look alive to fail over to; nil = never. It must not block.
	CanFailover func() bool
	// OnEvent is called from the loop and must not block; nil = nobody listens.
	OnEvent func(Event)
	// Paces of the loop: how often it looks while something is going on, and while nothing is. Defaults 100 and 250 ms.
	Busy, Idle time.Duration
	Logger     hclog.Logger // default: none
}

// Controller drives one PostgreSQL. Its exported methods may be called from any goroutine.
type Controller struct {
	cfg    Config
	logger hclog.Logger
	wake   chan struct{} // holds one
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	memo memo // of the loop: no other goroutine touches it

	mu     sync.Mutex // guards what follows; held for copying only
	status Status
	view   View
	asked  Asked
	stale  bool // the configuration is to be written again
	gone   goneCheck
}

// memo is what the loop remembers from one step to the next. All of it may be forgotten: the next agent begins without.
type memo struct {
	local     Local
	state     primacy.State
	changed   <-chan struct{} // closed when state is outdated
	proven    <-chan struct{}
	since     time.Time // state has been in its epoch and phase
	proofAt   time.Time
	pid       int
	exited    <-chan struct{}
	files     Files
	filesFor  int // pid that files were read for, -1 = read them again
	filesAt   time.Time
	inForce   *Conf
	cut       *Cut
	ended     *Cut // of a standby that was stopped while it was cut off; until something writes to its files again
	led       bool // the running postmaster was seen as this epoch's primary
	died      bool
	tries     int // to fence after it died
	starting  wal.LSN
	barrier   *Barrier
	acked     wal.LSN
	ackedAt   time.Time
	seen      wal.LSN // the latest position seen live
	timeline  wal.Timeline
	pidSince  time.Time
	bad       map[string]string // cluster-wide settings that PostgreSQL does not take, and why
	badWhy    string
	taken     map[string]string // cluster-wide settings that PostgreSQL was seen to take
	noPromise bool
	changes   []string  // of the configuration, since the loop began
	endedAt   time.Time // when commits that wait were last ended
	kept      string    // slots that were looked after, and when
	keptAt    time.Time
	savedAt   time.Time
	tlsAt     time.Time // when certificates were looked at
	roomAt    time.Time // when room was looked at
	fullSince time.Time // no room was seen since then, zero = there was
	streamed  time.Time // when the standby was last seen streaming, or began to follow
	repointed time.Time // when the primary was ready that the standby was told to follow, zero = it was seen streaming since
	failures  int
	problem   string
	took      map[string]string // steps of this epoch, in ms, for the events
	proposed  primacy.Op
	waited    string // what was logged last
	role      string
	roleSince time.Time
}

var errClosed = errors.New("controller is closed")

// Open reads the node's record and starts the loop.
func Open(cfg Config) (*Controller, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Busy == 0 {
		cfg.Busy = 100 * time.Millisecond
	}
	if cfg.Idle == 0 {
		cfg.Idle = 250 * time.Millisecond
	}
	local, err := LoadLocal(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open controller: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Controller{
		cfg: cfg, logger: cfg.Logger, wake: make(chan struct{}, 1), cancel: cancel,
		memo: memo{local: local, filesFor: -1, proofAt: time.Now(), took: map[string]string{}},
	}
	c.status = Status{Role: RoleUnknown, Memory: local.Memory}
	c.view = View{Memory: local.Memory, Data: DataUnknown}
	c.wg.Go(func() { c.run(ctx) })
	return c, nil
}

// Close ends the loop, and a clone or rewind that is under way. PostgreSQL goes on as it is.
func (c *Controller) Close() {
	c.cancel(errClosed)
	c.wg.Wait()
}

// Wake makes the loop look at everything now: settings, registry and requests have no channel of their own.
func (c *Controller) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Reconfigure has the configuration written again, and brought into force: what Postgres adds to it has changed.
func (c *Controller) Reconfigure() {
	c.mu.Lock()
	c.stale = true
	c.mu.Unlock()
	c.Wake()
}
