package controller_test

import (
	"testing"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/wal"
)

// TestAckedPositionIsOfThisEpoch: a server that has nothing of the primary's own timeline reports an older epoch, and
// would be below a position that was recorded for this one.
func TestAckedPositionIsOfThisEpoch(t *testing.T) {
	for _, tc := range []struct {
		name      string
		replay    wal.LSN
		due, late bool
		want      bool
	}{
		{"where the timeline begins", 0x100, true, true, false},
		{"a little beyond", 0x200, true, true, true},
		{"a little beyond, recorded lately", 0x200, true, false, false},
		{"far beyond, recorded lately", 0x100000, true, false, true},
		{"far beyond, recorded just now", 0x100000, false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := base()
			leads(&in)
			in.State.Lineage[1].Switch = 0x100
			in.Local.Position.Epoch, in.Running, in.AckedDue, in.AckedLate = 2, true, tc.due, tc.late
			in.Live = &controller.Live{PID: 1, Timeline: 2, LSN: 0x200000, Standbys: []controller.Standby{
				{Name: "b_n", State: "streaming", Flush: tc.replay, Replay: tc.replay}}}
			in.InForce = controller.PrimaryConf(&in)
			step := controller.Plan(in)
			if _, got := step.Op.(primacy.AckedOp); got != tc.want {
				t.Errorf("got step %+v, want a position recorded: %v", step, tc.want)
			}
		})
	}
}
