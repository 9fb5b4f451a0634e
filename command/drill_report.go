package command

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

// drillReport is what -format=json prints.
type drillReport struct {
	Kind         string      `json:"kind"` // failover, switchover
	Ordered      time.Time   `json:"ordered"`
	OldPrimary   string      `json:"old_primary"`
	NewPrimary   string      `json:"new_primary"`
	Epoch        uint64      `json:"epoch"`
	Acknowledged int         `json:"acknowledged"`
	Failed       int         `json:"failed"` // writes that ended in an error or a warning: they may be there or not
	Lost         []int64     `json:"lost"`   // numbers that were acknowledged and are not there
	UsualMS      float64     `json:"usual_ms"`
	GapMS        int64       `json:"gap_ms"`   // longest time between two acknowledged writes
	OrderMS      int64       `json:"order_ms"` // from the order to its answer
	Whole        bool        `json:"whole"`    // the old primary is back as a standby that counts
	WholeMS      int64       `json:"whole_ms,omitempty"`
	Missing      string      `json:"missing,omitempty"` // what is not, where it is not whole
	Steps        []drillStep `json:"steps"`
}

// drillStep is an event of the drill.
type drillStep struct {
	AfterMS int64     `json:"after_ms"` // since the first
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
	Node    string    `json:"node,omitempty"`
	Message string    `json:"message"`
}

// judge compares what was acknowledged with what is there. It is pure.
func (r *drillReport) judge(j drillJournal, found map[int64]bool) {
	r.Acknowledged, r.Failed, r.Lost = len(j.Acks), j.Failed, []int64{}
	var between []time.Duration
	for i, a := range j.Acks {
		if !found[a.Number] {
			r.Lost = append(r.Lost, a.Number)
		}
		if i > 0 {
			between = append(between, a.At.Sub(j.Acks[i-1].At))
		}
	}
	if len(between) == 0 {
		return
	}
	slices.Sort(between)
	r.GapMS = between[len(between)-1].Milliseconds()
	r.UsualMS = float64(between[len(between)/2].Microseconds()) / 1000
}

// steps takes the events over, with the time since the first.
func (r *drillReport) steps(events []api.Event) {
	r.Steps = []drillStep{}
	for _, e := range events {
		r.Steps = append(r.Steps, drillStep{
			AfterMS: e.Time.Sub(events[0].Time).Milliseconds(), Time: e.Time, Type: e.Type, Node: e.Node, Message: e.Message,
		})
	}
}

func writeDrill(w io.Writer, r *drillReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is the primary now, epoch %d; it was %s.\n\n", r.NewPrimary, r.Epoch, r.OldPrimary)
	line := func(name, format string, args ...any) {
		fmt.Fprintln(&b, hanging(clean(fmt.Sprintf(format, args...)), fmt.Sprintf("%-18s", name), strings.Repeat(" ", 18)))
	}
	if len(r.Lost) == 0 {
		line("Lost writes", "none of %d acknowledged ones; %d ended in an error, and would be tried again by a client", r.Acknowledged, r.Failed)
	} else {
		line("LOST WRITES", "%d of %d ACKNOWLEDGED WRITES ARE LOST, the first is number %d", len(r.Lost), r.Acknowledged, r.Lost[0])
	}
	line("Longest gap", "%s between two acknowledged writes; usually %.1f ms", ago(time.Duration(r.GapMS)*time.Millisecond), r.UsualMS)
	line("The order", "took %s", ago(time.Duration(r.OrderMS)*time.Millisecond))
	if r.Whole {
		line("Whole again", "after %s: %s is a standby that counts", ago(time.Duration(r.WholeMS)*time.Millisecond), r.OldPrimary)
	} else {
		line("NOT WHOLE AGAIN", "%s. See: pgraft status", r.Missing)
	}
	b.WriteString("\n")
	t := newTable("AFTER", "STEP", "NODE", "MESSAGE")
	t.shrink = []int{3}
	for _, s := range r.Steps {
		t.add(ago(time.Duration(s.AfterMS)*time.Millisecond), s.Type, orDash(s.Node), s.Message)
	}
	if err := t.write(&b); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
