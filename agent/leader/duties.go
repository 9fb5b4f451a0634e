package leader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// Consensus is what the duties need of Raft.
type Consensus interface {
	Propose(ctx context.Context, op fsm.Op) (fsm.Result, error)
	Barrier(ctx context.Context) error
	Configuration() (uint64, []raft.Server, error)
	SetNonvoter(ctx context.Context, id raft.ServerID, addr raft.ServerAddress) error
	SetAddress(ctx context.Context, id raft.ServerID, addr raft.ServerAddress) error
	RemoveServer(ctx context.Context, id raft.ServerID) error
}

// Config says what Duties works with. All fields are required but Logger.
type Config struct {
	Self         string // server id
	NodeName     string
	ClusterName  string
	NewClusterID string // used if the cluster has none yet; a UUID
	Consensus    Consensus
	Store        func() *fsm.Store
	Members      func() []Member
	// Autopilot runs until its context ends.
	Autopilot func(ctx context.Context)
	// Interval is how often everything is reconciled even though nothing was heard to change.
	Interval time.Duration
	Logger   hclog.Logger
}

// Duties is the leader's work for the cluster. Its methods may be called from any goroutine.
type Duties struct {
	cfg  Config
	poke chan struct{}

	mu        sync.Mutex // guards deadlines; never held across a proposal
	deadlines *Deadlines // nil while this node does not lead
}

// NewDuties returns duties that begin with Run.
func NewDuties(cfg Config) *Duties {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.NewClusterID == "" {
		cfg.NewClusterID = uuid.NewString()
	}
	return &Duties{cfg: cfg, poke: make(chan struct{}, 1)}
}

