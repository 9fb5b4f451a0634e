package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
	"github.com/pgraft/pgraft/fsm"
)

func put(tb testing.TB, node *consensus.Node, key, value string) fsm.Result {
	tb.Helper()
	result, err := node.Propose(tb.Context(), fsm.KVSet{Key: key, Value: []byte(value)})
	if err != nil {
		tb.Fatalf("put %s: %v", key, err)
	}
	return result
}

func valueOf(machine *fsm.FSM, key string) string {
	_, pair := machine.Store().KVGet(nil, key)
	if pair == nil {
		return ""
	}
	return string(pair.Value)
}

func TestProposeFromAnyNode(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	for i := range 3 {
		key := fmt.Sprintf("key%d", i)
		put(t, c.Node(i), key, "v")
		c.Eventually(func() error {
			for j := range 3 {
				if got := valueOf(c.FSM(j), key); got != "v" {
					return fmt.Errorf("server %d has %s = %q", j, key, got)
				}
			}
			return nil
		})
	}
}

func TestProposeReportsARefusalOfTheStateMachine(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 1})
	put(t, c.Node(0), "k", "1")
	_, err := c.Node(0).Propose(t.Context(), fsm.KVSet{
		Key: "k", Value: []byte("2"), Cond: fsm.Cond{Kind: fsm.CondVersion, Number: 7},
	})
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != api.CodePrecondition {
		t.Fatalf("err = %v, want %s", err, api.CodePrecondition)
	}
}

func TestProposeWithoutLeaderIsRejected(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Idle: true})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := c.Node(0).Propose(ctx, fsm.Noop{})
	var rejected *consensus.RejectedError
	if !errors.As(err, &rejected) || rejected.Code != api.CodeNoLeader {
		t.Fatalf("err = %v, want it rejected with %s", err, api.CodeNoLeader)
	}
}

func TestCloseHandsLeadershipOver(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	leader := c.Leader()
	put(t, c.Node(leader), "a", "1")
	before := c.Node(c.Follower(leader)).Stats().Term
	c.Stop(leader)
	next := c.Follower(leader)
	c.Eventually(func() error {
		if id, _ := c.Node(next).Leader(); id == "" {
			return errors.New("no leader after the old one was stopped")
		}
		return nil
	})
	put(t, c.Node(next), "a", "2")
	if after := c.Node(next).Stats().Term; after != before+1 {
		t.Errorf("term went from %d to %d, want one election", before, after)
	}
}

func TestRestartKeepsStateAndIdentity(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{})
	put(t, c.Node(0), "a", "1")
	id := c.Node(1).ServerID()
	for i := range 3 {
		c.Stop(i)
	}
	for i := range 3 {
		c.Start(i)
	}
	leader := c.Leader()
	if c.Node(1).ServerID() != id {
		t.Errorf("server id changed from %s to %s", id, c.Node(1).ServerID())
	}
	if err := c.Node(leader).ConsistentBarrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := valueOf(c.FSM(leader), "a"); got != "1" {
		t.Errorf("a = %q after a restart, want 1", got)
	}
}

func TestSecondAgentOnTheSameDirectoryIsRefused(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 1})
	_, err := consensus.Open(consensus.Config{
		DataDir: c.DataDir(0), ClusterName: "test", BindAddr: "127.0.0.1:0", FSM: c.FSM(0),
	})
	if err == nil || !strings.Contains(err.Error(), "process id") {
		t.Fatalf("err = %v, want one that names the other process", err)
	}
}
