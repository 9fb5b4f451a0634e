package controller_test

import (
	"strings"
	"testing"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/wal"
)

const system = "7000000000000000001"

// lineage: epoch 1 on timeline 1, epoch 2 on timeline 2 from 100, and epoch 4 on timeline 3 from 200. Epoch 3 was begun
// by a primary that died before anyone followed it, and its timeline is 3, too.
func lineage() []primacy.Branch {
	return []primacy.Branch{
		{Epoch: 1, ServerID: "a", Timeline: 1},
		{Epoch: 2, Parent: 1, ServerID: "b", Timeline: 2, Switch: 0x100},
		{Epoch: 4, Parent: 2, ServerID: "c", Timeline: 3, Switch: 0x200},
	}
}

func TestRejoin(t *testing.T) {
	t.Parallel()
	known := map[wal.Timeline]uint64{1: 1, 2: 2}
	tests := []struct {
		name  string
		epoch uint64
		copy  controller.Copy
		want  controller.Rejoin
		why   string
		from  wal.LSN
	}{
		{"standby of the same epoch", 4, controller.Copy{Timeline: 3, Epoch: 4, LSN: 0x250, Exact: true}, controller.RejoinFollow, "epoch 4, the primary's", 0},
		{"standby of the same epoch that crashed", 4, controller.Copy{Timeline: 3, Epoch: 4, LSN: 0x250}, controller.RejoinLook, "not known before it has started", 0},
		{"standby behind the switch", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x180, Exact: true}, controller.RejoinFollow, "0/180", 0},
		{"standby at the switch", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x200, Exact: true}, controller.RejoinFollow, "0/200", 0},
		{"standby past the switch", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x201, Exact: true}, controller.RejoinRewind, "past 0/200", 0x200},
		{"standby two epochs behind", 4, controller.Copy{Timeline: 1, Epoch: 1, LSN: 0x90, Exact: true}, controller.RejoinFollow, "epoch 1", 0},
		{"standby two epochs behind, past that switch", 4, controller.Copy{Timeline: 1, Epoch: 1, LSN: 0x180, Exact: true}, controller.RejoinRewind, "past 0/100", 0x100},
		{"standby behind the switch that crashed", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x180}, controller.RejoinLook, "not known", 0},
		{"primary shut down, its checkpoint arrived", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x188, Exact: true, Shutdown: true}, controller.RejoinFollow, "0/188", 0},
		{"primary shut down, its checkpoint did not arrive", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x200, Exact: true, Shutdown: true}, controller.RejoinRewind, "past", 0x200},
		{"primary crashed", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x150, Led: true}, controller.RejoinRewind, "did not stop in order", 0x200},
		{"primary crashed, checkpoint past the switch", 4, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x300, Led: true}, controller.RejoinRewind, "past 0/200", 0x200},
		{"both call it timeline 3", 4, controller.Copy{Timeline: 3, Epoch: 3, LSN: 0x210, Exact: true, Timelines: map[wal.Timeline]uint64{1: 1, 2: 2, 3: 3}},
			controller.RejoinClone, "its timeline 3 began with epoch 3, and the primary's of that number with epoch 4", 0x200},
		{"both call it timeline 3, and it was promoted again", 4, controller.Copy{Timeline: 4, Epoch: 5, LSN: 0x300, Exact: true, Timelines: map[wal.Timeline]uint64{1: 1, 2: 2, 3: 3, 4: 5}},
			controller.RejoinClone, "its timeline 3 began with epoch 3", 0x200},
		{"both call it timeline 3, and the record was cut short", 4, controller.Copy{Timeline: 3, Epoch: 3, LSN: 0x210, Exact: true},
			controller.RejoinClone, "its timeline 3 began with epoch 3", 0x200},
		{"a lower timeline that is not in the record", 4, controller.Copy{Timeline: 7, Epoch: 3, LSN: 0x300, Exact: true, Timelines: map[wal.Timeline]uint64{1: 1, 7: 3}},
			controller.RejoinClone, "nobody knows whether its timeline 2 is the primary's", 0x100},
		{"unknown lineage", 4, controller.Copy{Timeline: 9, LSN: 0x300, Exact: true}, controller.RejoinClone, "nobody knows which epoch began timeline 9", 0},
		{"another cluster's", 4, controller.Copy{SystemID: "42", Timeline: 2, Epoch: 2, LSN: 0x10, Exact: true}, controller.RejoinRefuse, "another cluster", 0},
		{"foreign standby", 4, controller.Copy{Foreign: true, Timeline: 2, LSN: 0x150, Exact: true}, controller.RejoinFollow, "made without pgraft", 0},
		{"foreign standby past the switch", 4, controller.Copy{Foreign: true, Timeline: 2, LSN: 0x250, Exact: true}, controller.RejoinRefuse, "made without pgraft", 0},
		{"foreign standby on a higher timeline", 4, controller.Copy{Foreign: true, Timeline: 8, LSN: 0x10, Exact: true}, controller.RejoinRefuse, "timeline 8", 0},
		{"foreign primary", 4, controller.Copy{Foreign: true, Timeline: 2, LSN: 0x10, Exact: true, Led: true}, controller.RejoinRefuse, "made without pgraft", 0},
		{"no lineage", 6, controller.Copy{Timeline: 2, Epoch: 2, LSN: 0x10, Exact: true}, controller.RejoinRefuse, "no place in the lineage", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.copy.SystemID == "" {
				tt.copy.SystemID = system
			}
			if tt.copy.Timelines == nil {
				tt.copy.Timelines = known
			}
			got := controller.RejoinOf(lineage(), tt.epoch, system, tt.copy)
			if got.How != tt.want || !strings.Contains(got.Why, tt.why) {
				t.Errorf("got %s: %s\nwant %s: …%s…", got.How, got.Why, tt.want, tt.why)
			}
			if tt.from != 0 && got.From != tt.from {
				t.Errorf("WAL goes from %s, want %s", got.From, tt.from)
			}
		})
	}
}

// A timeline that the record does not know is not looked up on other branches than the followed one: there it may be
// another one of the same number.
func TestEpochOfUnknownTimeline(t *testing.T) {
	t.Parallel()
	local := controller.Local{Following: 2, Timelines: map[wal.Timeline]uint64{1: 1}}
	for timeline, want := range map[wal.Timeline]uint64{1: 1, 2: 2, 3: 0} {
		if got := controller.EpochOf(local, lineage(), timeline); got != want {
			t.Errorf("timeline %d: epoch %d, want %d", timeline, got, want)
		}
	}
}
