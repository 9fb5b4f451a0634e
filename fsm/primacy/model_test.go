package primacy_test

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// The model explores, exhaustively and within bounds, what servers can do that follow a replicated State late, each in
// its own time. It decides by Apply, Choose, Rule, Acknowledging and Chain themselves; of its own it has only servers,
// disks and the network, in model_steps_test.go:
//
//   - a disk is a sequence of records, each of an epoch: the first of an epoch is where its timeline begins, the others
//     are writes. A record is shipped or not, one at a time. A copy has a memory.
//   - a step may be put off for ever, so that a crashed, frozen or cut-off server is one that takes no steps. So are the
//     sides of a partition, of Raft's group too: whoever is in a minority proposes nothing and hears of nothing. That is
//     left to chance and not derived from who can reach whom, which allows more than can happen, and nothing less.
//   - a leader may fence, promote, change and shrink whenever Apply lets it, for no reason.
//   - a write is acknowledged as soon as it may be, and so is what a primary shows to its readers after a restart or a
//     promotion: by the rules it lets nobody in before what it has is confirmed. To acknowledge later demands less.

// bounds keep the model finite.
type bounds struct {
	name    string
	servers int // with data: a witness has no part in this
	members int // at the beginning
	writes  int
	epochs  int
	changes int // of the members, by the leader
	wipes   int
	crashes int  // of a primary that restarts in place
	losses  int  // decisions to accept the loss of data
	net     bool // the primary records what is acknowledged
	zones   bool // more members may have to acknowledge than a majority
}

// mutant is a way to break the rules.
type mutant int

const (
	faithful        mutant = iota
	noFence                // a server that has promised an epoch goes on with the WAL of an older one
	oneAckTooFew           // commits are acknowledged by one member less than Acks
	oneReportTooFew        // a primary is chosen when one report is still missing
	ignoresEpoch           // reports are compared by length only
	countsWiped            // a server whose disk was wiped reports as if nothing had happened
	confirmsBlindly        // Next takes effect before it is confirmed
	keepsMemory            // a copy that is made anew keeps its name, and is not told lost
	opensAtOnce            // a restarted primary shows its rows before they are confirmed
	weakerRule             // while the members change, the weaker of both rules is in force
	oldRecordsCount        // what a promoted primary had before is confirmed without the first record of its epoch
	confirmsAnother        // a late confirmation holds for whatever Next there is then
	promotesAnyCopy        // a chosen server is promoted with another copy of the data than was chosen
	opensPromoted          // a promoted primary shows its rows before they are confirmed
)

// model explores one set of bounds.
type model struct {
	bounds
	mutant mutant

	states []primacy.State
	ids    map[string]uint16    // of states
	known  map[question]outcome // what Apply has answered

	seed    [2]maphash.Seed
	visited map[[2]uint64]struct{}
	queue   []world
	taken   map[string]int // steps by kind
	most    struct{ epoch, acked int }
	broken  string
}

// step is one line of a trace.
type step struct {
	before *step
	what   string
	server int8
}

