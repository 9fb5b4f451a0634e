package controller_test

import (
	"strings"
	"testing"

	"github.com/pgraft/pgraft/postgres/controller"
)

// TestNewPrimaryIsLeftAlone: nothing that is to be thrown away is touched in a new primary's first moments, and all else
// is done at once.
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
		case strings.HasPrefix(later.Why, "about to "):
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
