package fsm_test

import (
	"testing"

	"github.com/pgraft/pgraft/fsm"
)

// A value is decoded in a few steps, not in one copy of all of it for each few bytes.
func TestLargestValueIsDecodedInFewSteps(t *testing.T) {
	encoded, err := fsm.EncodeOp(fsm.KVSet{Key: "k", Value: make([]byte, fsm.MaxValueSize)})
	if err != nil {
		t.Fatal(err)
	}
	steps := testing.AllocsPerRun(2, func() {
		if _, err := fsm.DecodeOp(encoded); err != nil {
			t.Fatal(err)
		}
	})
	if steps > 200 {
		t.Fatalf("%.0f allocations", steps)
	}
}
