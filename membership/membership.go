package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/pgraft/pgraft/api"
)

// Errors of a Membership that is past its use.
var (
	ErrClosed = errors.New("gossip is closed")
	ErrLeft   = errors.New("this node has left the cluster: restart the agent to join again")
)

// Membership is the local node's place in the gossip.
type Membership struct {
	cfg       Config
	timers    Timers
	log       hclog.Logger
	self      identity // except clusterID
	retry     atomic.Pointer[retry]
	refusal   atomic.Pointer[RefusedError]
	ml        *memberlist.Memberlist
	keyring   *keyring // nil = no encryption
	table     *table
	events    *notifier
	limit     *limiter
	view      staleView
	clusterID atomic.Pointer[string] // as last heard of cfg.ClusterID
	encoded   atomic.Pointer[[]byte] // the metadata that gossip carries
	left      atomic.Bool

	metaMu sync.Mutex // serialises changes of the metadata; held around memberlist, so no callback takes it
	meta   Meta

	lifeMu sync.Mutex // guards closed and the start of what wg counts; never held for long
	closed bool
	wg     sync.WaitGroup
	cancel context.CancelFunc

	peersMu sync.Mutex // one writer of the peer file, and none after forgetPeers
	leaveMu sync.Mutex // one Leave at a time, and no Close within it
}

// Open binds the gossip port and starts to look for the others. It fails when one of cfg.Join refuses this node
// for good; where nobody answers yet, it goes on looking.
func Open(cfg Config) (*Membership, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	timers, err := ProfileTimers(cfg.Profile)
	if err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	if cfg.tune.timers != nil {
		cfg.tune.timers(&timers)
	}
	m := &Membership{
		cfg: cfg, timers: timers, log: cfg.Logger, meta: cfg.Meta,
		events: newNotifier(), limit: newLimiter(quietFor),
		view: staleView{kick: make(chan struct{}, 1)},
		self: identity{name: cfg.NodeName, serverID: uuid.MustParse(cfg.ServerID).String()},
	}
	m.SetRetryJoin(cfg.RetryJoin, cfg.RetryInterval)
	m.table = newTable(cfg.NodeName, m.loadPeers())
	if m.keyring, err = openKeyring(cfg.DataDir, cfg.Encrypt, m.log); err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	if err := m.create(); err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	m.start()
	if err := m.firstJoin(); err != nil {
		return nil, errors.Join(fmt.Errorf("open gossip: %w", err), m.Close())
	}
	return m, nil
}

// create brings memberlist up.
func (m *Membership) create() error {
	writer := &logWriter{log: m.log.Named("memberlist"), limit: m.limit}
	logger := log.New(writer, "", 0)
	transport, err := newTransport(m.cfg, logger)
	if err != nil {
		return err
	}
	port := uint16(transport.GetAutoBindPort())
	if m.self.addr, err = advertiseAddr(transport.ctx, m.cfg, port); err == nil {
		err = m.encodeMeta(func(meta *Meta) { meta.Started = time.UnixMilli(time.Now().UnixMilli()).UTC() })
	}
	if err != nil {
		return errors.Join(err, transport.Shutdown())
	}
	conf := m.timers.memberlistConfig()
	conf.Name, conf.Label, conf.Logger, conf.Transport = m.self.name, m.cfg.ClusterName, logger, transport
	conf.BindAddr, conf.BindPort = m.cfg.BindAddr, int(port)
	conf.AdvertiseAddr, conf.AdvertisePort = m.self.addr.Addr().String(), int(m.self.addr.Port())
	d := delegate{m}
	conf.Delegate, conf.Alive, conf.Merge, conf.Conflict, conf.Events, conf.Ping = d, d, d, d, d, d
	if m.keyring != nil {
		conf.Keyring = m.keyring.ring
	}
	if m.ml, err = memberlist.Create(conf); err != nil {
		return errors.Join(err, transport.Shutdown())
	}
	m.log.Info("gossip is up", "address", m.self.addr.String(), "encrypted", m.keyring != nil, "known_members", len(m.table.list())-1)
	return nil
}

