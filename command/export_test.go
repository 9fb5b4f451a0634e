package command

import (
	"io"
	"time"

	"github.com/pgraft/pgraft/api"
)

// WriteDrillReport judges a drill's journal and prints the report: acks are the numbers acknowledged, by when.
func WriteDrillReport(w io.Writer, acks map[int64]time.Time, found []int64, events []api.Event, missing string) (lost []int64, err error) {
	r := &drillReport{OldPrimary: "pg2", NewPrimary: "pg1", Epoch: 4, OrderMS: 620, WholeMS: 4200, Whole: missing == "", Missing: missing}
	journal, there := drillJournal{Failed: 1}, map[int64]bool{}
	for number := int64(0); int(number) < 1000; number++ {
		if when, ok := acks[number]; ok {
			journal.Acks = append(journal.Acks, drillAck{number, when})
		}
	}
	for _, number := range found {
		there[number] = true
	}
	r.judge(journal, there)
	r.steps(events)
	return r.Lost, writeDrill(w, r)
}
