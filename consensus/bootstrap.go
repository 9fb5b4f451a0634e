package consensus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/pgraft/pgraft/internal/durable"
)

// How a cluster begins, and why there is only one of it.
//
// Every server started with bootstrap_expect = N waits until it sees N candidates. The one with the lowest id of the N
// lowest coordinates. It asks every server that it knows of for its state: an answer that is missing stops it, and one
// that shows state of Raft's is evidence of a cluster, which is then to be joined. Next it proposes the configuration,
// with a ballot number above all that it was told of, to each of the N, which each accept at most one: the one with
// the highest ballot, on disk. Only when all N have accepted does the coordinator write the configuration. The others
// get it from the leader that is then elected.
//
// A server without a configuration votes only for members of the configuration that it accepted last, and once it was
// asked for that vote it accepts no other. (raft alone lets such a server vote for anybody.) So:
//
//   - A configuration Y that is written was accepted by all its members. A server in Y that had accepted X before can
//     no longer vote for X. If it had voted for X already, it has state, would not have accepted Y, and Y would not
//     have been written.
//   - So when X and Y are both written, however late and by however slow a coordinator, what they share votes for one
//     of the two only, the one with the higher ballot. The other one needs a majority of its own outside it: then
//     N + N/2+1 servers with bootstrap_expect were there (5 for N = 3), in two groups that did not see each other.
//     Nothing can tell such groups from two clusters that are meant; the cluster id then keeps them apart.
//   - No clock takes part in this. The window of ten seconds in which an acceptance is not replaced at the wish of
//     another coordinator only keeps two of them from undoing each other's work.

// bootstrapWindow is how long an acceptance is not given up for another coordinator.
const bootstrapWindow = 10 * time.Second

const bootstrapCallTimeout = 2 * time.Second

// Peer is a server as gossip knows it, with what it was started to do.
type Peer struct {
	ServerID  raft.ServerID `json:"server_id"`
	Name      string        `json:"name"`
	Addr      string        `json:"addr"`
	Expect    int           `json:"expect"`
	NonVoting bool          `json:"non_voting"`
}

// BootstrapOutcome says where the founding of a cluster stands.
type BootstrapOutcome string

// The outcomes of MaybeBootstrap.
const (
	BootstrapWaiting  BootstrapOutcome = "waiting"  // not yet, or not by this server: call again
	BootstrapFounded  BootstrapOutcome = "founded"  // this server wrote the configuration
	BootstrapMember   BootstrapOutcome = "member"   // this server has state: there is nothing to found
	BootstrapExisting BootstrapOutcome = "existing" // another server belongs to a cluster: wait to be added to it
	BootstrapNever    BootstrapOutcome = "never"    // this server founds no cluster: it is to be added to one
)

// MaybeBootstrap founds the cluster if the time has come and it is for this server to do. candidates are all servers
// that gossip knows; this one may be among them. The reason says what is waited for. An error needs an operator.
func (n *Node) MaybeBootstrap(ctx context.Context, candidates []Peer) (outcome BootstrapOutcome, reason string, err error) {
	state, err := n.store.state()
	if err != nil {
		return BootstrapWaiting, "", fmt.Errorf("read raft state: %w", err)
	}
	if !state.empty() {
		return BootstrapMember, "this server has raft state", nil
	}
	plan, err := planBootstrap(n.selfPeer(), candidates)
	if err != nil {
		return BootstrapWaiting, "", err
	}
	if plan.founders == nil {
		return plan.outcome, plan.reason, nil
	}
	return n.bootstrap.coordinate(ctx, plan)
}

func (n *Node) selfPeer() Peer {
	return Peer{n.cfg.ServerID, n.cfg.NodeName, n.cfg.AdvertiseAddr, n.cfg.BootstrapExpect, n.cfg.NonVoting}
}

// bootstrapPlan is what this server is to do: with founders it coordinates them, else outcome and reason say why not.
type bootstrapPlan struct {
	founders []Peer // sorted by id, this server first
	ask      []Peer // all others that are known
	outcome  BootstrapOutcome
	reason   string
}