// Poke asks for a reconciliation soon. It never blocks.
func (d *Duties) Poke() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// Run does the leader's work until ctx ends, which the agent makes it do when leadership is lost.
func (d *Duties) Run(ctx context.Context) {
	if err := d.establish(ctx); err != nil {
		if ctx.Err() == nil {
			d.cfg.Logger.Error("leader could not begin its work; it tries again at the next change", "error", err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { d.cfg.Autopilot(ctx) })
	wg.Go(func() { d.runSessions(ctx) })
	d.runReconcile(ctx)
	wg.Wait()
}

// establish waits until this leader has applied all that its predecessors committed, and gives a new cluster its id.
func (d *Duties) establish(ctx context.Context) error {
	if err := d.cfg.Consensus.Barrier(ctx); err != nil {
		return fmt.Errorf("wait for earlier entries: %w", err)
	}
	if err := d.initCluster(ctx); err != nil {
		return err
	}
	event := fsm.EventAppend{Type: api.EventElection, Node: d.cfg.NodeName, Message: d.cfg.NodeName + " became the Raft leader"}
	if _, err := d.cfg.Consensus.Propose(ctx, event); err != nil {
		return fmt.Errorf("record the election: %w", err)
	}
	return nil
}

func (d *Duties) initCluster(ctx context.Context) error {
	if d.cfg.Store().ClusterID() != "" {
		return nil
	}
	op := fsm.ClusterInit{ClusterID: d.cfg.NewClusterID, ClusterName: d.cfg.ClusterName}
	if _, err := d.cfg.Consensus.Propose(ctx, op); err != nil {
		return fmt.Errorf("give the cluster its id: %w", err)
	}
	d.cfg.Logger.Info("cluster created", "cluster_id", d.cfg.NewClusterID, "cluster_name", d.cfg.ClusterName)
	return nil
}

func (d *Duties) runReconcile(ctx context.Context) {
	ticker := time.NewTicker(d.cfg.Interval)
	defer ticker.Stop()
	var scene Scene
	for {
		if err := d.reconcile(ctx, &scene); err != nil && ctx.Err() == nil {
			d.cfg.Logger.Warn("reconciliation did not finish", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.poke:
		}
	}
}

// reconcile does what Plan says, one action after the other, and stops at the first that fails: the next round sees
// the world as it is then.
func (d *Duties) reconcile(ctx context.Context, scene *Scene) error {
	if err := d.initCluster(ctx); err != nil {
		return err
	}
	_, servers, err := d.cfg.Consensus.Configuration()
	if err != nil {
		return fmt.Errorf("read the raft configuration: %w", err)
	}
	store := d.cfg.Store()
	_, registry := store.Nodes(nil)
	in := Inputs{
		Self: d.cfg.Self, ClusterID: store.ClusterID(), Members: d.cfg.Members(), Registry: registry, RaftConfig: servers, Removed: store.Removed,
	}
	if err := d.record(ctx, scene, SceneOf(in)); err != nil {
		return err
	}
	for _, a := range Plan(in) {
		if err := d.do(ctx, a); err != nil {
			return fmt.Errorf("%s %s: %w", a.Kind, a.Name, err)
		}
		d.cfg.Logger.Info("reconciled", "action", a.Kind, "node", a.Name, "server_id", a.ServerID, "address", a.Address)
	}
	return nil
}

// record writes what became different into the history.
func (d *Duties) record(ctx context.Context, before *Scene, now Scene) error {
	for _, e := range History(*before, now) {
		if _, err := d.cfg.Consensus.Propose(ctx, e); err != nil {
			return fmt.Errorf("record that %s: %w", e.Message, err)
		}
	}
	*before = now
	return nil
}

func (d *Duties) do(ctx context.Context, a Action) error {
	id, addr := raft.ServerID(a.ServerID), raft.ServerAddress(a.Address)
	var err error
	switch a.Kind {
	case ActionRegister:
		_, err = d.cfg.Consensus.Propose(ctx, fsm.NodeRegister{Node: a.Node})
	case ActionAddServer:
		err = d.cfg.Consensus.SetNonvoter(ctx, id, addr)
	case ActionSetAddress:
		err = d.cfg.Consensus.SetAddress(ctx, id, addr)
	case ActionRemoveServer:
		err = d.cfg.Consensus.RemoveServer(ctx, id)
	case ActionRetire:
		_, err = d.cfg.Consensus.Propose(ctx, fsm.NodeRemove{ServerID: a.ServerID, Reason: a.Reason})
	}
	return err
}

// sessionTick is how exactly sessions end; TTLs are seconds.
const sessionTick = 250 * time.Millisecond

func (d *Duties) runSessions(ctx context.Context) {
	d.setDeadlines(NewDeadlines())
	defer d.setDeadlines(nil)
	ticker := time.NewTicker(sessionTick)
	defer ticker.Stop()
	for {
		if d.awaitSession(ctx) != nil {
			return
		}
		for _, id := range d.expiredSessions() {
			if _, err := d.cfg.Consensus.Propose(ctx, fsm.SessionDestroy{ID: id, Expired: true}); err != nil && ctx.Err() == nil {
				d.cfg.Logger.Warn("expired session could not be ended yet", "session", id, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// awaitSession waits until there is a session: without one there is no reason to wake four times a second.
func (d *Duties) awaitSession(ctx context.Context) error {
	for {
		store, ws := d.cfg.Store(), memdb.NewWatchSet()
		if _, sessions := store.SessionList(ws); len(sessions) > 0 {
			return nil
		}
		ws.Add(store.AbandonCh())
		if err := ws.WatchCtx(ctx); err != nil {
			return err
		}
	}
}

func (d *Duties) setDeadlines(deadlines *Deadlines) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deadlines = deadlines
}

func (d *Duties) expiredSessions() []string {
	_, sessions := d.cfg.Store().SessionList(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.deadlines.Sync(sessions, now)
	return d.deadlines.Expired(now)
}

// RenewSession gives a session its whole TTL again. Only the leader can; elsewhere, and for an unknown session, it
// returns an *api.Error.
func (d *Duties) RenewSession(id string) (api.Session, error) {
	_, session := d.cfg.Store().SessionGet(nil, id)
	if session == nil {
		return api.Session{}, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("unknown session %q", id)}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deadlines == nil {
		return api.Session{}, &api.Error{Code: api.CodeNotLeader, Message: "cannot renew session: this node is not the leader"}
	}
	d.deadlines.Renew(*session, time.Now())
	return *session, nil
}
