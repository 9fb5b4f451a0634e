package managed_test

import (
	"testing"

	"github.com/pgraft/pgraft/postgres/managed"
)

func TestParseStandbyName(t *testing.T) {
	for name, want := range map[string]struct {
		nodeID int
		memory string
		ok     bool
	}{
		managed.StandbyName(7, "abc_1"): {7, "abc_1", true},
		"pgraft_7":                      {0, "", false},
		"pgraft_x_m":                    {0, "", false},
		"pgraft_7_":                     {0, "", false},
		"walreceiver":                   {0, "", false},
	} {
		nodeID, memory, ok := managed.ParseStandbyName(name)
		if ok != want.ok || ok && (nodeID != want.nodeID || memory != want.memory) {
			t.Errorf("%q: got %d, %q, %v", name, nodeID, memory, ok)
		}
	}
}
