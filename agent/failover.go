package agent

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/failover"
	"github.com/pgraft/pgraft/agent/relay"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/managed"
)

// openFailover prepares what this node does for the cluster's PostgreSQL while it leads. A witness may lead, too.
func (a *Agent) openFailover(context.Context) error {
	if !a.cfg.Managed() && !a.cfg.Witness {
		return nil
	}
	eyes := &failover.Eyes{
		Self: string(a.raft.ServerID()),
		Transport: func(id string) http.RoundTripper {
			return a.metrics.RPCTransport("postgres", a.raft.PeerTransport(raft.ServerID(id)))
		},
		Address: func(id string) string {
			node, _ := a.fsm.Store().NodeByServerID(id)
			return node.PostgresAddress
		},
	}
	a.failover = failover.New(failover.Config{
		Self: string(a.raft.ServerID()), State: a.watchPrimacy, Servers: a.failoverServers, View: a.postgresView, Eyes: eyes,
		Propose: agreement{a}.Propose, Obey: a.obey, TransferLeadership: a.transferLeadership,
		Async: func() bool { return a.cfg.Postgres.Synchronous == "async" },
		Note:  a.noteDecision, Logger: a.log.Named("failover"), Timing: failover.Timing{Lease: a.primaryLease()},
	})
	a.raft.HandleInternal("GET "+failover.ViewPath, failover.ServeView(a.postgresView))
	a.raft.HandleInternal("GET "+failover.SeesPath, failover.ServeSees(eyes.Look))
	a.raft.HandleInternal("POST "+failover.OrderPath, failover.ServeOrder(a.obey))
	a.raft.HandleInternal("POST "+leadOrderPath, serveCall(func(ctx context.Context, o leadOrder) (any, error) {
		return a.leadOrder(ctx, o)
	}))
	return nil
}

func (a *Agent) watchPrimacy(ws memdb.WatchSet) primacy.State {
	store := a.fsm.Store()
	_, state := store.Primacy(ws)
	ws.Add(store.AbandonCh())
	return state
}

// failoverServers lists all that the registry or the Raft configuration names.
func (a *Agent) failoverServers() []failover.Node {
	_, configured := a.raft.Configuration()
	_, registry := a.fsm.Store().Nodes(nil)
	byID := make(map[string]*failover.Node)
	var ids []string
	at := func(id string) *failover.Node {
		if byID[id] == nil {
			byID[id] = &failover.Node{ID: id}
			ids = append(ids, id)
		}
		return byID[id]
	}
	for _, s := range configured {
		at(string(s.ID)).Voter = s.Suffrage == raft.Voter
	}
	for _, row := range registry {
		n := at(row.ServerID)
		n.Name, n.Witness, n.NonVoting, n.Zone = row.Name, row.Witness, row.NonVoting, row.Zone
	}
	nodes := make([]failover.Node, 0, len(ids))
	for _, id := range ids {
		nodes = append(nodes, *byID[id])
	}
	return nodes
}

func (a *Agent) transferLeadership(ctx context.Context, serverID string) error {
	return a.raft.TransferLeadership(ctx, raft.ServerID(serverID))
}

// noteDecision keeps in the history why nothing is done; what is done is there by itself.
func (a *Agent) noteDecision(d failover.Decision) {
	if d.Op != nil {
		return
	}
	e := controller.Event{Type: string(d.Kind), Message: d.Reason}
	if d.ServerID != "" {
		e.Data = map[string]string{"about": a.serverName(raft.ServerID(d.ServerID))}
	}
	a.recordEvent(e)
}

// postgresView is what this node tells of its PostgreSQL.
func (a *Agent) postgresView() failover.View {
	state := a.primacy()
	v := failover.View{
		ServerID: string(a.raft.ServerID()), Managed: a.managed != nil, Role: api.RoleUnknown,
		Priority: a.cfg.Postgres.Priority, Epoch: state.Epoch, Phase: state.Phase, WALAgeMS: -1,
	}
	if a.cfg.Witness {
		v.Role = api.RoleWitness
	}
	if c := a.managed.drive(); c != nil {
		fillView(&v, c.View(), a.managed, a.fsm.Store())
	}
	return v
}