func planBootstrap(self Peer, candidates []Peer) (bootstrapPlan, error) {
	others := slices.DeleteFunc(slices.Clone(candidates), func(p Peer) bool { return p.ServerID == self.ServerID })
	founders := []Peer{self}
	for _, peer := range others {
		if peer.NonVoting || peer.Expect == 0 {
			continue
		}
		if peer.Expect != self.Expect && self.Expect != 0 {
			return bootstrapPlan{}, fmt.Errorf("node %q has bootstrap_expect = %d and this one %d: give all the same", peer.Name, peer.Expect, self.Expect)
		}
		founders = append(founders, peer)
	}
	switch {
	case self.NonVoting:
		return bootstrapPlan{outcome: BootstrapNever, reason: "this server is non_voting"}, nil
	case self.Expect == 0:
		return bootstrapPlan{outcome: BootstrapNever, reason: "bootstrap_expect is not set"}, nil
	case len(founders) < self.Expect:
		return bootstrapPlan{outcome: BootstrapWaiting, reason: fmt.Sprintf("%d of %d voters are there", len(founders), self.Expect)}, nil
	}
	slices.SortFunc(founders, func(a, b Peer) int { return cmp.Compare(a.ServerID, b.ServerID) })
	founders = founders[:self.Expect]
	if founders[0].ServerID != self.ServerID {
		return bootstrapPlan{outcome: BootstrapWaiting, reason: fmt.Sprintf("node %q founds the cluster", founders[0].Name)}, nil
	}
	return bootstrapPlan{founders: founders, ask: others}, nil
}

// acceptance is a configuration that this server agreed to.
type acceptance struct {
	Ballot  uint64 `json:"ballot"`
	Servers []Peer `json:"servers"` // sorted by id; the first is the coordinator
}

func (a *acceptance) has(id raft.ServerID) bool {
	return slices.ContainsFunc(a.Servers, func(p Peer) bool { return p.ServerID == id })
}

type bootstrapState struct {
	node   *Node
	path   string
	window time.Duration // how long an acceptance is not given up for another coordinator

	mu       sync.Mutex // guards all below; held while the acceptance is written, so that no vote overtakes it
	accepted *acceptance
	at       time.Time // when it was accepted, or read from disk
	pinned   bool      // it was acted upon: no other is accepted
}

func newBootstrapState(n *Node) (*bootstrapState, error) {
	b := &bootstrapState{node: n, path: filepath.Join(n.store.dir, acceptanceFile), window: bootstrapWindow, at: time.Now()}
	content, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read bootstrap agreement: %w", err)
	}
	b.accepted = &acceptance{}
	if err := json.Unmarshal(content, b.accepted); err != nil || len(b.accepted.Servers) == 0 {
		return nil, fmt.Errorf("%s is damaged: stop the agent and empty the data directory: %w", b.path, err)
	}
	return b, nil
}

// mayVoteFor reports whether this server, which has no configuration, may help to elect a candidate.
func (b *bootstrapState) mayVoteFor(candidate raft.ServerID, vote bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accepted == nil || !b.accepted.has(candidate) {
		return false
	}
	b.pinned = b.pinned || vote
	return true
}

// probeAnswer is a server's account of itself.
type probeAnswer struct {
	Self   Peer      `json:"self"`
	State  raftState `json:"state"`
	Ballot uint64    `json:"ballot"`
}

func (b *bootstrapState) serveProbe(context.Context, struct{}) (probeAnswer, error) {
	state, err := b.node.store.state()
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := probeAnswer{Self: b.node.selfPeer(), State: state}
	if b.accepted != nil {
		answer.Ballot = b.accepted.Ballot
	}
	return answer, err
}

func (b *bootstrapState) servePrepare(_ context.Context, proposed acceptance) (struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, err := b.node.store.state()
	if err != nil {
		return struct{}{}, err
	}
	if !state.empty() {
		return struct{}{}, errors.New("this server has raft state")
	}
	recent := time.Since(b.at) < b.window
	if err := judgeProposal(b.node.selfPeer(), proposed, b.accepted, b.pinned, recent); err != nil {
		return struct{}{}, err
	}
	encoded, err := json.Marshal(proposed)
	if err != nil {
		return struct{}{}, err
	}
	if err := durable.WriteFile(b.path, encoded); err != nil {
		return struct{}{}, fmt.Errorf("write bootstrap agreement: %w", err)
	}
	b.accepted, b.at = &proposed, time.Now()
	return struct{}{}, nil
}

