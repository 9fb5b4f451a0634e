package leader_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func TestKnownServers(t *testing.T) {
	since := time.Unix(1000, 0)
	failed := member("2", api.NodeFailed)
	failed.StatusChanged = since
	servers := leader.KnownServers(
		[]fsm.Node{row("1", 1), row("2", 2), row("3", 3)},
		[]leader.Member{member("1", api.NodeAlive), failed, member("4", api.NodeAlive)},
	)
	var got []string
	for _, s := range servers {
		got = append(got, string(s.ID)+" "+s.Name+" "+s.Status)
		if want := map[bool]time.Time{true: since}[s.ID == "2"]; !s.FailedSince.Equal(want) {
			t.Errorf("server %s: failed since %s, want %s", s.ID, s.FailedSince, want)
		}
	}
	// 3 is registered and unknown to gossip, 4 is new: gossip knows it and the registry does not yet.
	if text, want := strings.Join(got, ", "), "1 n-1 alive, 2 n-2 failed, 3 n-3 failed, 4 n-4 alive"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}