func fillView(v *failover.View, cv controller.View, m *managedPostgres, store *fsm.Store) {
	v.Role, v.Epoch, v.Phase = cv.Role, cv.Epoch, cv.Phase
	v.Running, v.Restarting, v.Problem = cv.Running, cv.Restarting, cv.Problem
	v.Data, v.SystemID, v.Major, v.Standby = failover.Data(cv.Data), cv.SystemID, cv.Major, cv.Standby
	v.Memory, v.Position, v.Timeline, v.Countable = cv.Memory, cv.Position, cv.Timeline, cv.Countable
	v.Full, v.Streaming = cv.Full, cv.Streaming
	if cv.Streaming {
		v.WALAgeMS = time.Since(m.moved(cv)).Milliseconds()
	}
	for _, s := range cv.Standbys {
		nodeID, memory, ok := managed.ParseStandbyName(s.Name)
		node, known := store.NodeByID(nodeID)
		if ok && known {
			v.Standbys = append(v.Standbys, failover.Standby{
				ServerID: node.ServerID, Memory: memory, Streaming: s.State == "streaming", Flush: s.Flush,
				ReplyAgeMS: s.ReplyAge.Milliseconds(),
			})
		}
	}
	for _, p := range cv.Pending {
		v.Pending = append(v.Pending, failover.Pending{Name: p.Name, Now: p.Now, Wanted: p.Wanted})
	}
}

// drive returns the controller, nil where there is none yet.
func (m *managedPostgres) drive() *controller.Controller {
	if m == nil {
		return nil
	}
	return m.controller.Load()
}

// moved returns when a standby's WAL last grew: a stream that stands still may be one of a machine that is gone.
func (m *managedPostgres) moved(v controller.View) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Position.LSN != m.lastLSN || m.movedAt.IsZero() {
		m.lastLSN, m.movedAt = v.Position.LSN, time.Now()
	}
	return m.movedAt
}

// obeyPoll is how often a restart that was ordered is looked at.
const obeyPoll = 20 * time.Millisecond

// obey carries out what the leader asks this node's PostgreSQL to do: a restart to its end, and of a new copy the
// beginning.
func (a *Agent) obey(ctx context.Context, order failover.Order) error {
	c := a.managed.drive()
	if c == nil {
		return &api.Error{Code: api.CodeConflict, Message: "this node runs no PostgreSQL"}
	}
	if now := a.primacy().Epoch; order.Epoch != now {
		return &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("the primary has changed since: this is epoch %d, not %d", now, order.Epoch)}
	}
	switch order.Kind {
	case failover.OrderReinit:
		return conflict(c.RequestReinit(ctx))
	case failover.OrderRestart:
		before := a.managed.server.PID()
		if err := c.RequestRestart(ctx); err != nil {
			return conflict(err)
		}
		return a.awaitRestart(ctx, c, before)
	}
	return &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf("order %q is not known here: upgrade this node", order.Kind)}
}

func conflict(err error) error {
	if err == nil {
		return nil
	}
	return &api.Error{Code: api.CodeConflict, Message: err.Error()}
}

// awaitRestart returns when another postmaster than before serves in its part.
func (a *Agent) awaitRestart(ctx context.Context, c *controller.Controller, before int) error {
	ticker := time.NewTicker(obeyPoll)
	defer ticker.Stop()
	for {
		s := c.Status()
		if pid := a.managed.server.PID(); pid != 0 && pid != before && (s.Role == controller.RolePrimary || s.Role == controller.RoleStandby) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL to be back (it is %s: %s): %w", s.Role, s.Problem, ctx.Err())
		case <-ticker.C:
		}
	}
}

// clusterOrders is what an operator may ask of the cluster's PostgreSQL.
type clusterOrders struct{ a *Agent }

// Failover replaces the primary now.
func (o clusterOrders) Failover(ctx context.Context, node string, allowDataLoss bool) (api.ClusterResult, error) {
	return result(o.a.failover.Failover(ctx, node, allowDataLoss))
}

// Switchover hands the primary's part over.
func (o clusterOrders) Switchover(ctx context.Context, node string) (api.ClusterResult, error) {
	return result(o.a.failover.Switchover(ctx, node))
}

func result(out failover.Outcome, err error) (api.ClusterResult, error) {
	if err != nil {
		return api.ClusterResult{}, err
	}
	return api.ClusterResult{Primary: out.Name, Epoch: out.Epoch, Message: out.Warning}, nil
}