// start runs every goroutine of this package.
func (m *Membership) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.wg.Go(func() { m.runRedial(ctx) })
	m.wg.Go(func() { m.runSync(ctx) })
	m.wg.Go(func() { m.runUpkeep(ctx) })
}

// firstJoin tries cfg.Join and fails on a refusal only.
func (m *Membership) firstJoin() error {
	if len(m.cfg.Join) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.timers.Stream)
	defer cancel()
	_, err := m.joinAll(ctx, m.cfg.Join)
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Kind != RefusedKept {
		return err
	}
	if err != nil {
		m.log.Warn("not joined yet: trying on", "error", err)
	}
	return nil
}

// Close stops gossip without a goodbye: the others will find this node failed, and it stays a member.
func (m *Membership) Close() error {
	m.leaveMu.Lock()
	defer m.leaveMu.Unlock()
	m.lifeMu.Lock()
	if m.closed {
		m.lifeMu.Unlock()
		return nil
	}
	m.closed = true
	m.lifeMu.Unlock()
	m.cancel()
	err := m.ml.Shutdown()
	m.wg.Wait()
	m.savePeers()
	return err
}

// track runs f in a goroutine that Close waits for, unless it is closed.
func (m *Membership) track(f func()) bool {
	m.lifeMu.Lock()
	defer m.lifeMu.Unlock()
	if m.closed {
		return false
	}
	m.wg.Go(f)
	return true
}

func (m *Membership) usable() error {
	m.lifeMu.Lock()
	defer m.lifeMu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if m.left.Load() {
		return ErrLeft
	}
	return nil
}

// Leave says goodbye, so that the others take this node for left and not for failed, and forgets the peers. Close is
// still to be called.
func (m *Membership) Leave(ctx context.Context) error {
	m.leaveMu.Lock()
	defer m.leaveMu.Unlock()
	if err := m.usable(); err != nil {
		if errors.Is(err, ErrLeft) {
			return nil
		}
		return fmt.Errorf("leave: %w", err)
	}
	m.left.Store(true)
	patience := m.patience(ctx)
	err := m.publish(func(meta *Meta) { meta.Leaving = true }, patience)
	// Gossip may be lost, and memberlist's leave message does not say so much; an exchange with each does.
	err = errors.Join(err, m.exchangeAll(ctx), m.ml.Leave(patience))
	if err != nil {
		err = fmt.Errorf("leave: not every member could be told; those take this node for failed until another tells them: %w", err)
	}
	return errors.Join(err, m.forgetPeers())
}

// patience is how long to wait for a message to go out.
func (m *Membership) patience(ctx context.Context) time.Duration {
	patience := m.timers.Stream
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	return max(patience, time.Millisecond)
}

// ForceLeave declares a failed member to have left, here and, by the next state exchanges, everywhere. Should it be
// alive after all, it comes back by itself.
func (m *Membership) ForceLeave(name string) error {
	member := m.table.byName(name)
	switch {
	case member == nil:
		return fmt.Errorf("force-leave %q: there is no such member: see pgraft members", name)
	case member.Status == api.NodeAlive:
		return fmt.Errorf("force-leave %q: the member is alive at %s: run pgraft leave on it", name, member.Address)
	}
	m.bury(tombstone{name: name, serverID: member.Meta.ServerID, started: member.Meta.Started})
	m.view.poke() // an exchange with all spreads it at once
	return nil
}

func (m *Membership) bury(tomb tombstone) {
	if member, ok := m.table.bury(tomb, time.Now()); ok {
		m.log.Info("failed member counts as left", "node", member.Name)
		m.events.emit(Event{Type: EventLeave, Time: time.Now(), Member: member, Message: "left"})
	}
}

// UpdateMeta changes what this node tells the others about itself.
func (m *Membership) UpdateMeta(meta Meta) error {
	if err := m.usable(); err != nil {
		return fmt.Errorf("update metadata: %w", err)
	}
	if err := meta.validate(); err != nil {
		return fmt.Errorf("update metadata: %w", err)
	}
	err := m.publish(func(own *Meta) {
		meta.Started, meta.Leaving = own.Started, own.Leaving
		*own = meta
	}, time.Second)
	if err != nil {
		// The next state exchange carries it.
		m.log.Debug("new metadata is not gossiped yet", "error", err)
	}
	return nil
}

