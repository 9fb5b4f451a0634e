package consensus

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/pgraft/pgraft/api"
)

// What tests outside the package reach of its inside.

// PreambleBytes returns a preamble as it goes over the wire.
func PreambleBytes(kind byte, cluster, clusterID string, from, to raft.ServerID) []byte {
	var buffer bytes.Buffer
	if err := writePreamble(&buffer, preamble{Kind: kind, Cluster: cluster, ClusterID: clusterID, From: from, To: to}); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// ReadPreamble parses a preamble and writes it again.
func ReadPreamble(r io.Reader) ([]byte, error) {
	p, err := readPreamble(r)
	if err != nil {
		return nil, err
	}
	return PreambleBytes(p.Kind, p.Cluster, p.ClusterID, p.From, p.To), nil
}

// ReadWelcome returns why a connection was refused.
func ReadWelcome(r io.Reader) (string, error) {
	answer, err := readWelcome(r)
	return answer.Refused, err
}

// Kinds of connection.
const (
	KindRaft = kindRaft
	KindHTTP = kindHTTP
)

// InjectDiskFault fails all writes to the log from now on.
func InjectDiskFault(n *Node, message string) {
	err := errors.New(message)
	n.store.wal.inject.Store(&err)
}

// Gathers tells whether operations that wait are to wait for more.
func Gathers(waiting, flying int) bool { return gathers(waiting, flying) }

// PlanBootstrap returns the founders, or the outcome and reason.
func PlanBootstrap(self Peer, candidates []Peer) ([]Peer, BootstrapOutcome, string, error) {
	plan, err := planBootstrap(self, candidates)
	return plan.founders, plan.outcome, plan.reason, err
}

// Acceptance is what a server agreed to.
type Acceptance = acceptance

// JudgeProposal says why a server must not accept a configuration.
func JudgeProposal(self Peer, proposed Acceptance, accepted *Acceptance, pinned, recent bool) error {
	return judgeProposal(self, proposed, accepted, pinned, recent)
}

// SetBootstrapWindow sets how long an acceptance is not given up for another coordinator.
func SetBootstrapWindow(n *Node, window time.Duration) {
	n.bootstrap.mu.Lock()
	defer n.bootstrap.mu.Unlock()
	n.bootstrap.window = window
}

// PrepareBootstrap has a server accept a configuration.
func PrepareBootstrap(n *Node, proposed Acceptance) error {
	_, err := n.bootstrap.servePrepare(n.ctx, proposed)
	return err
}

// FoundBootstrap has a server write the configuration that it accepted last, as a coordinator does at the end.
func FoundBootstrap(n *Node) error {
	n.bootstrap.mu.Lock()
	accepted := *n.bootstrap.accepted
	n.bootstrap.mu.Unlock()
	return n.bootstrap.found(n.ctx, accepted)
}

// SetAutopilotIntervals makes autopilot faster.
func SetAutopilotIntervals(a *Autopilot, update, reconcile time.Duration) {
	a.updateInterval, a.reconcileInterval = update, reconcile
}

// PlanRemovals chooses among dead voters (by age) who may go.
func PlanRemovals(config api.AutopilotConfig, voters int, votersDead, othersDead map[string]time.Duration) ([]string, error) {
	settings, err := readAutopilotConfig(config)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var candidates []removal
	for id, age := range votersDead {
		candidates = append(candidates, removal{&autopilot.Server{ID: raft.ServerID(id)}, true, now.Add(-age)})
	}
	for id, age := range othersDead {
		candidates = append(candidates, removal{&autopilot.Server{ID: raft.ServerID(id)}, false, now.Add(-age)})
	}
	var ids []string
	for _, c := range planRemovals(settings, voters, candidates, now) {
		ids = append(ids, string(c.server.ID))
	}
	return ids, nil
}

// Acks are the answers to a leader's heartbeats.
type Acks struct{ acks *acks }

// NewAcks returns none.
func NewAcks() Acks { return Acks{newAcks()} }

// Record notes an answer.
func (a Acks) Record(id raft.ServerID, term uint64, sent time.Time) { a.acks.record(id, term, sent, 0) }

// Promise notes a server's heartbeat timeout.
func (a Acks) Promise(id raft.ServerID, heartbeat time.Duration) { a.acks.promise(id, heartbeat) }

// LeaseUntil returns the lease's end.
func (a Acks) LeaseUntil(term uint64, c raft.Configuration, self raft.ServerID, now time.Time, lease time.Duration) (time.Time, bool) {
	return a.acks.leaseUntil(term, c, self, now, lease)
}

// StepDown makes a leader a follower.
func StepDown(n *Node) { n.stepDown(n.raft.CurrentTerm()) }

// CloseLogUnder closes the log's files under a running server, as raft-wal's own end of a segment does on a full disk.
func CloseLogUnder(n *Node) error { return n.store.wal.wal.Close() }

// Renewed returns a channel that is closed when a quorum has confirmed heartbeats sent at since or later.
func (a Acks) Renewed(c raft.Configuration, self raft.ServerID, since time.Time) <-chan struct{} {
	return a.acks.awaitRenewal(c, self, since)
}

// Pacer is what makes heartbeats one beat.
type Pacer struct{ pacer *pacer }

// NewPacer returns one with a beat of two fifths of the lease.
func NewPacer(leaderLease time.Duration) Pacer { return Pacer{newPacer(leaderLease)} }

// Take says how long a heartbeat has to wait; if not at all, it counts as sent.
func (p Pacer) Take(id raft.ServerID, now time.Time) time.Duration {
	left, _ := p.pacer.take(id, now)
	return max(left, 0)
}

// Hurry lets heartbeats go.
func (p Pacer) Hurry(now time.Time) { p.pacer.hurry(now) }

// NewPipeline wraps raft's connection for entries.
func NewPipeline(inner raft.AppendPipeline, limit time.Duration, commit func(term uint64) (uint64, bool)) raft.AppendPipeline {
	return newPipeline(inner, limit, commit)
}
