package controller_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
)

// TestNewPrimaryIsLeftAlone: nothing that is to be thrown away is touched in a new primary's first moments, nor is the
// primary before started as a standby that is not needed, and all else is done at once.
func TestNewPrimaryIsLeftAlone(t *testing.T) {
	t.Parallel()
	rested := 0
	for _, condition := range conditions() {
		in := base()
		condition.apply(&in)
		later := controller.Plan(in)
		in.Since = 0
		now := controller.Plan(in)
		switch {
		case strings.HasPrefix(later.Why, "about to "), later.Do == controller.StartStandby && !in.Files.Standby:
			rested++
			if now.Do != controller.Wait || now.Problem {
				t.Errorf("%s: %s at once, and it has to rest", condition.name, render(now))
			}
		case render(now) != render(later):
			t.Errorf("%s: %s at once, and %s later", condition.name, render(now), render(later))
		}
	}
	if rested == 0 {
		t.Error("no condition throws anything away")
	}
}

// TestOldPrimaryThatIsNeededStartsAtOnce: with nobody else to acknowledge, commits wait for the primary before.
func TestOldPrimaryThatIsNeededStartsAtOnce(t *testing.T) {
	t.Parallel()
	in := base()
	in.Since, in.Files.InOrder, in.Files.Checkpoint = 0, true, 0x180
	if now := controller.Plan(in); now.Do != controller.Wait {
		t.Errorf("%s, though another standby acknowledges", render(now))
	}
	in.State.Sync.Members = slices.DeleteFunc(in.State.Sync.Members, func(m primacy.Member) bool { return m.ServerID == "b" })
	if now := controller.Plan(in); now.Do != controller.StartStandby {
		t.Errorf("%s, though it alone can acknowledge", render(now))
	}
}
