package consensus_test

import (
	"context"
	"testing"
	"time"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
	"github.com/pgraft/pgraft/fsm"
)

// TestLogIsOpenedAgain takes the log away under a server. It must go on by itself, and have lost nothing.
func TestLogIsOpenedAgain(t *testing.T) {
	c := consensustest.New(t, consensustest.Options{Servers: 1})
	put := func(key string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Node(0).Propose(ctx, fsm.KVSet{Key: key, Value: []byte("v")})
		return err
	}
	if err := put("before"); err != nil {
		t.Fatal(err)
	}
	if err := consensus.CloseLogUnder(c.Node(0)); err != nil {
		t.Fatal(err)
	}
	c.Eventually(func() error { return put("after") })
	if fault := c.Node(0).Stats().DiskFault; fault != nil {
		t.Errorf("the fault is still reported: %v", fault)
	}

	c.Stop(0)
	c.Start(0)
	c.Eventually(func() error { return put("later") })
	for _, key := range []string{"before", "after", "later"} {
		if _, pair := c.FSM(0).Store().KVGet(nil, key); pair == nil || pair.Version != 1 {
			t.Errorf("%s: %+v, want version 1", key, pair)
		}
	}
}
