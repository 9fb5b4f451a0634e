package primacy_test

import (
	"fmt"
	"strings"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

const maxServers, maxEpochs, maxWrites = 4, 5, 4

// world is everything that is true at one moment. It is copied, and what it points to is never changed.
type world struct {
	now   uint16   // the State, by number
	log   []uint16 // the States that servers may still have to follow, without reports; the last one is the newest
	nodes [maxServers]node
	// began is, by epoch, what the primary had after its promotion.
	began [maxEpochs + 1]string
	// acked is, by write, the first epoch in which it was acknowledged or shown to a reader.
	acked                                   [maxWrites + 1]uint8
	writes, changes, wipes, crashes, losses uint8
	// lossEpoch began with the acceptance of a loss; what older primaries acknowledge is nobody's promise any more.
	lossEpoch uint8

	broken string // an invariant, by the last step
	trace  *step
}

// role is what a server's PostgreSQL does.
type role uint8

const (
	idle    role = iota // runs and gets WAL from nobody, or does not run
	standby             // gets WAL from source
	primary             // of the last epoch in its WAL
	down                // was primary when it crashed
)

// node is a server: its disk, what its agent remembers durably, and what runs.
type node struct {
	wal      string // a byte for each record: epoch<<4 | write, and write 0 where a timeline begins
	memory   uint8
	promised uint8 // WAL of older epochs is not accepted
	view     uint8 // how far its agent follows log
	role     role
	source   int8
	lost     bool // LostOp is committed for memory, which is about to be destroyed
	gone     bool // the disk was wiped, and the agent has not seen it yet
	// confirm is the version of Next whose ConfirmOp is on its way.
	confirm, confirmEpoch uint8
}

func (n *node) String() string {
	return fmt.Sprintf("%s memory %d promised %d view %d role %d source %d lost %t gone %t",
		records(n.wal), n.memory, n.promised, n.view, n.role, n.source, n.lost, n.gone)
}

func records(w string) string {
	var b strings.Builder
	for i := range len(w) {
		fmt.Fprintf(&b, " %d.%d", w[i]>>4, w[i]&15)
	}
	return "[" + strings.TrimSpace(b.String()) + "]"
}

func lastEpoch(w string) uint8 {
	if w == "" {
		return 0
	}
	return w[len(w)-1] >> 4
}

func holds(w string, write int) bool {
	for i := range len(w) {
		if int(w[i]&15) == write {
			return true
		}
	}
	return false
}

func id(i int) string { return string(rune('a' + i)) }

func index(serverID string) int { return int(serverID[0] - 'a') }

func memory(n *node) string { return string(rune('0' + n.memory)) }

// forget drops the States that every server has followed.
func (w *world) forget(servers int) {
	least := w.nodes[0].view
	for i := range servers {
		least = min(least, w.nodes[i].view)
	}
	if least == 0 {
		return
	}
	w.log = w.log[least:]
	for i := range servers {
		w.nodes[i].view -= least
	}
}

// key is equal for equal worlds.
func (w *world) key(servers int) []byte {
	b := make([]byte, 0, 160)
	b = append(b, byte(w.now), byte(w.now>>8), byte(len(w.log)))
	for _, s := range w.log {
		b = append(b, byte(s), byte(s>>8))
	}
	for i := range servers {
		n := &w.nodes[i]
		flags := byte(n.role)
		if n.lost {
			flags |= 16
		}
		if n.gone {
			flags |= 32
		}
		b = append(b, byte(len(n.wal)))
		b = append(b, n.wal...)
		b = append(b, n.memory, n.promised, n.view, flags, byte(n.source), n.confirm, n.confirmEpoch)
	}
	for _, history := range w.began {
		b = append(b, byte(len(history)))
		b = append(b, history...)
	}
	b = append(b, w.acked[:]...)
	return append(b, w.writes, w.changes, w.wipes, w.crashes, w.losses, w.lossEpoch)
}

// begin is a cluster whose first members are all there and up to date.
func (m *model) begin(t interface{ Fatal(args ...any) }) world {
	s := primacy.State{}
	do := func(op primacy.Op) {
		var err error
		if s, _, err = primacy.Apply(s, op); err != nil {
			t.Fatal(err)
		}
	}
	do(primacy.FoundOp{Epoch: 1, ServerID: id(0), Memory: "0", How: primacy.FoundInit, Secret: "s"})
	do(primacy.ReadyOp{Epoch: 1, ServerID: id(0), SystemID: "1", Major: 15, Timeline: 1})
	if m.members > 1 {
		next := primacy.Sync{Acks: m.members / 2}
		for i := range m.members {
			next.Members = append(next.Members, primacy.Member{ServerID: id(i), Memory: "0"})
		}
		do(primacy.NextOp{Epoch: 1, Version: s.Sync.Version, Next: next})
		do(primacy.ConfirmOp{Epoch: 1, Version: s.Next.Version})
	}
	w := world{now: m.intern(s)}
	w.log = []uint16{w.now}
	for i := range m.servers {
		w.nodes[i] = node{wal: "\x10", promised: 1, role: standby, source: 0}
	}
	w.nodes[0].role, w.nodes[0].source = primary, -1
	w.began[1] = "\x10"
	return w
}

// state is the newest one.
func (m *model) state(w *world) *primacy.State { return &m.states[w.now] }

// view is the state as a server knows it.
func (m *model) view(w *world, i int) *primacy.State { return &m.states[w.log[w.nodes[i].view]] }

// reigns tells whether a server is the primary as far as it knows.
func (m *model) reigns(w *world, i int) bool {
	n, v := &w.nodes[i], m.view(w, i)
	return n.role == primary && v.Phase == primacy.PhaseReady && primacy.Chose(*v, id(i), memory(n)) && v.Epoch == uint64(lastEpoch(n.wal))
}

// rule is what synchronous_standby_names of a primary follows.
func (m *model) rule(v *primacy.State) primacy.Sync {
	if m.mutant == weakerRule && v.Next != nil {
		if stricter := primacy.Rule(*v); stricter.Version == v.Sync.Version {
			return *v.Next
		}
		return v.Sync
	}
	return primacy.Rule(*v)
}

// confirmed counts the members that have flushed the first records of a primary's WAL.
func (w *world) confirmed(records string, members []primacy.Member) int {
	count := 0
	for _, member := range members {
		n := &w.nodes[index(member.ServerID)]
		if memory(n) == member.Memory && !n.gone && strings.HasPrefix(n.wal, records) {
			count++
		}
	}
	return count
}

// acknowledge tells clients what may be told.
func (m *model) acknowledge(w *world) {
	for i := range m.servers {
		if !m.reigns(w, i) || lastEpoch(w.nodes[i].wal) < w.lossEpoch {
			continue
		}
		records := w.nodes[i].wal
		w.tell(records[:m.confirmedLSN(w, i)], lastEpoch(records))
	}
}

// confirmedLSN is how far a primary's WAL satisfies the rule in force.
func (m *model) confirmedLSN(w *world, i int) wal.LSN {
	rule := m.rule(m.view(w, i))
	need := rule.Acks
	if m.mutant == oneAckTooFew {
		need--
	}
	members := primacy.Acknowledging(rule, id(i))
	at := len(w.nodes[i].wal)
	for at > 0 && w.confirmed(w.nodes[i].wal[:at], members) < need {
		at--
	}
	if at <= strings.IndexByte(w.nodes[i].wal, lastEpoch(w.nodes[i].wal)<<4) && m.mutant != oldRecordsCount {
		return 0 // whoever has nothing of this epoch reports an older one
	}
	return wal.LSN(at)
}

// tell notes that a primary of epoch acknowledged or showed all writes in records.
func (w *world) tell(records string, epoch uint8) {
	for k := range len(records) {
		if x := records[k] & 15; x != 0 && (w.acked[x] == 0 || w.acked[x] > epoch) {
			w.acked[x] = epoch
		}
	}
}

// unready are the beginnings of epochs in a WAL that are not in the lineage.
func unready(records string, s *primacy.State) []primacy.Branch {
	var branches []primacy.Branch
	for at := range len(records) {
		epoch := uint64(records[at] >> 4)
		if records[at]&15 != 0 || epoch == s.Epoch || len(primacy.Chain(s.Lineage, epoch)) != 0 {
			continue
		}
		branches = append(branches, primacy.Branch{
			Epoch: epoch, Parent: uint64(lastEpoch(records[:at])), ServerID: "x", Timeline: 1, Switch: wal.LSN(at),
		})
	}
	return branches
}

// onChain tells whether a copy may follow the primary of the state's epoch as it is.
func onChain(records string, s *primacy.State) bool {
	at := position(records)
	if at.LSN == 0 || at.Epoch == s.Epoch {
		return true
	}
	for _, b := range primacy.Chain(s.Lineage, s.Epoch) {
		if b.Parent == at.Epoch {
			return at.LSN <= b.Switch
		}
	}
	return false
}
