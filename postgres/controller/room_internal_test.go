package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestFull(t *testing.T) {
	t.Parallel()
	room, failure := int64(leastRoom-1), error(nil)
	c := &Controller{cfg: Config{Room: func() (int64, error) { return room, failure }}, logger: hclog.NewNullLogger()}
	now := time.Now()
	for _, step := range []struct {
		after time.Duration
		room  int64
		err   error
		full  bool
	}{
		{0, 0, nil, false},
		{roomEvery, 0, nil, false},
		{2 * roomEvery, 0, nil, true},
		{2*roomEvery + 1, leastRoom, nil, true}, // not looked at again yet
		{3 * roomEvery, leastRoom, nil, false},
		{4 * roomEvery, 0, nil, false}, // from the beginning
		{6 * roomEvery, 0, nil, true},
		{7 * roomEvery, 0, errors.New("no such directory"), false}, // nobody knows
	} {
		room, failure = step.room, step.err
		c.lookForRoom(now.Add(step.after))
		if got := c.memo.full(now.Add(step.after)); got != step.full {
			t.Errorf("after %s with %d bytes: full is %v, want %v", step.after, step.room, got, step.full)
		}
	}
	if got := fullText("start: exit status 1"); !strings.Contains(got, "no space left") || !strings.Contains(got, "exit status 1") {
		t.Error(got)
	}
}