func newModel(b bounds, m mutant) *model {
	return &model{
		bounds: b, mutant: m, ids: map[string]uint16{}, known: map[question]outcome{}, taken: map[string]int{},
		seed:    [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		visited: map[[2]uint64]struct{}{},
	}
}

// explore visits every world that can be reached, nearest first, until an invariant is broken.
func (m *model) explore(t *testing.T) {
	t.Helper()
	first := m.begin(t)
	m.reach(&first, nil, "begin", 0)
	for len(m.queue) > 0 && m.broken == "" {
		layer := m.queue
		m.queue = nil
		for i := range layer {
			m.steps(&layer[i])
			if m.broken != "" {
				return
			}
		}
	}
}

// reach takes note of a world, if it is a new one.
func (m *model) reach(w *world, before *step, what string, server int) {
	m.taken[what]++
	m.acknowledge(w)
	w.forget(m.servers)
	key := w.key(m.servers)
	sum := [2]uint64{maphash.Bytes(m.seed[0], key), maphash.Bytes(m.seed[1], key)}
	if _, ok := m.visited[sum]; ok {
		return
	}
	m.visited[sum] = struct{}{}
	w.trace = &step{before, what, int8(server)}
	if broken := m.check(w); broken != "" && m.broken == "" {
		m.broken = broken + "\n" + m.describe(w)
	}
	m.queue = append(m.queue, *w)
}

func (m *model) describe(w *world) string {
	var lines []string
	for s := w.trace; s != nil; s = s.before {
		lines = append([]string{fmt.Sprintf("  %s %s", id(int(s.server)), s.what)}, lines...)
	}
	for i := range m.servers {
		lines = append(lines, fmt.Sprintf("%s: %s", id(i), &w.nodes[i]))
	}
	lines = append(lines, fmt.Sprintf("acknowledged in epoch: %v", w.acked[:m.writes+1]))
	for e, history := range w.began {
		if history != "" {
			lines = append(lines, fmt.Sprintf("epoch %d began with %s", e, records(history)))
		}
	}
	return strings.Join(append(lines, fmt.Sprintf("state: %+v", *m.state(w))), "\n")
}

// intern gives equal states equal numbers.
func (m *model) intern(s primacy.State) uint16 {
	key := stateKey(&s)
	n, ok := m.ids[key]
	if !ok {
		n = uint16(len(m.states))
		if int(n) != len(m.states) {
			panic("more states than the model can number")
		}
		m.states = append(m.states, s)
		m.ids[key] = n
		m.choose(&s)
	}
	return n
}

func stateKey(s *primacy.State) string {
	next := primacy.Sync{}
	if s.Next != nil {
		next = *s.Next
	}
	return fmt.Sprint(s.Epoch, s.Phase, s.Primary, s.Reports, s.Base, s.Sync, s.Next != nil, next, s.Acked, s.Lineage, s.DataLoss)
}

// question is an operation on a state; op is what can be compared of it.
type question struct {
	state uint16
	op    any
}

// outcome is the state after it, with reports and without.
type outcome struct {
	now, seen uint16
	ok        bool
}

// propose appends an operation to the log, if Apply takes it.
func (m *model) propose(w *world, op primacy.Op) bool {
	q := question{w.now, op}
	switch op.(type) {
	case primacy.NextOp, primacy.ReadyOp:
		q.op = fmt.Sprint(op)
	}
	answer, ok := m.known[q]
	if !ok {
		answer = m.answer(*m.state(w), op)
		m.known[q] = answer
	}
	if !answer.ok {
		return false
	}
	w.now = answer.now
	if w.log[len(w.log)-1] != answer.seen {
		w.log = append(w.log[:len(w.log):len(w.log)], answer.seen)
	}
	return true
}

// ignoreEpochs lets the longest WAL win, of whatever epoch.
func ignoreEpochs(s primacy.State, op primacy.PromoteOp) (primacy.State, error) {
	chosen, _ := primacy.ReportOf(s.Reports, op.ServerID)
	s.Reports = slices.Clone(s.Reports)
	for i := range s.Reports {
		s.Reports[i].Position.Epoch = 1
	}
	after, _, err := primacy.Apply(s, op)
	after.Base = chosen.Position
	return after, err
}

func (m *model) answer(before primacy.State, op primacy.Op) outcome {
	after, err := m.apply(before, op)
	if err != nil {
		return outcome{}
	}
	now := m.intern(after)
	after.Reports = nil // only the leader looks at them, and it sees the newest
	return outcome{now, m.intern(after), true}
}

func (m *model) apply(s primacy.State, op primacy.Op) (primacy.State, error) {
	if _, ok := op.(primacy.PromoteOp); ok && m.mutant == oneReportTooFew && s.Sync.Acks+1 < len(s.Sync.Members) {
		s.Sync.Acks++
		after, _, err := primacy.Apply(s, op)
		after.Sync.Acks--
		return after, err
	}
	if promote, ok := op.(primacy.PromoteOp); ok && m.mutant == ignoresEpoch {
		return ignoreEpochs(s, promote)
	}
	after, _, err := primacy.Apply(s, op)
	return after, err
}

// check says which invariant a world breaks, "" if none.
func (m *model) check(w *world) string {
	for x, in := range w.acked {
		for epoch := int(in) + 1; in != 0 && epoch < len(w.began); epoch++ {
			if history := w.began[epoch]; history != "" && !holds(history, x) {
				return fmt.Sprintf("write %d was acknowledged in epoch %d, and the primary of epoch %d does not have it", x, in, epoch)
			}
		}
	}
	if w.broken != "" {
		return w.broken
	}
	m.most.epoch = max(m.most.epoch, int(m.state(w).Epoch))
	count := 0
	for _, in := range w.acked {
		if in != 0 {
			count++
		}
	}
	m.most.acked = max(m.most.acked, count)
	return ""
}

// choose holds the model to progress: with enough reports somebody can be chosen.
func (m *model) choose(s *primacy.State) {
	_, err := primacy.Eligible(*s)
	if n := len(primacy.Countable(*s)); err != nil && m.mutant == faithful && n > 0 && n >= primacy.Needed(s.Sync) {
		m.broken = "nobody can be chosen though enough have reported: " + err.Error()
	}
}

// standard are the bounds of every test run, small the ones that the race detector has time for, and large what
// PGRAFT_MODEL=large explores, for an hour or more.
func standard() []bounds {
	return []bounds{
		{name: "3 servers", servers: 3, members: 3, writes: 2, epochs: 3},
		{name: "3 servers changing", servers: 3, members: 3, writes: 1, epochs: 2, changes: 2},
		{name: "2 servers changing and a witness", servers: 2, members: 2, writes: 1, epochs: 3, changes: 2},
		{name: "2 servers wiped and a witness", servers: 2, members: 2, writes: 1, epochs: 3, changes: 1, wipes: 1},
		{name: "3 servers in zones changing", servers: 3, members: 3, writes: 1, epochs: 2, changes: 2, zones: true},
	}
}

func small() []bounds {
	return []bounds{
		{name: "3 servers wiped", servers: 3, members: 3, writes: 1, epochs: 2, wipes: 1},
		{name: "3 servers growing", servers: 3, members: 1, writes: 1, epochs: 2, changes: 1},
		{name: "3 servers restarted", servers: 3, members: 3, writes: 1, epochs: 2, crashes: 1, net: true},
		{name: "2 servers and a witness", servers: 2, members: 2, writes: 1, epochs: 2, changes: 2},
		{name: "2 servers, loss accepted", servers: 2, members: 2, writes: 1, epochs: 3, wipes: 1, losses: 1},
		{name: "4 servers", servers: 4, members: 4, writes: 1, epochs: 2},
		{name: "3 servers in zones", servers: 3, members: 3, writes: 1, epochs: 2, changes: 1, zones: true},
	}
}

func large() []bounds {
	return []bounds{
		{name: "3 servers", servers: 3, members: 3, writes: 3, epochs: 3, net: true},
		{name: "3 servers in 4 epochs", servers: 3, members: 3, writes: 1, epochs: 4},
		{name: "3 servers wiped", servers: 3, members: 3, writes: 1, epochs: 3, wipes: 1, changes: 1},
		{name: "3 servers growing twice", servers: 3, members: 1, writes: 1, epochs: 2, changes: 2},
		{name: "3 servers growing", servers: 3, members: 1, writes: 1, epochs: 2, changes: 3},
		{name: "2 servers and a witness", servers: 2, members: 2, writes: 2, epochs: 3, changes: 2, wipes: 1, crashes: 1},
		{name: "4 servers", servers: 4, members: 4, writes: 1, epochs: 3},
	}
}

func position(records string) primacy.Position {
	return primacy.Position{Epoch: uint64(lastEpoch(records)), LSN: wal.LSN(len(records))}
}
