package failover_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/failover"
	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

var update = flag.Bool("update", false, "write the golden files again")

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a scene under construction: pg1 is the primary, pg2 and pg3 its standbys, pg2 leads.
type world struct{ failover.Scene }

func newWorld() *world {
	w := &world{failover.Scene{
		Now: noon, Self: "pg2", Since: noon.Add(-time.Hour), PhaseSince: noon.Add(-time.Hour), Secret: "secret",
		State: primacy.State{
			SystemID: "7000", Major: 15, Epoch: 4, Phase: primacy.PhaseReady, Primary: "pg1",
			Sync:    primacy.Sync{Version: 9, Members: members("pg1", "pg2", "pg3"), Acks: 1},
			Acked:   primacy.Position{Epoch: 4, LSN: 0x1000},
			Lineage: []primacy.Branch{{Epoch: 4, ServerID: "pg1", Timeline: 1}},
		},
	}}
	for _, id := range []string{"pg1", "pg2", "pg3"} {
		w.add(id)
	}
	return w.transferred()
}

// transferred keeps leadership out of a case that is about something else.
func (w *world) transferred() *world { w.TransferAfter = noon.Add(time.Hour); return w }

func members(ids ...string) []primacy.Member {
	var out []primacy.Member
	for _, id := range ids {
		out = append(out, primacy.Member{ServerID: id, Memory: "m-" + id})
	}
	return out
}

func (w *world) add(id string) *failover.Server {
	primary := id == w.State.Primary
	role := "standby"
	if primary {
		role = "primary"
	}
	w.Servers = append(w.Servers, failover.Server{
		Node:  failover.Node{ID: id, Name: id, Voter: true},
		Agent: alive(), Heard: noon, AcknowledgedLast: noon,
		View: &failover.View{
			ServerID: id, Managed: true, Role: role, Priority: 100, Epoch: w.State.Epoch, Phase: w.State.Phase,
			Running: true, Data: failover.DataPresent, SystemID: "7000", Major: 15, Standby: !primary, Memory: "m-" + id,
			Position: primacy.Position{Epoch: 4, LSN: 0x2000}, Countable: !primary, Streaming: !primary, WALAgeMS: 20,
		},
	})
	if primary {
		w.of(id).Postgres = failover.Evidence{Reach: failover.ReachAccepting, Since: noon.Add(-time.Hour)}
		return w.of(id)
	}
	if p := w.of(w.State.Primary); p != nil && p.View != nil {
		p.View.Standbys = append(p.View.Standbys, failover.Standby{ServerID: id, Memory: "m-" + id, Streaming: true, Flush: 0x2000})
	}
	return w.of(id)
}

func (w *world) of(id string) *failover.Server {
	for i := range w.Servers {
		if w.Servers[i].ID == id {
			return &w.Servers[i]
		}
	}
	return nil
}

func (w *world) remove(id string) {
	w.Servers = slices.DeleteFunc(w.Servers, func(s failover.Server) bool { return s.ID == id })
	w.unstream(id)
}

// unstream takes a standby off the primary's list.
func (w *world) unstream(id string) {
	p := w.of("pg1")
	p.View.Standbys = slices.DeleteFunc(p.View.Standbys, func(s failover.Standby) bool { return s.ServerID == id })
}

func alive() failover.Evidence {
	return failover.Evidence{Reach: failover.ReachAlive, Since: noon.Add(-time.Hour), Until: noon}
}

func since(reach failover.Reach, ago time.Duration) failover.Evidence {
	return failover.Evidence{Reach: reach, Since: noon.Add(-ago), Until: noon}
}

// dead makes both of a server's ports give the same since some time.
func (w *world) dead(id string, reach failover.Reach, ago time.Duration) *world {
	v := w.of(id)
	v.Agent, v.Postgres = since(reach, ago), since(reach, ago)
	for i := range w.Servers {
		if w.Servers[i].View != nil {
			w.Servers[i].View.Streaming = false
		}
	}
	return w
}

// sees makes a server tell what it sees of the primary.
func (w *world) sees(id string, agent, postgres failover.Reach) *world {
	v := w.of(id)
	v.Sees, v.SeesOf, v.SeesAt = &failover.Sight{Agent: agent, Postgres: postgres}, w.State.Primary, noon
	return w
}

