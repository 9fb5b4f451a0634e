package leader_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/api"
)

func TestDeadlines(t *testing.T) {
	start := time.Unix(1000, 0)
	short := api.Session{ID: "short", TTL: "10s"}
	long := api.Session{ID: "long", TTL: "60s"}
	endless := api.Session{ID: "endless"}
	d := leader.NewDeadlines()

	d.Sync([]api.Session{short, long, endless}, start)
	if got := d.Expired(start.Add(9 * time.Second)); len(got) != 0 {
		t.Errorf("expired too early: %v", got)
	}
	if got := d.Expired(start.Add(11 * time.Second)); !slices.Equal(got, []string{"short"}) {
		t.Errorf("expired after 11 s: %v, want short", got)
	}

	d.Sync([]api.Session{short, long, endless}, start.Add(5*time.Second))
	if got := d.Expired(start.Add(11 * time.Second)); !slices.Equal(got, []string{"short"}) {
		t.Errorf("a second sync must not prolong: expired %v, want short", got)
	}

	d.Renew(short, start.Add(9*time.Second))
	if got := d.Expired(start.Add(18 * time.Second)); len(got) != 0 {
		t.Errorf("renewed session expired: %v", got)
	}

	d.Sync([]api.Session{long}, start)
	if got := d.Expired(start.Add(time.Hour)); !slices.Equal(got, []string{"long"}) {
		t.Errorf("after short ended: expired %v, want long only", got)
	}
}
