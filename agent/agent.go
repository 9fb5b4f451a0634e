package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/agent/failover"
	"github.com/pgraft/pgraft/agent/health"
	"github.com/pgraft/pgraft/agent/history"
	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/agent/telemetry"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/internal/tlsutil"
	"github.com/pgraft/pgraft/membership"
)

// Options say what an Agent is made from.
type Options struct {
	Config *config.Config
	Logger hclog.InterceptLogger
	// Reload reads the configuration anew, from where Config came from.
	Reload func() (*config.Config, []config.Problem, error)
}

// Agent is one running node. Use New and Run once each; the other methods may be called from any goroutine while Run
// runs.
type Agent struct {
	opts    Options
	cfg     *config.Config // as of the start, with what a reload changed live
	log     hclog.InterceptLogger
	started time.Time

	lock      *consensus.DirLock
	files     atomic.Pointer[config.Config] // as files, flags and PostgreSQL say
	live      atomic.Pointer[config.Config] // with the cluster's settings over them
	liveMu    sync.Mutex                    // one change of live at a time
	clusterID atomic.Pointer[string]        // "" until known
	leaving   atomic.Bool                   // this node asked to be retired: that others take it for removed is no surprise

	tls       *tlsutil.Reloader // nil without TLS
	fsm       *fsm.FSM
	raft      *consensus.Node
	autopilot *consensus.Autopilot
	gossip    *membership.Membership
	prober    *probe.Prober
	duties    *leader.Duties
	database  *database // nil on a witness
	managed   *managedPostgres
	failover  *failover.Watch // nil where no PostgreSQL is managed
	proof     *quorumProof
	history   *history.Writer
	metrics   *telemetry.Metrics
	health    *health.Measurer
	board     httpapi.MemberBoard
	http      *httpapi.Server

	gossipNow     atomic.Pointer[membership.Membership] // gossip, as consensus sees it before and after it opened
	statusChanged chan struct{}
	lifetime      context.Context // Run's: for what watches until the agent stops
	stop          context.CancelCauseFunc
	closers       []func() error
	loops         sync.WaitGroup // the agent's own goroutines
	servers       sync.WaitGroup // those that serve; they end when their server is shut down
}

// errLeft ends Run without an error after the node was retired by its own operator.
var errLeft = errors.New("this node has left the cluster")

// New returns an agent that Run brings to life.
func New(opts Options) (*Agent, error) {
	if opts.Config == nil || opts.Logger == nil {
		return nil, errors.New("configure agent: no configuration or no logger")
	}
	a := &Agent{opts: opts, cfg: opts.Config, log: opts.Logger, statusChanged: make(chan struct{}, 1), proof: newQuorumProof()}
	a.files.Store(opts.Config)
	a.live.Store(opts.Config)
	none := ""
	a.clusterID.Store(&none)
	return a, nil
}

// Run opens the node and keeps it until ctx ends, then hands leadership over and stops; the node stays a member. It
// returns early with an error when the node can't go on, and with nil after `pgraft leave`.
func (a *Agent) Run(ctx context.Context) error {
	ctx, a.stop = context.WithCancelCause(ctx)
	defer a.stop(nil)
	a.started, a.lifetime = time.Now(), ctx
	if err := a.open(ctx); err != nil {
		return errors.Join(err, a.close())
	}
	a.log.Info("agent started", "node", a.cfg.NodeName, "server_id", a.raft.ServerID(), "http", a.cfg.HTTPURL(),
		"raft", a.cfg.RaftAdvertise(), "gossip", a.cfg.GossipAdvertise(), "console", a.cfg.ConsolePath())
	<-ctx.Done()
	a.log.Info("agent stopping", "reason", context.Cause(ctx))
	a.leaveIfTerminated(ctx)
	err := a.close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, errLeft) {
		err = errors.Join(cause, err)
	}
	return err
}

// leaveTimeout bounds how long a stopping agent tries to leave.
const leaveTimeout = 15 * time.Second

// leaveIfTerminated retires the node where leave_on_terminate asks for it.
func (a *Agent) leaveIfTerminated(ctx context.Context) {
	if !a.current().LeaveOnTerminate || !errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := a.leave(ctx); err != nil {
		a.log.Error("could not leave the cluster: stopping as a member", "error", err)
	}
}

// open brings up the parts in the order in which they stand on each other. What is open when one fails is closed by
// the caller.
func (a *Agent) open(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"prepare the data directory", a.openDataDir},
		{"read PostgreSQL's settings", a.openDefaults},
		{"prepare TLS", a.openTLS},
		{"collect metrics", a.openMetrics},
		{"start consensus", a.openConsensus},
		{"start gossip", a.openGossip},
		{"prepare PostgreSQL", a.openManaged},
		{"watch PostgreSQL", a.openDatabase},
		{"prepare the duties", a.openDuties},
		{"prepare failover", a.openFailover},
		{"serve the API", a.openHTTP},
		{"serve the console", a.openConsole},
		{"begin work", a.openLoops},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// onClose registers what undoes an opened part.
func (a *Agent) onClose(f func() error) { a.closers = append(a.closers, f) }

func (a *Agent) close() error {
	a.stop(nil)
	var errs []error
	for _, f := range slices.Backward(a.closers) {
		errs = append(errs, f())
	}
	a.servers.Wait()
	return errors.Join(errs...)
}

// loop runs one of the agent's goroutines until ctx ends; close waits for it.
func (a *Agent) loop(ctx context.Context, run func(ctx context.Context)) {
	a.loops.Go(func() { run(ctx) })
}

// touchStatus asks for the status file to be written now. It never blocks.
func (a *Agent) touchStatus() {
	select {
	case a.statusChanged <- struct{}{}:
	default:
	}
}
