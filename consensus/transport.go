package consensus

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// rpcTimeout bounds one RPC of Raft, which may carry many entries of the largest size.
const rpcTimeout = 10 * time.Second

var (
	errStarting      = errors.New("this server is starting")
	errNoTransfer    = errors.New("no leadership transfer is under way")
	errStaleTransfer = errors.New("this request for a leadership transfer is of another term")
)

// transport is raft's network transport with our eyes and hands in it. Embedding keeps its other methods, pre-vote
// among them.
type transport struct {
	*raft.NetworkTransport
	acks   *acks
	guard  *voteGuard
	pacer  *pacer
	rpcs   chan raft.RPC
	done   chan struct{}
	closed sync.Once
	wg     sync.WaitGroup

	received   atomic.Uint64 // RPCs
	heartbeats atomic.Uint64 // sent
	// denied is a term whose heartbeats are answered with a refusal, without being sent: see Node.stepDown.
	denied   atomic.Uint64
	transfer transferGate
	self     raft.ServerID
	addr     raft.ServerAddress
	// commitTimeout is after how long raft itself tells a server what is committed.
	commitTimeout time.Duration
}

func newTransport(stream raft.StreamLayer, provider raft.ServerAddressProvider, cfg *Config, a *acks, guard *voteGuard) *transport {
	t := &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			ServerAddressProvider:   provider,
			Logger:                  cfg.Logger.Named("raft-net"),
			Stream:                  stream,
			MaxPool:                 4,
			Timeout:                 rpcTimeout,
			MsgpackUseNewTimeFormat: true,
		}),
		acks: a, guard: guard, pacer: newPacer(cfg.Timers.LeaderLease), rpcs: make(chan raft.RPC), done: make(chan struct{}),
		self: cfg.ServerID, addr: raft.ServerAddress(cfg.AdvertiseAddr), commitTimeout: cfg.CommitTimeout,
	}
	t.wg.Go(t.runReceive)
	return t
}

// SetHeartbeatHandler keeps raft's fast path for heartbeats shut. By it a heartbeat of a newer term changes term and
// state in the middle of what raft's main goroutine does, and an old leader can write an entry under the new leader's
// term (raft#695). Without a handler heartbeats take their turn like every other RPC.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// Consumer returns the RPCs that runReceive lets through.
func (t *transport) Consumer() <-chan raft.RPC { return t.rpcs }

// EncodePeer returns the bare address, which others show as the leader's.
func (t *transport) EncodePeer(id raft.ServerID, addr raft.ServerAddress) []byte {
	if id == t.self {
		return []byte(t.addr)
	}
	return []byte(addr)
}

func (t *transport) runReceive() {
	for {
		select {
		case rpc := <-t.NetworkTransport.Consumer():
			t.received.Add(1)
			if answer, refuse, err := t.guard.refuses(rpc.Command); refuse {
				rpc.Respond(answer, err)
				continue
			}
			select {
			case t.rpcs <- rpc:
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// AppendEntries sends entries or, as raft's heartbeat goroutines do, none, and notes what was answered.
func (t *transport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	heartbeat := len(args.Entries) == 0 && args.PrevLogEntry == 0 && args.LeaderCommitIndex == 0
	if heartbeat {
		t.pacer.wait(id, t.done)
		// Deposed while it waited, this server must not keep the others from an election with a late heartbeat.
		if args.Term == t.denied.Load() || !t.guard.leads(args.Term) {
			*resp = raft.AppendEntriesResponse{RPCHeader: args.RPCHeader, Term: args.Term}
			return nil
		}
		t.heartbeats.Add(1)
	}
	sent := time.Now()
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil && resp.Success {
		t.acks.record(id, args.Term, sent, resp.LastLog)
	}
	return err
}

// AppendEntriesPipeline opens a connection for entries.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(inner, t.commitTimeout, t.guard.committed), nil
}

// TimeoutNow asks a server to take over, if a transfer was begun by Node.TransferLeadership and not given up. raft's
// request names no term, so that one which arrives late would depose a leader of a later term within its lease. The
// term is sent in the place of the address, which raft ignores here, and the receiver compares it.
func (t *transport) TimeoutNow(
	id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse,
) error {
	term, ok := t.transfer.send()
	if !ok {
		return errNoTransfer
	}
	stamped := *args
	stamped.Addr = strconv.AppendUint(nil, term, 10)
	return t.NetworkTransport.TimeoutNow(id, target, &stamped, resp)
}

// Close stops the transport. Raft calls it at the end of its shutdown.
func (t *transport) Close() error {
	t.closed.Do(func() { close(t.done) })
	t.wg.Wait()
	return t.NetworkTransport.Close()
}

// voteGuard refuses what raft would answer but must not.
type voteGuard struct {
	raft   atomic.Pointer[raft.Raft] // nil until raft runs
	logger hclog.Logger
	// silentUntil is when a server that had state at its start may vote again: until then it can have promised, before
	// it stopped, to vote for nobody.
	silentUntil time.Time
	// bootstrap says whether a server without a configuration may vote for a candidate: see bootstrap.go.
	bootstrap func(candidate raft.ServerID, vote bool) bool
}

// refuses returns the answer to a request that must not reach raft.
func (g *voteGuard) refuses(command any) (answer any, refuse bool, err error) {
	r := g.raft.Load()
	if r == nil {
		return nil, true, errStarting
	}
	switch request := command.(type) {
	case *raft.RequestVoteRequest:
		if !request.LeadershipTransfer && time.Now().Before(g.silentUntil) || g.strange(r, request.ID, true) {
			return &raft.RequestVoteResponse{RPCHeader: ownHeader(), Term: r.CurrentTerm()}, true, nil
		}
	case *raft.RequestPreVoteRequest:
		if time.Now().Before(g.silentUntil) || g.strange(r, request.ID, false) {
			return &raft.RequestPreVoteResponse{RPCHeader: ownHeader(), Term: r.CurrentTerm()}, true, nil
		}
	case *raft.TimeoutNowRequest:
		if term, err := strconv.ParseUint(string(request.Addr), 10, 64); err != nil || term != r.CurrentTerm() {
			return nil, true, errStaleTransfer
		}
	}
	return nil, false, nil
}

// leads reports whether this server is the leader of a term.
func (g *voteGuard) leads(term uint64) bool {
	r := g.raft.Load()
	return r != nil && r.State() == raft.Leader && r.CurrentTerm() == term
}

// committed returns a commit index that the leader of a term knows; ok is false if this server is not that leader. The
// order matters: see pipeline.
func (g *voteGuard) committed(term uint64) (index uint64, ok bool) {
	r := g.raft.Load()
	if r == nil {
		return 0, false
	}
	index = r.CommitIndex()
	return index, g.leads(term)
}

func ownHeader() raft.RPCHeader { return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax} }

// strange reports whether a server that knows no configuration is asked to vote by one that it has no agreement with.
// raft itself would vote for anybody then.
func (g *voteGuard) strange(r *raft.Raft, candidate []byte, vote bool) bool {
	if len(r.GetConfiguration().Configuration().Servers) > 0 {
		return false
	}
	allowed := g.bootstrap(raft.ServerID(candidate), vote)
	if !allowed && vote {
		g.logger.Warn("refused to vote for a server that this one has not agreed to found a cluster with", "candidate", string(candidate))
	}
	return !allowed
}
