package managed_test

import (
	"strings"
	"testing"

	"github.com/pgraft/pgraft/postgres/managed"
)

func TestSyncNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		standbys []string
		acks     int
		want     string
	}{
		{"no quorum asked for", []string{"a"}, 0, ""},
		{"negative", []string{"a"}, -1, ""},
		{"one of two, sorted", []string{"b", "a"}, 1, `ANY 1 ("a", "b")`},
		{"a name twice counts once", []string{"a", "a"}, 2, `ANY 2 ("a")`},
		{"nobody left", nil, 1, `ANY 1 ("pgraft_nobody")`},
		{"a quote", []string{`a"b`}, 1, `ANY 1 ("a""b")`},
		{"never everybody", []string{"*"}, 1, `ANY 1 ("pgraft_nobody")`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := managed.SyncNames(tt.standbys, tt.acks); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestStandbyName(t *testing.T) {
	t.Parallel()
	const uuid = "0b9b1a3c-7d0a-4f0e-9f5e-2f4f1f5d6c7b"
	if got, want := managed.StandbyName(12, uuid), "pgraft_12_"+uuid; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string]string{}
	// Each would be the same as another for PostgreSQL, which cuts, cleans and compares without regard to case.
	for _, memory := range []string{"a", "A", "ä", "Ä", "a b", "a?b", strings.Repeat("x", 60), strings.Repeat("x", 61)} {
		name := managed.StandbyName(1, memory)
		if len(name) > 63 || strings.ToLower(name) != name {
			t.Errorf("StandbyName(1, %q) = %s does not last in PostgreSQL", memory, name)
		}
		if other, dup := seen[name]; dup {
			t.Errorf("memories %q and %q have one name", memory, other)
		}
		seen[name] = memory
	}
}
