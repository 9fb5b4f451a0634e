package primacy_test

import (
	"strings"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// steps reaches every world that one step leads to.
func (m *model) steps(w *world) {
	m.lead(w)
	for i := range m.servers {
		m.follow(w, i)
		m.disk(w, i)
		m.ship(w, i)
		m.rejoin(w, i)
		m.count(w, i)
		m.serve(w, i)
	}
}

// try reaches the world in which op is in the log, if Apply takes it.
func (m *model) try(w *world, what string, server int, op primacy.Op, change func(*world)) {
	next := *w
	if !m.propose(&next, op) {
		return
	}
	if change != nil {
		change(&next)
	}
	m.reach(&next, w.trace, what, server)
}

// lead is what a leader may decide.
func (m *model) lead(w *world) {
	s := m.state(w)
	if int(s.Epoch) < m.epochs && s.Phase != primacy.PhaseFenced {
		m.try(w, "fence", 0, primacy.FenceOp{Epoch: s.Epoch + 1}, nil)
	}
	for _, r := range s.Reports {
		op := primacy.PromoteOp{Epoch: s.Epoch, ServerID: r.ServerID}
		m.try(w, "promoted", index(r.ServerID), op, nil)
		if op.AllowDataLoss = true; int(w.losses) < m.losses {
			m.try(w, "promoted with loss", index(r.ServerID), op, func(n *world) { m.acceptLoss(n, r.ServerID) })
		}
	}
	if s.Phase == primacy.PhaseReady && int(w.changes) < m.changes {
		m.change(w, s)
	}
}

// acceptLoss forgives what the chosen server does not have.
func (m *model) acceptLoss(w *world, serverID string) {
	w.losses++
	s := m.state(w)
	if !s.DataLoss {
		return
	}
	w.lossEpoch = uint8(s.Epoch)
	for x, in := range w.acked {
		switch {
		case in == 0:
		case holds(w.nodes[index(serverID)].wal, x):
			w.acked[x] = w.lossEpoch
		default:
			w.acked[x] = 0
		}
	}
}

func (m *model) change(w *world, s *primacy.State) {
	spend := func(n *world) { n.changes++ }
	m.try(w, "shrink", index(s.Primary), primacy.ShrinkOp{Epoch: s.Epoch, Version: s.Sync.Version}, spend)
	if s.Next != nil {
		m.try(w, "withdraw", 0, primacy.NextOp{Epoch: s.Epoch, Version: s.Sync.Version}, spend)
		return
	}
	own, _ := primacy.MemberOf(s.Sync, s.Primary)
	live := append(primacy.Acknowledging(s.Sync, s.Primary), own)
	m.tryNext(w, s, "next without the lost", live)
	for i := range m.servers {
		var without []primacy.Member
		for _, member := range live {
			if member.ServerID != id(i) {
				without = append(without, member)
			}
		}
		if id(i) == s.Primary {
			continue
		}
		m.tryNext(w, s, "next without one", without)
		if !w.nodes[i].gone {
			m.tryNext(w, s, "next with one", append(without, primacy.Member{ServerID: id(i), Memory: memory(&w.nodes[i])}))
		}
	}
}

func (m *model) tryNext(w *world, s *primacy.State, what string, members []primacy.Member) {
	most := len(members) / 2
	if m.zones {
		most = len(members) - 1
	}
	for acks := len(members) / 2; acks <= most; acks++ {
		next := primacy.Sync{Members: members, Acks: acks}
		if acks > len(members)/2 {
			what = "next with more acknowledgements"
		}
		m.try(w, what, 0, primacy.NextOp{Epoch: s.Epoch, Version: s.Sync.Version, Next: next}, func(n *world) { n.changes++ })
	}
}

// follow lets a server's agent learn the next state, and do at once what needs nobody else. To do it later is to learn
// it later.
func (m *model) follow(w *world, i int) {
	if int(w.nodes[i].view) == len(w.log)-1 {
		return
	}
	next := *w
	n := &next.nodes[i]
	n.view++
	v := m.view(&next, i)
	if v.Epoch > uint64(n.promised) {
		n.promised = uint8(v.Epoch)
		if m.mutant != noFence || n.role != standby {
			n.role, n.source = idle, -1
		}
	}
	switch {
	case v.Phase == primacy.PhasePromoting && m.chose(v, i, n) && uint64(n.promised) == v.Epoch && !n.gone:
		m.promote(&next, i, uint8(v.Epoch))
	case v.Phase == primacy.PhaseReady && v.Primary != id(i) && uint64(n.promised) == v.Epoch && n.role == idle:
		m.attach(&next, i, v)
	}
	m.reach(&next, w.trace, "follows the log", i)
}

func (m *model) chose(v *primacy.State, i int, n *node) bool {
	if m.mutant == promotesAnyCopy {
		return v.Primary == id(i)
	}
	return primacy.Chose(*v, id(i), memory(n))
}

// promote begins a timeline, unless the server did that already.
func (m *model) promote(w *world, i int, epoch uint8) {
	n := &w.nodes[i]
	if lastEpoch(n.wal) == epoch {
		return
	}
	n.wal += string([]byte{epoch << 4})
	n.role, n.source = primary, -1
	if w.began[epoch] != "" {
		w.broken = "two primaries in one epoch"
	}
	w.began[epoch] = n.wal
}

// attach makes a server the standby of the state's primary, if its copy is part of that one's history.
func (m *model) attach(w *world, i int, v *primacy.State) {
	n := &w.nodes[i]
	if n.gone || !onChain(n.wal, v) {
		return
	}
	if uint64(lastEpoch(n.wal)) < v.Epoch && !strings.HasPrefix(w.began[v.Epoch], n.wal) {
		w.broken = "a copy that is not part of the primary's history follows it"
	}
	n.role, n.source = standby, int8(index(v.Primary))
}

// disk is what befalls a copy of the data.
func (m *model) disk(w *world, i int) {
	if n := &w.nodes[i]; n.gone {
		m.findGone(w, i)
	} else if int(w.wipes) < m.wipes {
		next := *w
		next.wipes++
		next.nodes[i].wal, next.nodes[i].gone, next.nodes[i].role, next.nodes[i].source = "", true, idle, -1
		m.reach(&next, w.trace, "wiped", i)
	}
	if w.nodes[i].role == primary && int(w.crashes) < m.crashes {
		next := *w
		next.crashes++
		next.nodes[i].role = down
		m.reach(&next, w.trace, "crashes", i)
	}
	if w.nodes[i].role == down {
		next := *w
		next.nodes[i].role = primary
		if m.mutant == opensAtOnce && m.reigns(&next, i) {
			next.tell(next.nodes[i].wal, lastEpoch(next.nodes[i].wal))
		}
		m.reach(&next, w.trace, "restarts in place", i)
	}
}

// findGone is the start of an agent whose data is gone.
func (m *model) findGone(w *world, i int) {
	if m.mutant == countsWiped {
		next := *w
		next.nodes[i].gone = false
		m.reach(&next, w.trace, "finds nothing", i)
		return
	}
	m.try(w, "finds nothing", i, primacy.LostOp{ServerID: id(i), Memory: memory(&w.nodes[i])}, func(n *world) {
		n.nodes[i].gone = false
		n.nodes[i].memory++
	})
}

// ship brings one record to a standby. Its source may have been promoted again since it was told to follow it.
func (m *model) ship(w *world, i int) {
	n := &w.nodes[i]
	if n.role != standby || n.gone {
		return
	}
	p := &w.nodes[n.source]
	if p.role != primary || len(p.wal) <= len(n.wal) || !strings.HasPrefix(p.wal, n.wal) {
		return
	}
	next := *w
	next.nodes[i].wal = p.wal[:len(n.wal)+1]
	if n.promised > lastEpoch(p.wal) && m.mutant != noFence {
		next.broken = "a fenced server accepts WAL of an older epoch"
	}
	m.reach(&next, w.trace, "gets a record", i)
}

// rejoin makes a copy anew that is not part of the primary's history.
func (m *model) rejoin(w *world, i int) {
	n, v := &w.nodes[i], m.view(w, i)
	if n.role != idle || n.gone || v.Phase != primacy.PhaseReady || v.Primary == id(i) || uint64(n.promised) != v.Epoch {
		return
	}
	if onChain(n.wal, v) {
		next := *w
		m.attach(&next, i, v)
		m.reach(&next, w.trace, "attaches", i)
		return
	}
	if !n.lost && m.mutant != keepsMemory {
		op := primacy.LostOp{ServerID: id(i), Memory: memory(n)}
		m.try(w, "tells its copy lost", i, op, func(next *world) { next.nodes[i].lost = true })
		return
	}
	next := *w
	r := &next.nodes[i]
	r.wal, r.lost, r.role, r.source = "", false, standby, int8(index(v.Primary))
	if m.mutant != keepsMemory {
		r.memory++
	}
	m.reach(&next, w.trace, "is cloned", i)
}

// count is what a fenced server reports, and what a promoted one says.
func (m *model) count(w *world, i int) {
	n, v, s := &w.nodes[i], m.view(w, i), m.state(w)
	if v.Phase == primacy.PhaseFenced && uint64(n.promised) == v.Epoch && n.role != primary && !n.gone && !n.lost &&
		(n.wal != "" || m.mutant == countsWiped) {
		report := primacy.Report{ServerID: id(i), Memory: memory(n), Position: position(n.wal), Timeline: 1}
		if have, _ := primacy.ReportOf(s.Reports, id(i)); have != report {
			m.try(w, "reports", i, primacy.ReportOp{Epoch: v.Epoch, Report: report}, nil)
		}
	}
	if n.role == primary && s.Phase == primacy.PhasePromoting {
		op := primacy.ReadyOp{
			Epoch: uint64(lastEpoch(n.wal)), ServerID: id(i), SystemID: "1", Major: 15, Timeline: 1,
			Switch: wal.LSN(strings.IndexByte(n.wal, lastEpoch(n.wal)<<4)), Unready: unready(n.wal, s),
		}
		m.try(w, "is ready", i, op, func(next *world) {
			if m.mutant == opensPromoted {
				next.tell(n.wal, lastEpoch(n.wal))
			}
		})
	}
}

// serve is what a primary does.
func (m *model) serve(w *world, i int) {
	n, v := &w.nodes[i], m.view(w, i)
	if n.confirm != 0 {
		next := *w
		next.nodes[i].confirm, next.nodes[i].confirmEpoch = 0, 0
		op := primacy.ConfirmOp{Epoch: uint64(n.confirmEpoch), Version: uint64(n.confirm)}
		if s := m.state(w); m.mutant == confirmsAnother && s.Next != nil {
			op.Version = s.Next.Version
		}
		m.propose(&next, op)
		m.reach(&next, w.trace, "confirms", i)
	}
	if !m.reigns(w, i) {
		return
	}
	if int(w.writes) < m.writes {
		next := *w
		next.writes++
		next.nodes[i].wal += string([]byte{lastEpoch(n.wal)<<4 | next.writes})
		m.reach(&next, w.trace, "writes", i)
	}
	if at := m.confirmedLSN(w, i); m.net && at > v.Acked.LSN {
		m.try(w, "records what is acknowledged", i, primacy.AckedOp{Epoch: v.Epoch, LSN: at}, nil)
	}
	if v.Next != nil && n.confirm == 0 && m.caughtUp(w, i, v) {
		next := *w
		next.nodes[i].confirm, next.nodes[i].confirmEpoch = uint8(v.Next.Version), uint8(v.Epoch)
		m.reach(&next, w.trace, "is to confirm", i)
	}
}

// caughtUp tells whether Next may be confirmed: its own rule is in force already, see rule.
func (m *model) caughtUp(w *world, i int, v *primacy.State) bool {
	if m.mutant == confirmsBlindly {
		return true
	}
	records := w.nodes[i].wal
	for _, member := range primacy.Acknowledging(*v.Next, id(i)) {
		old, ok := primacy.MemberOf(v.Sync, member.ServerID)
		if (!ok || old != member) && w.confirmed(records, []primacy.Member{member}) == 0 {
			return false
		}
	}
	return w.confirmed(records, primacy.Acknowledging(*v.Next, id(i))) >= v.Next.Acks
}