// publish changes the metadata and gossips it, if it did change.
func (m *Membership) publish(change func(*Meta), patience time.Duration) error {
	m.metaMu.Lock()
	defer m.metaMu.Unlock()
	before := *m.encoded.Load()
	if err := m.encodeMeta(change); err != nil {
		return err
	}
	if bytes.Equal(before, *m.encoded.Load()) {
		return nil
	}
	return m.ml.UpdateNode(patience)
}

// encodeMeta changes the metadata and makes it what gossip carries. Call with metaMu held, except in create.
func (m *Membership) encodeMeta(change func(*Meta)) error {
	next := m.meta
	change(&next)
	clusterID := m.askClusterID()
	next.ServerID, next.ClusterID = m.self.serverID, clusterID
	encoded, err := EncodeMeta(next)
	if err != nil {
		return err
	}
	m.meta = next
	m.clusterID.Store(&clusterID)
	m.encoded.Store(&encoded)
	return nil
}

func (m *Membership) askClusterID() string {
	text := m.cfg.ClusterID()
	id, err := parseID("cluster id", text, true)
	if err != nil {
		if _, ok := m.limit.allow("cluster id", time.Now()); ok {
			m.log.Error("cluster id is not usable", "error", err)
		}
		return ""
	}
	if text == "" {
		return ""
	}
	return id.String()
}

// identity is the local node as the rules see it now.
func (m *Membership) identity() identity {
	self := m.self
	if id := m.clusterID.Load(); id != nil {
		self.clusterID = *id
	}
	return self
}

// runUpkeep keeps the metadata, the table and the peer file current.
func (m *Membership) runUpkeep(ctx context.Context) {
	for sleep(ctx, min(m.cfg.RetryInterval, time.Second)) {
		m.table.expire(time.Now(), m.timers)
		m.savePeers()
		if err := m.publish(func(*Meta) {}, time.Second); err != nil {
			m.log.Debug("new metadata is not gossiped yet", "error", err)
		}
	}
}

// Members gives all known members by name, the local node among them, as this node sees them.
func (m *Membership) Members() []Member {
	members := m.table.list()
	for i := range members {
		if members[i].Local {
			members[i].LastSeen = time.Now()
		}
	}
	return members
}

// Local gives the local node.
func (m *Membership) Local() Member {
	if local := m.table.byName(m.self.name); local != nil {
		local.LastSeen = time.Now()
		return *local
	}
	return Member{Name: m.self.name, Address: m.self.addr, Local: true}
}

// alive gives the living members except the local node.
func (m *Membership) alive() []Member { return m.table.others(api.NodeAlive) }

// RaftAddress tells where a server's Raft port is, if the server is alive. It is cheap enough to be asked for each call.
func (m *Membership) RaftAddress(serverID string) (string, bool) {
	member := m.table.byID(serverID, "")
	if member == nil || member.Status != api.NodeAlive {
		return "", false
	}
	return member.Meta.RaftAddress, true
}

// Joined reports whether this node sees another one alive.
func (m *Membership) Joined() bool { return len(m.alive()) > 0 }

// Encrypted reports whether gossip is encrypted.
func (m *Membership) Encrypted() bool { return m.keyring != nil }

// HealthScore is 0 when this node answers in time, and grows when it is too slow or too busy to judge the others.
func (m *Membership) HealthScore() int { return m.ml.GetHealthScore() }

// Events gives what happens, for the log and the history. It holds a few hundred; what is not taken in time is
// dropped and counted by DroppedEvents. It is never closed.
func (m *Membership) Events() <-chan Event { return m.events.events }

// DroppedEvents counts the events that nobody took in time.
func (m *Membership) DroppedEvents() uint64 { return m.events.dropped.Load() }

// Changed has a value when something has changed since the last one was taken: a reason to look at Members.
func (m *Membership) Changed() <-chan struct{} { return m.events.changed }