func (w *world) witness(id string) *world {
	w.unstream(id)
	v := w.of(id)
	v.Witness = true
	v.View = &failover.View{ServerID: id, Role: "witness", Epoch: w.State.Epoch, Phase: w.State.Phase}
	return w
}

func (w *world) state(change func(s *primacy.State)) *world {
	change(&w.State)
	for i := range w.Servers {
		if v := w.Servers[i].View; v != nil {
			v.Epoch, v.Phase = w.State.Epoch, w.State.Phase
		}
	}
	return w
}

const (
	isAlive     = failover.ReachAlive
	isRefused   = failover.ReachRefused
	isSilent    = failover.ReachSilent
	isAccepting = failover.ReachAccepting
	isStarting  = failover.ReachStarting
)

// bothGone is the common case: the primary's machine refuses, the third server says so, too.
func bothGone() *world {
	return newWorld().dead("pg1", isRefused, 0).sees("pg3", isRefused, isRefused)
}

func fenced(reports ...primacy.Report) *world {
	w := bothGone()
	w.of("pg1").View = nil
	return w.state(func(s *primacy.State) {
		s.Epoch, s.Phase, s.Reports = 5, primacy.PhaseFenced, reports
		w.PhaseSince = noon.Add(-50 * time.Millisecond)
	})
}

func report(id string, lsn wal.LSN) primacy.Report {
	return primacy.Report{
		ServerID: id, Memory: "m-" + id, Position: primacy.Position{Epoch: 4, LSN: lsn}, Timeline: 1,
	}
}

// promoting has pg3 chosen.
func promoting() *world {
	w := newWorld()
	w.of("pg1").View.Role, w.of("pg1").View.Running, w.of("pg1").View.Countable = "fenced", false, true
	w.PhaseSince = noon.Add(-time.Second)
	w.of("pg3").Postgres = since(isAccepting, time.Minute)
	return w.state(func(s *primacy.State) { s.Epoch, s.Phase, s.Primary = 5, primacy.PhasePromoting, "pg3" })
}

// founding has three empty servers.
func founding() *world {
	w := newWorld()
	for i := range w.Servers {
		v := w.Servers[i].View
		*v = failover.View{ServerID: v.ServerID, Managed: true, Role: "unknown", Priority: 100, Data: failover.DataEmpty, Memory: v.Memory}
	}
	return w.state(func(s *primacy.State) { *s = primacy.State{} })
}

func (w *world) data(id, system string, standby bool) *world {
	v := w.of(id).View
	v.Data, v.SystemID, v.Standby = failover.DataPresent, system, standby
	return w
}

func TestPlan(t *testing.T) {
	for name, groups := range map[string]map[string]*world{
		"found": foundCases(), "failover": failoverCases(), "count": countCases(), "members": memberCases(),
		"leadership": leadershipCases(),
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, title := range slices.Sorted(maps.Keys(groups)) {
				fmt.Fprintf(&got, "%s\n", title)
				decisions := failover.Plan(groups[title].Scene)
				for i, d := range decisions {
					render(&got, d)
					if i > 0 && d.Op != nil {
						t.Errorf("%s: decision %d proposes something, only the first may", title, i)
					}
					checkAllowed(t, title, groups[title].State, d)
				}
				if len(decisions) == 0 {
					fmt.Fprintf(&got, "    nothing\n")
				}
			}
			compare(t, filepath.Join("testdata", "plan", name), got.String())
		})
	}
}

func render(b *strings.Builder, d failover.Decision) {
	fmt.Fprintf(b, "    %s %s: %s\n", d.Kind, d.ServerID, d.Reason)
	if d.Op != nil {
		fmt.Fprintf(b, "        %T%+v\n", d.Op, d.Op)
	}
}

// checkAllowed holds every proposal to the rules: one that they refuse would be made over and over.
func checkAllowed(t *testing.T, title string, state primacy.State, d failover.Decision) {
	t.Helper()
	if d.Op == nil {
		return
	}
	if _, _, err := primacy.Apply(state, d.Op); err != nil {
		t.Errorf("%s: the rules refuse %+v: %v", title, d.Op, err)
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("plans differ from %s; got:\n%s", file, got)
	}
}
