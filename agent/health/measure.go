package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/postgres"
)

// Interval is how often is measured where Config says nothing else.
const Interval = 10 * time.Second

// Config says what a Measurer measures.
type Config struct {
	DataDir  string // the agent's
	Interval time.Duration
	// Expires tells when the certificate in use expires; nil = there is no TLS.
	Expires func() time.Time
	// Peers returns what the other servers answered last.
	Peers func() map[string]probe.Peer
	// Elections returns when the history says that leaders were elected, and Started how many elections this node began
	// since it started.
	Elections func() []time.Time
	Started   func() uint64
	// Postgres asks the PostgreSQL beside the agent; nil = there is none.
	Postgres func(context.Context) Postgres
}

// Measurer measures until its context ends. Latest may be called from any goroutine.
type Measurer struct {
	cfg  Config
	file *os.File // of Run only: one block in the data directory, without a name

	// Of Run only.
	syncs   []time.Duration
	started uint64
	begun   []time.Time
	trips   map[string][]time.Duration // by server id

	mu       sync.Mutex // guards what follows; never held while something is measured
	measured Measured
}

// New returns a Measurer that has measured nothing until Run.
func New(cfg Config) *Measurer {
	if cfg.Interval == 0 {
		cfg.Interval = Interval
	}
	return &Measurer{cfg: cfg, measured: Measured{TLS: cfg.Expires != nil}}
}

// Latest returns what was measured last.
func (m *Measurer) Latest() Measured {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.measured
}

// Run measures until ctx ends.
func (m *Measurer) Run(ctx context.Context) {
	ticker := time.NewTicker(m.cfg.Interval)
	defer ticker.Stop()
	defer m.closeFile()
	for {
		m.measure(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// postgresTimeout bounds how long PostgreSQL may take to answer.
const postgresTimeout = 3 * time.Second

func (m *Measurer) measure(ctx context.Context) {
	found := Measured{TLS: m.cfg.Expires != nil, Disk: diskOf(m.cfg.DataDir)}
	if found.TLS {
		found.Expires = m.cfg.Expires()
	}
	peers := m.cfg.Peers()
	found.Clocks, found.Trips = Clocks(peers), m.roundTrips(peers)
	found.Elections = m.elections(time.Now())
	if m.cfg.Postgres != nil {
		ctx, cancel := context.WithTimeout(ctx, postgresTimeout)
		found.Postgres = m.cfg.Postgres(ctx)
		cancel()
	}
	found.Sync = m.sync()
	m.mu.Lock()
	defer m.mu.Unlock()
	found.At = time.Now()
	m.measured = found
}

// answerFresh is how old a peer's answer may be to say something of its clock now.
const answerFresh = 10 * time.Second

// Clocks compares the time in the peers' answers with the middle between question and answer.
func Clocks(peers map[string]probe.Peer) []Clock {
	var out []Clock
	for _, p := range peers {
		if p.Heard.IsZero() || p.ServerTime.IsZero() || time.Since(p.Heard) > answerFresh {
			continue
		}
		middle := p.Heard.Add(-p.RTT / 2).Round(0) // the wall's clock: the monotonic one would hide that it was set
		out = append(out, Clock{Node: p.Name, Offset: p.ServerTime.Sub(middle), Doubt: p.RTT / 2})
	}
	slices.SortFunc(out, func(a, b Clock) int { return strings.Compare(a.Node, b.Node) })
	return out
}

// maxBegun is how many elections of its own a node remembers: more than it takes to be critical.
const maxBegun = 100

// elections are those of the history, or those that this node began where they are more: one that nobody wins is in no
// history.
func (m *Measurer) elections(now time.Time) []time.Time {
	total := m.cfg.Started()
	for range min(total-m.started, maxBegun) {
		m.begun = append(m.begun, now)
	}
	m.started = total
	recent := func(at time.Time) bool { return now.Sub(at) >= electionsWithin }
	m.begun = slices.DeleteFunc(m.begun[max(0, len(m.begun)-maxBegun):], recent)
	won := slices.DeleteFunc(m.cfg.Elections(), recent)
	if len(m.begun) > len(won) {
		return slices.Clone(m.begun)
	}
	return won
}

const (
	syncBlock = 4096
	syncsKept = 5
)

// sync writes a block and waits until it is durable.
func (m *Measurer) sync() Sync {
	begin := time.Now()
	m.mu.Lock()
	m.measured.Sync.Since = begin
	m.mu.Unlock()
	if err := m.writeBlock(); err != nil {
		m.closeFile() // the next one begins anew
		return Sync{Err: err.Error()}
	}
	m.syncs = append(m.syncs, time.Since(begin))
	m.syncs = m.syncs[max(0, len(m.syncs)-syncsKept):]
	sorted := slices.Sorted(slices.Values(m.syncs))
	return Sync{Median: sorted[len(sorted)/2], Count: len(sorted)}
}

func (m *Measurer) writeBlock() error {
	if m.file == nil {
		file, err := os.CreateTemp(m.cfg.DataDir, ".fsync-*")
		if err != nil {
			return fmt.Errorf("create file: %w", err)
		}
		m.file = file
		if err := os.Remove(file.Name()); err != nil {
			return fmt.Errorf("take away a file's name: %w", err)
		}
	}
	if _, err := m.file.WriteAt(make([]byte, syncBlock), 0); err != nil {
		return fmt.Errorf("write block: %w", err)
	}
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("sync block: %w", err)
	}
	return nil
}

func (m *Measurer) closeFile() {
	if m.file != nil {
		_ = m.file.Close() // nothing of it is needed again
		m.file = nil
	}
}

func diskOf(dir string) Disk {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Disk{Dir: dir, Err: fmt.Sprintf("%s: %v", dir, err)}
	}
	return Disk{Dir: dir, Free: st.Bavail * uint64(st.Bsize), Total: st.Blocks * uint64(st.Bsize)}
}

// PostgresDisk returns the fullest of the file systems that the PostgreSQL with this data directory writes to. The zero
// Disk stands for a directory that is not there: nothing is cloned yet, or PostgreSQL runs elsewhere.
func PostgresDisk(dataDir string) Disk {
	if _, err := os.Stat(dataDir); errors.Is(err, fs.ErrNotExist) {
		return Disk{}
	}
	fullest := diskOf(dataDir)
	for _, place := range postgres.Places(dataDir)[1:] {
		if d := diskOf(place); d.Err == "" && fullest.Err == "" && d.Free < fullest.Free {
			fullest = d
		}
	}
	return fullest
}
