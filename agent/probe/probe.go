package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pgraft/pgraft/postgres/wal"
)

// Path is where an agent answers on its internal port; query parameter "from" is the asker's server id.
const Path = "/internal/node"

// Answer is what a server says of itself.
type Answer struct {
	ServerID        string    `json:"server_id"`
	NodeID          int       `json:"node_id"`
	Name            string    `json:"name"`
	ClusterID       string    `json:"cluster_id"`
	Term            uint64    `json:"term"`
	State           string    `json:"state"`
	LastIndex       uint64    `json:"last_index"`
	CommitIndex     uint64    `json:"commit_index"`
	AppliedIndex    uint64    `json:"applied_index"` // by the state machine
	GossipAddress   string    `json:"gossip_address"`
	Role            string    `json:"role"`
	PostgresUp      bool      `json:"postgres_up"`
	PostgresIndex   uint64    `json:"postgres_index"` // pgraft.meta's applied index
	PostgresLagMS   int64     `json:"postgres_lag_ms"`
	Version         string    `json:"version"`
	YouAreRemoved   bool      `json:"you_are_removed"` // the asker's server id was retired from the cluster
	ServerTime      time.Time `json:"server_time"`
	PostgresEnabled bool      `json:"postgres_enabled"`

	// Of a managed PostgreSQL.
	Server   Server             `json:"server,omitzero"`
	Replicas map[string]Replica `json:"replicas,omitempty"` // of a primary, by server id
}

// Server is how far a managed PostgreSQL is.
type Server struct {
	Epoch          uint64       `json:"epoch"` // whose WAL it follows or writes
	Timeline       wal.Timeline `json:"timeline"`
	LSN            wal.LSN      `json:"lsn"`        // how far its WAL reaches
	ReplayLSN      wal.LSN      `json:"replay_lsn"` // of a standby: how far reads see
	PendingRestart []string     `json:"pending_restart,omitempty"`
	Action         string       `json:"action,omitempty"`
	ProgressDone   int64        `json:"progress_done,omitempty"`
	ProgressTotal  int64        `json:"progress_total,omitempty"`
}

// Replica is a standby as its primary sees it.
type Replica struct {
	State     string  `json:"state"` // of pg_stat_replication: startup, catchup, streaming, …
	FlushLSN  wal.LSN `json:"flush_lsn"`
	ReplayLSN wal.LSN `json:"replay_lsn"`
}

// Peer is the latest answer of one server.
type Peer struct {
	Answer
	Heard time.Time     // when the answer arrived; zero = never
	RTT   time.Duration // of the latest answer
	Err   error         // why the latest question was not answered, nil if it was
}

// Config says whom to ask and how.
type Config struct {
	Self string // own server id
	// Servers lists the servers to ask.
	Servers func() []string
	// Transport reaches a server's internal port.
	Transport func(serverID string) http.RoundTripper
	// Interval between questions, and the deadline of one.
	Interval, Timeout time.Duration
	// Removed is called when a server says that this one was retired.
	Removed func(by Answer)
}

// Prober keeps the latest answers. Its methods may be called from any goroutine.
type Prober struct {
	cfg  Config
	poke chan struct{}

	mu    sync.Mutex // guards the maps; never held across a request
	peers map[string]Peer
	asked map[string]bool // a question is under way
}

// New returns a prober that asks nothing until Run.
func New(cfg Config) *Prober {
	return &Prober{cfg: cfg, poke: make(chan struct{}, 1), peers: make(map[string]Peer), asked: make(map[string]bool)}
}

// Run asks until ctx ends, and waits for the questions under way.
func (p *Prober) Run(ctx context.Context) {
	ticker := time.NewTicker(p.cfg.Interval)
	defer ticker.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		for _, id := range p.due() {
			wg.Go(func() { p.ask(ctx, id) })
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-p.poke:
		}
	}
}

// Poke has all servers asked now that have no question under way. It never blocks.
func (p *Prober) Poke() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// Peers returns the latest answers by server id.
func (p *Prober) Peers() map[string]Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.peers)
}

// due marks and returns the servers that are to be asked now, and forgets those no longer listed.
func (p *Prober) due() []string {
	servers := p.cfg.Servers()
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := make(map[string]bool, len(servers))
	var ids []string
	for _, id := range servers {
		listed[id] = true
		if id != p.cfg.Self && !p.asked[id] {
			p.asked[id] = true
			ids = append(ids, id)
		}
	}
	for id := range p.peers {
		if !listed[id] {
			delete(p.peers, id)
		}
	}
	return ids
}

func (p *Prober) ask(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	start := time.Now()
	answer, err := Ask(ctx, p.cfg.Transport(id), p.cfg.Self)
	p.keep(id, answer, time.Since(start), err)
	if err == nil && answer.YouAreRemoved && p.cfg.Removed != nil {
		p.cfg.Removed(answer)
	}
}

func (p *Prober) keep(id string, answer Answer, rtt time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, id)
	peer := p.peers[id]
	peer.Err = err
	if err == nil {
		peer = Peer{Answer: answer, Heard: time.Now(), RTT: rtt}
	}
	p.peers[id] = peer
}

// maxAnswer bounds what a peer can make us read.
const maxAnswer = 64 << 10

// Ask puts the question to one server.
func Ask(ctx context.Context, transport http.RoundTripper, self string) (Answer, error) {
	var answer Answer
	target := "http://peer" + Path + "?from=" + url.QueryEscape(self)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return answer, fmt.Errorf("build request: %w", err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer, fmt.Errorf("ask peer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("ask peer: answer has status %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("read answer: %w", err)
	}
	return answer, nil
}
