package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
)

// How often a Monitor looks and how long it waits for an answer, unless configured.
const (
	DefaultHealthInterval = 250 * time.Millisecond
	DefaultHealthTimeout  = 3 * time.Second
)

// fullCheckEvery is how often a Monitor repeats the whole Check on a connection that lasts.
const fullCheckEvery = 30 * time.Second

// MonitorConfig configures a Monitor.
type MonitorConfig struct {
	Connect  func(ctx context.Context) (*pgx.Conn, error) // required
	Interval time.Duration
	Timeout  time.Duration // of one look
	Logger   hclog.Logger
}

// State is what a Monitor last saw. Up means that the server answered; Err is then nil or a *Problem.
type State struct {
	Up     bool
	Health Health // of the last answer, kept while the server is down
	Err    error
	Since  time.Time // when Up or the error's text last changed
}

// Monitor watches one server over a connection of its own.
type Monitor struct {
	cfg    MonitorConfig
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // guards what follows; never held across a query
	state   State
	changed chan struct{} // closed and replaced with each change of Up, InRecovery or the error
}

// NewMonitor returns a Monitor that does not watch yet.
func NewMonitor(cfg MonitorConfig) *Monitor {
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultHealthInterval
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultHealthTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Monitor{
		cfg: cfg, changed: make(chan struct{}),
		state: State{Err: errors.New("PostgreSQL was not asked yet"), Since: time.Now()},
	}
}

// Open starts watching.
func (m *Monitor) Open() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done = cancel, make(chan struct{})
	go m.run(ctx)
}

// Close stops watching and returns when the connection is closed.
func (m *Monitor) Close() {
	if m.cancel == nil {
		return
	}
	m.cancel()
	<-m.done
}

// State returns what was seen last, and a channel that is closed when that changes.
func (m *Monitor) State() (State, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.changed
}

func (m *Monitor) run(ctx context.Context) {
	defer close(m.done)
	var conn *pgx.Conn
	var lastFull time.Time
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		conn, lastFull = m.look(ctx, conn, lastFull)
		select {
		case <-ctx.Done():
			closeConn(conn)
			return
		case <-tick.C:
		}
	}
}

// look asks once and returns the connection to ask on next, nil after an error.
func (m *Monitor) look(ctx context.Context, conn *pgx.Conn, lastFull time.Time) (*pgx.Conn, time.Time) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if conn == nil {
		var err error
		if conn, err = m.cfg.Connect(ctx); err != nil {
			m.record(ctx, false, Health{}, err)
			return nil, time.Time{}
		}
		lastFull = time.Time{}
	}
	state, _ := m.State()
	health, err := state.Health, state.Err
	if time.Since(lastFull) >= fullCheckEvery || err != nil || health.ExtensionVersion == "" {
		health, err = Check(ctx, conn)
		lastFull = time.Now()
	} else {
		err = conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&health.InRecovery)
	}
	var unfit *Problem
	up := err == nil || errors.As(err, &unfit)
	m.record(ctx, up, health, err)
	if !up {
		closeConn(conn)
		return nil, time.Time{}
	}
	return conn, lastFull
}

func (m *Monitor) record(ctx context.Context, up bool, health Health, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return // closing: what failed is ours, not the server's
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := State{Up: up, Health: m.state.Health, Err: err, Since: m.state.Since}
	if up {
		next.Health = health
	}
	moved := next.Up != m.state.Up || errText(next.Err) != errText(m.state.Err)
	if moved {
		next.Since = time.Now()
		m.log(next)
	}
	if moved || next.Health.InRecovery != m.state.Health.InRecovery {
		close(m.changed)
		m.changed = make(chan struct{})
	}
	m.state = next
}

func (m *Monitor) log(state State) {
	switch {
	case !state.Up:
		m.cfg.Logger.Warn("PostgreSQL does not answer", "error", state.Err)
	case state.Err != nil:
		m.cfg.Logger.Error("PostgreSQL is unfit", "error", state.Err)
	default:
		m.cfg.Logger.Info("PostgreSQL answers", "version", state.Health.Version, "in_recovery", state.Health.InRecovery)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// closeConn gives the farewell little time: a server that hangs must not hang us.
func closeConn(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx) // nothing depends on it
}