// judgeProposal says why a server without state must not accept a configuration, nil if it may.
func judgeProposal(self Peer, proposed acceptance, accepted *acceptance, pinned, recent bool) error {
	servers := proposed.Servers
	switch {
	case self.NonVoting || self.Expect == 0:
		return errors.New("this server founds no cluster")
	case len(servers) != self.Expect:
		return fmt.Errorf("this server has bootstrap_expect = %d and %d servers are proposed", self.Expect, len(servers))
	case !proposed.has(self.ServerID):
		return errors.New("this server is not among those proposed")
	case !slices.IsSortedFunc(servers, func(a, b Peer) int { return cmp.Compare(a.ServerID, b.ServerID) }):
		return errors.New("the proposed servers are not in order")
	case accepted == nil:
		return nil
	case proposed.Ballot <= accepted.Ballot:
		return fmt.Errorf("this server agreed to ballot %d already", accepted.Ballot)
	case pinned:
		return errors.New("this server was asked to vote for what it agreed to")
	case accepted.Servers[0].ServerID != servers[0].ServerID && recent:
		return fmt.Errorf("this server agreed with node %q a moment ago", accepted.Servers[0].Name)
	}
	return nil
}

// coordinate carries a plan out. What it can't do now it can try again.
func (b *bootstrapState) coordinate(ctx context.Context, plan bootstrapPlan) (BootstrapOutcome, string, error) {
	ballot, existing, err := b.probe(ctx, plan)
	if err != nil {
		return BootstrapWaiting, err.Error(), nil
	}
	if existing != "" {
		return BootstrapExisting, existing, nil
	}
	proposed := acceptance{Ballot: ballot, Servers: plan.founders}
	if err := b.prepare(ctx, proposed); err != nil {
		return BootstrapWaiting, err.Error(), nil
	}
	if err := b.found(ctx, proposed); err != nil {
		return BootstrapWaiting, "", err
	}
	b.node.logger.Info("founded the cluster", "servers", len(plan.founders), "ballot", ballot)
	return BootstrapFounded, "", nil
}

// probe asks all known servers for their state. It returns a ballot above theirs, or who belongs to a cluster.
func (b *bootstrapState) probe(ctx context.Context, plan bootstrapPlan) (ballot uint64, existing string, err error) {
	answers := make([]probeAnswer, len(plan.ask))
	group, ctx := errgroup.WithContext(ctx)
	for i, peer := range plan.ask {
		group.Go(func() error { return b.call(ctx, peer, "probe", struct{}{}, &answers[i]) })
	}
	if err := group.Wait(); err != nil {
		return 0, "", err
	}
	own, _ := b.serveProbe(ctx, struct{}{})
	ballot = own.Ballot
	for i, answer := range answers {
		peer := plan.ask[i]
		if !answer.State.empty() {
			return 0, fmt.Sprintf("node %q belongs to a cluster already", peer.Name), nil
		}
		if answer.Self.Expect != peer.Expect || answer.Self.NonVoting != peer.NonVoting {
			return 0, "", fmt.Errorf("node %q says of itself something else than gossip does: waiting for gossip", peer.Name)
		}
		ballot = max(ballot, answer.Ballot)
	}
	return ballot + 1, "", nil
}

func (b *bootstrapState) prepare(ctx context.Context, proposed acceptance) error {
	if _, err := b.servePrepare(ctx, proposed); err != nil {
		return fmt.Errorf("agree with myself: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, peer := range proposed.Servers[1:] {
		group.Go(func() error { return b.call(ctx, peer, "prepare", proposed, &struct{}{}) })
	}
	return group.Wait()
}

func (b *bootstrapState) call(ctx context.Context, peer Peer, what string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapCallTimeout)
	defer cancel()
	if err := b.node.call(ctx, peer.ServerID, http.MethodPost, "/internal/raft/bootstrap/"+what, body, answer); err != nil {
		return fmt.Errorf("waiting for node %q: %w", peer.Name, err)
	}
	return nil
}

// found writes the configuration that all agreed to.
func (b *bootstrapState) found(ctx context.Context, agreed acceptance) error {
	if err := b.pin(agreed.Ballot); err != nil {
		return err
	}
	var configuration raft.Configuration
	for _, peer := range agreed.Servers {
		configuration.Servers = append(configuration.Servers, raft.Server{ID: peer.ServerID, Address: raft.ServerAddress(peer.Addr)})
	}
	if err := b.node.store.markBootstrap(); err != nil {
		return fmt.Errorf("mark bootstrap: %w", err)
	}
	if err := await(ctx, b.node.raft.BootstrapCluster(configuration)); err != nil {
		return fmt.Errorf("bootstrap raft: %w", err)
	}
	return b.node.store.unmarkBootstrap()
}

// pin makes sure that this server has not agreed to something else since.
func (b *bootstrapState) pin(ballot uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accepted == nil || b.accepted.Ballot != ballot {
		return errors.New("this server agreed to another configuration meanwhile")
	}
	b.pinned = true
	return nil
}
