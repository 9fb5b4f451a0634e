package primacy_test

import (
	"os"
	"strings"
	"testing"
)

// TestModel finds no way to break an invariant. That it looked where it matters is checked by the steps it took.
func TestModel(t *testing.T) {
	all := small()
	switch {
	case os.Getenv("PGRAFT_MODEL") == "large":
		all = append(append(all, standard()...), large()...)
	case !testing.Short() && !racing:
		all = append(all, standard()...)
	}
	taken, explored := map[string]int{}, 0
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			m := newModel(b, faithful)
			m.explore(t)
			if m.broken != "" {
				t.Fatal(m.broken)
			}
			t.Logf("%d worlds, %d states of the rules", len(m.visited), len(m.states))
			if m.most.epoch != b.epochs || m.most.acked != b.writes {
				t.Errorf("the last epoch was %d, and %d writes were acknowledged in it or before: want %d, %d",
					m.most.epoch, m.most.acked, b.epochs, b.writes)
			}
			explored++
			for what, n := range m.taken {
				taken[what] += n
			}
		})
	}
	if explored < len(all) {
		return // a part was asked for, or failed
	}
	for _, what := range []string{
		"attaches", "confirms", "crashes", "fence", "finds nothing", "follows the log", "gets a record", "is cloned", "is ready",
		"is to confirm", "next with more acknowledgements", "next with one", "next without one", "promoted", "promoted with loss", "records what is acknowledged",
		"reports", "restarts in place", "shrink", "tells its copy lost", "wiped", "writes",
	} {
		if taken[what] == 0 {
			t.Errorf("no server ever %s", what)
		}
	}
}

// TestModelFindsMutants breaks one rule at a time, which must break an invariant.
func TestModelFindsMutants(t *testing.T) {
	const lost = "was acknowledged in epoch"
	three := bounds{servers: 3, members: 3, writes: 1, epochs: 3}
	for _, tc := range []struct {
		name   string
		mutant mutant
		bounds bounds
		want   string
	}{
		{"no fence", noFence, three, lost},
		{"one acknowledgement too few", oneAckTooFew, three, lost},
		{"one report too few", oneReportTooFew, three, lost},
		{"compares length only", ignoresEpoch, bounds{servers: 3, members: 3, writes: 3, epochs: 3}, lost},
		{"counts a wiped disk", countsWiped, bounds{servers: 3, members: 3, writes: 1, epochs: 2, wipes: 1}, lost},
		{"confirms blindly", confirmsBlindly, bounds{servers: 3, members: 1, writes: 1, epochs: 2, changes: 2}, lost},
		{"confirms another change", confirmsAnother, bounds{servers: 3, members: 1, writes: 1, epochs: 2, changes: 3}, lost},
		{"clones under the old name", keepsMemory, bounds{servers: 3, members: 3, writes: 2, epochs: 3}, lost},
		{"opens at once after a restart", opensAtOnce, bounds{servers: 3, members: 3, writes: 1, epochs: 2, crashes: 1}, lost},
		{"opens at once after a promotion", opensPromoted, three, lost},
		{"weaker rule while members change", weakerRule, bounds{servers: 3, members: 3, writes: 1, epochs: 2, changes: 1}, lost},
		{"promotes another copy than was chosen", promotesAnyCopy, bounds{servers: 3, members: 3, epochs: 2, wipes: 1}, "two primaries"},
		{"confirms old records without a new one", oldRecordsCount, bounds{servers: 3, members: 3, writes: 1, epochs: 4}, lost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if b := tc.bounds; (b.epochs > 3 || b.writes > 2 || b.changes > 2) && (racing || testing.Short()) {
				t.Skip("takes long")
			}
			m := newModel(tc.bounds, tc.mutant)
			m.explore(t)
			if !strings.Contains(m.broken, tc.want) {
				t.Fatalf("%d worlds, and what is broken is %q", len(m.visited), m.broken)
			}
			t.Logf("found after %d worlds", len(m.visited))
		})
	}
}