// SetPaused turns automatic failover off or on.
func (o clusterOrders) SetPaused(ctx context.Context, paused bool) error {
	if paused {
		return o.a.failover.Pause(ctx)
	}
	return o.a.failover.Resume(ctx)
}

// Restart restarts this node's PostgreSQL in its part.
func (o clusterOrders) Restart(ctx context.Context) (api.ClusterResult, error) {
	return o.askLeader(ctx, failover.OrderRestart, "PostgreSQL of "+o.a.cfg.NodeName+" was restarted")
}

// RestartAll restarts each PostgreSQL whose settings wait for it.
func (o clusterOrders) RestartAll(ctx context.Context) (api.ClusterResult, error) {
	return o.askLeader(ctx, orderRestartAll, "nothing waits for a restart")
}

// Reinit begins to clone this node's data anew.
func (o clusterOrders) Reinit(ctx context.Context) (api.ClusterResult, error) {
	return o.askLeader(ctx, failover.OrderReinit, o.a.cfg.NodeName+" makes its copy of the data anew: see pgraft status")
}

// leadOrderPath is where a node asks the leader to have something done to its PostgreSQL: only the leader knows whether
// the others can do without it meanwhile.
const leadOrderPath = "/internal/postgres/lead"

type leadOrder struct {
	ServerID string             `json:"server_id"`
	Kind     failover.OrderKind `json:"kind"`
}

// leadAnswer is what came of it.
type leadAnswer struct {
	Names []string `json:"names,omitempty"` // of those that a rolling restart restarted
}

// orderRestartAll is an order to the leader only.
const orderRestartAll failover.OrderKind = "restart all"

func (o clusterOrders) askLeader(ctx context.Context, kind failover.OrderKind, done string) (api.ClusterResult, error) {
	order := leadOrder{ServerID: string(o.a.raft.ServerID()), Kind: kind}
	leader, _ := o.a.raft.Leader()
	var answer leadAnswer
	var err error
	switch leader {
	case "":
		err = &api.Error{Code: api.CodeNoLeader, Message: relay.ErrNoLeader.Error()}
	case o.a.raft.ServerID():
		answer, err = o.a.leadOrder(ctx, order)
	default:
		err = o.a.callPeer(ctx, string(leader), leadOrderPath, order, &answer)
	}
	if err != nil {
		return api.ClusterResult{}, err
	}
	if len(answer.Names) > 0 {
		done = "PostgreSQL was restarted, one after the other, on " + strings.Join(answer.Names, ", ")
	}
	return api.ClusterResult{Epoch: o.a.primacy().Epoch, Message: done}, nil
}

func (a *Agent) leadOrder(ctx context.Context, o leadOrder) (answer leadAnswer, err error) {
	switch o.Kind {
	case failover.OrderReinit:
		return answer, a.failover.Reinit(ctx, o.ServerID)
	case failover.OrderRestart:
		return answer, a.failover.Restart(ctx, o.ServerID)
	case orderRestartAll:
		answer.Names, err = a.failover.RollingRestart(ctx)
		if err != nil && len(answer.Names) > 0 {
			err = fmt.Errorf("after %s: %w", strings.Join(answer.Names, ", "), err)
		}
		return answer, err
	}
	return answer, &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf("order %q is not known here: upgrade this node", o.Kind)}
}

// waiting says why the cluster has no ready primary, "" if it has one. The leader knows it now, the others from the
// history, which has what lasts.
func (a *Agent) waiting(state primacy.State) string {
	if state.Phase == primacy.PhaseReady || a.failover == nil {
		return ""
	}
	var reasons []string
	if a.failover.Leading() {
		for _, d := range a.failover.Waiting() {
			if d.Kind == failover.KindWait || d.Kind == failover.KindRefuse {
				reasons = append(reasons, d.Reason)
			}
		}
		return strings.Join(reasons, "; ")
	}
	_, events := a.fsm.Store().Events(nil, 0, waitingWithin)
	return lastWait(events)
}

// waitingWithin is among how many of the latest events the reason for a wait is looked for.
const waitingWithin = 50

// lastWait returns the latest reason to wait that nothing has come of since.
func lastWait(events []api.Event) string {
	for _, e := range slices.Backward(events) {
		switch e.Type {
		case string(failover.KindWait), string(failover.KindRefuse):
			return e.Message
		case primacy.EventFound, primacy.EventFence, primacy.EventPromote, primacy.EventReady:
			return ""
		}
	}
	return ""
}
