package failover_test

import (
	"strings"
	"time"

	"github.com/pgraft/pgraft/agent/failover"
	"github.com/pgraft/pgraft/fsm/primacy"
)

func foundCases() map[string]*world {
	cases := map[string]*world{
		"nobody has data: the leader makes it":               founding(),
		"one has data: adopted":                              founding().data("pg3", "7000", false),
		"a primary and its standbys: the primary is adopted": founding().data("pg1", "7000", true).data("pg3", "7000", false),
		"two primaries of one cluster: refused":              founding().data("pg1", "7000", false).data("pg3", "7000", false),
		"data of two clusters: refused":                      founding().data("pg1", "7000", false).data("pg3", "8000", true),
		"only standbys: refused":                             founding().data("pg1", "7000", true).data("pg3", "7000", true),
	}
	add := func(name string, change func(w *world)) { w := founding(); change(w); cases[name] = w }
	add("the highest priority makes it", func(w *world) { w.of("pg3").View.Priority = 200 })
	add("a witness leads: another makes it", func(w *world) { w.witness("pg2") })
	add("a partial copy is none", func(w *world) { w.of("pg1").View.Data = failover.DataPartial })
	add("one has not told yet", func(w *world) { w.of("pg3").View, w.of("pg3").Agent = nil, since(isSilent, time.Second) })
	add("a silent witness is not waited for", func(w *world) { w.witness("pg3").of("pg3").Agent = since(isSilent, time.Second) })
	add("one can't use its data", func(w *world) { w.of("pg1").View.Problem = "data_dir belongs to another user" })
	add("a replica without a vote has the data", func(w *world) {
		w.of("pg3").NonVoting, w.of("pg3").Voter = true, false
		w.data("pg3", "7000", false)
	})
	add("a replica without a vote is silent", func(w *world) {
		w.of("pg3").NonVoting, w.of("pg3").Voter = true, false
		w.of("pg3").View, w.of("pg3").Agent = nil, since(isSilent, time.Second)
	})
	begun := func(w *world, how primacy.Found) {
		w.state(func(s *primacy.State) {
			s.Epoch, s.Phase, s.Primary, s.Found = 1, primacy.PhasePromoting, "pg1", how
			s.Sync = primacy.Sync{Version: 1, Members: members("pg1")}
		})
	}
	add("the first primary is being made", func(w *world) { begun(w, primacy.FoundInit) })
	add("the first primary was to be made and is gone", func(w *world) {
		begun(w, primacy.FoundInit)
		w.dead("pg1", isRefused, 0).sees("pg3", isRefused, isRefused)
	})
	add("the first primary was to be adopted and is gone", func(w *world) {
		begun(w, primacy.FoundAdopt)
		w.dead("pg1", isRefused, 0).sees("pg3", isRefused, isRefused)
	})
	return cases
}

func failoverCases() map[string]*world {
	cases := map[string]*world{
		"all well":                                 newWorld(),
		"both refuse, confirmed":                   bothGone(),
		"both refuse, not confirmed":               newWorld().dead("pg1", isRefused, 0),
		"both refuse, another reaches the agent":   newWorld().dead("pg1", isRefused, 0).sees("pg3", isAlive, isRefused),
		"both refuse, another reaches PostgreSQL":  newWorld().dead("pg1", isRefused, 0).sees("pg3", isRefused, isAccepting),
		"both silent for a moment":                 newWorld().dead("pg1", isSilent, 900*time.Millisecond).sees("pg3", isSilent, isSilent),
		"both silent for long":                     newWorld().dead("pg1", isSilent, 1100*time.Millisecond).sees("pg3", isSilent, isSilent),
		"both silent, another reaches it for long": newWorld().dead("pg1", isSilent, 3*time.Second).sees("pg3", isAlive, isAccepting),
	}
	add := func(name string, change func(w *world)) { w := newWorld(); change(w); cases[name] = w }
	gone := func(name string, change func(w *world)) { w := bothGone(); change(w); cases[name] = w }
	add("nothing was looked at yet", func(w *world) {
		w.of("pg1").Agent, w.of("pg1").Postgres, w.of("pg1").View = failover.Evidence{}, failover.Evidence{}, nil
	})
	add("the agent is gone, PostgreSQL answers", func(w *world) { w.of("pg1").Agent = since(isRefused, time.Minute) })
	add("the agent is gone, PostgreSQL starts", func(w *world) {
		w.of("pg1").Agent, w.of("pg1").Postgres = since(isRefused, 2*time.Second), since(isStarting, 2*time.Second)
	})
	add("the agent refuses, PostgreSQL is silent for a moment", func(w *world) {
		w.of("pg1").Agent, w.of("pg1").Postgres = since(isRefused, 2*time.Second), since(isSilent, 500*time.Millisecond)
		w.sees("pg3", isRefused, isSilent)
		w.of("pg2").View.Streaming, w.of("pg3").View.Streaming = false, false
	})
	add("both silent and WAL flows", func(w *world) {
		w.of("pg1").Agent, w.of("pg1").Postgres = since(isSilent, 3*time.Second), since(isSilent, 3*time.Second)
		w.sees("pg3", isSilent, isSilent)
	})
	add("the agent says that PostgreSQL is down", func(w *world) {
		w.of("pg1").View.Running, w.of("pg1").Postgres = false, since(isRefused, 0)
	})
	add("the agent says that PostgreSQL is down and can't start", func(w *world) {
		w.of("pg1").View.Running, w.of("pg1").View.Problem = false, "no space left on device"
	})
	add("the agent says at length why PostgreSQL can't start", func(w *world) {
		w.of("pg1").View.Running, w.of("pg1").View.Problem = false, "it ended at once: "+strings.Repeat("words of its log ", 40)
	})
	add("the agent restarts PostgreSQL", func(w *world) {
		w.of("pg1").View.Running, w.of("pg1").View.Restarting, w.of("pg1").Postgres = false, true, since(isRefused, time.Second)
	})
	add("the agent has been starting PostgreSQL for long", func(w *world) {
		w.of("pg1").View.Restarting, w.of("pg1").Postgres = true, since(isStarting, 11*time.Second)
	})
	add("the agent's view is of an older epoch", func(w *world) {
		w.of("pg1").View.Epoch, w.of("pg1").View.Running, w.of("pg1").Postgres = 3, false, since(isRefused, time.Second)
	})
	add("PostgreSQL is frozen, its agent well", func(w *world) { w.of("pg1").Postgres = since(isSilent, 5*time.Second) })
	add("PostgreSQL is frozen for long, its agent well", func(w *world) { w.of("pg1").Postgres = since(isSilent, 11*time.Second) })
	add("the primary's disk is full", func(w *world) { w.of("pg1").View.Full = true })
	add("the primary's disk is full, failover is paused", func(w *world) { w.of("pg1").View.Full, w.State.Paused = true, true })
	add("the primary's disk is full, it has just begun", func(w *world) {
		w.of("pg1").View.Full, w.PhaseSince = true, noon.Add(-9*time.Second)
	})
	add("all disks are full", func(w *world) {
		w.of("pg1").View.Full, w.of("pg2").View.Full, w.of("pg3").View.Full = true, true, true
	})
	add("the primary's data is lost", func(w *world) { w.state(func(s *primacy.State) { s.Sync.Members[0].Lost = true }) })
	gone("paused", func(w *world) { w.State.Paused = true })
	gone("a confirmation is old", func(w *world) { w.of("pg3").SeesAt = noon.Add(-5 * time.Second) })
	gone("too few to count: a standby's agent is gone", func(w *world) {
		w.of("pg3").Agent = since(isRefused, time.Second)
	})
	gone("too few to count: a standby's data is another copy", func(w *world) { w.of("pg3").View.Memory = "other" })
	gone("too few to count: a standby lost its data", func(w *world) {
		w.state(func(s *primacy.State) { s.Sync.Members[2].Lost = true })
	})
	gone("the primary alone had all commits", func(w *world) {
		w.state(func(s *primacy.State) { s.Sync = primacy.Sync{Version: 9, Members: members("pg1")} })
	})
	gone("a witness confirms, one standby suffices", func(w *world) {
		w.witness("pg3")
		w.state(func(s *primacy.State) { s.Sync = primacy.Sync{Version: 9, Members: members("pg1", "pg2"), Acks: 1} })
	})
	gone("asynchronous", func(w *world) {
		w.Async = true
		w.state(func(s *primacy.State) { s.Sync.Acks, s.Sync.Async = 0, true })
	})
	gone("in a switchover the target stays", func(w *world) {
		w.state(func(s *primacy.State) { s.Handover = "pg3" })
		w.HandoverSince = noon
	})
	return cases
}

func countCases() map[string]*world {
	cases := map[string]*world{
		"no report":                       fenced(),
		"one report of two":               fenced(report("pg2", 0x2000)),
		"two reports, one is further":     fenced(report("pg2", 0x2000), report("pg3", 0x2800)),
		"two reports, equal: this leader": fenced(report("pg2", 0x2000), report("pg3", 0x2000)),
		"another copy's report does not count": fenced(report("pg2", 0x2000),
			primacy.Report{ServerID: "pg3", Memory: "other", Position: primacy.Position{Epoch: 4, LSN: 0x2000}}),
		"nobody has what was acknowledged": fenced(report("pg2", 0x800), report("pg3", 0x800)),
	}
	with := func(name string, change func(w *world), reports ...primacy.Report) {
		w := fenced(reports...)
		change(w)
		cases[name] = w
	}
	equal := []primacy.Report{report("pg2", 0x2000), report("pg3", 0x2000)}
	with("equal: the higher priority", func(w *world) { w.of("pg3").View.Priority = 200 }, equal...)
	with("equal: the operator's target", func(w *world) { w.State.Target, w.of("pg2").View.Priority = "pg3", 200 }, equal...)
	with("equal: not one whose agent is gone", func(w *world) { w.of("pg2").Agent = since(isRefused, 0) }, equal...)
	with("equal: rather not the deposed", func(w *world) {
		w.of("pg1").Agent = alive()
	}, report("pg1", 0x2000), report("pg3", 0x2000))
	with("equal, and the deposed may still write", func(w *world) {
		w.dead("pg1", isSilent, 1900*time.Millisecond).PhaseSince = noon.Add(-time.Second)
	}, equal...)
	with("equal, and the deposed has ended its sessions", func(w *world) {
		w.dead("pg1", isSilent, 2*time.Second).PhaseSince = noon.Add(-time.Second)
	}, equal...)
	with("equal, and the deposed can't be seen for long", func(w *world) {
		w.of("pg1").Agent, w.PhaseSince = failover.Evidence{}, noon.Add(-2*time.Second)
	}, equal...)
	with("equal, and the deposed's agent is silent without PostgreSQL", func(w *world) {
		w.dead("pg1", isSilent, time.Second).PhaseSince = noon
		w.of("pg1").Postgres = since(isRefused, 0)
	}, equal...)
	with("the furthest is gone again", func(w *world) {
		w.of("pg3").Agent = since(isRefused, 0)
	}, report("pg2", 0x2000), report("pg3", 0x2800))
	with("the missing one is down", func(w *world) { w.of("pg3").Agent = since(isRefused, 0) }, report("pg2", 0x2000))
	with("the missing one's data is lost", func(w *world) {
		w.state(func(s *primacy.State) { s.Sync.Members[2].Lost = true })
	}, report("pg2", 0x2000))
	with("the target has not reported", func(w *world) {
		four(w)
		w.State.Target = "pg4"
	}, report("pg2", 0x2000), report("pg3", 0x2000))
	with("the target has not reported for long", func(w *world) {
		four(w)
		w.State.Target, w.PhaseSince = "pg4", noon.Add(-3*time.Second)
	}, report("pg2", 0x2000), report("pg3", 0x2000))
	back := func(w *world) { w.of("pg1").Agent = alive() }
	replace := func(w *world) { back(w); w.State.Replace = true }
	with("to be replaced and further", replace, report("pg1", 0x3000), report("pg2", 0x2000), report("pg3", 0x2800))
	with("to be replaced and the others have not all reported", replace, report("pg1", 0x3000), report("pg2", 0x2000))
	with("to be replaced and the others do not report for long", func(w *world) {
		replace(w)
		w.PhaseSince = noon.Add(-3 * time.Second)
	}, report("pg1", 0x3000), report("pg2", 0x2000))
	with("further and not to be replaced", back, report("pg1", 0x3000), report("pg2", 0x2000), report("pg3", 0x2800))
	with("the target has all that was acknowledged and is not the furthest", func(w *world) { w.State.Target = "pg3" },
		report("pg1", 0x3000), report("pg2", 0x2000), report("pg3", 0x2800))
	cases["promoting"] = promoting()
	promote := func(name string, change func(w *world)) { w := promoting(); change(w); cases[name] = w }
	promote("the chosen one died, the deposed can be counted", func(w *world) {
		w.dead("pg3", isRefused, 0).sees("pg1", isRefused, isRefused)
	})
	promote("the chosen one died, too few can be counted", func(w *world) {
		w.dead("pg3", isRefused, 0).sees("pg1", isRefused, isRefused)
		w.of("pg1").View.Countable = false
	})
	promote("the chosen one's agent is gone, its PostgreSQL answers", func(w *world) { w.of("pg3").Agent = since(isRefused, 0) })
	promote("the chosen one's PostgreSQL is down", func(w *world) { w.of("pg3").View.Running = false })
	return cases
}

// four adds a fourth member, two of which acknowledge.
func four(w *world) {
	w.add("pg4").Sees = w.of("pg3").Sees
	w.state(func(s *primacy.State) {
		s.Sync = primacy.Sync{Version: 9, Members: members("pg1", "pg2", "pg3", "pg4"), Acks: 2}
	})
}

func memberCases() map[string]*world {
	cases := map[string]*world{}
	add := func(name string, change func(w *world)) { w := newWorld(); change(w); cases[name] = w }
	sync := func(w *world, acks int, ids ...string) {
		w.state(func(s *primacy.State) { s.Sync = primacy.Sync{Version: 9, Members: members(ids...), Acks: acks} })
	}
	add("the first standby joins", func(w *world) { sync(w, 0, "pg1") })
	add("the second standby joins", func(w *world) { sync(w, 1, "pg1", "pg2") })
	add("one that is far behind does not join", func(w *world) {
		sync(w, 1, "pg1", "pg2")
		w.of("pg1").View.Position.LSN = 1 << 30
	})
	add("one whose agent is gone does not join", func(w *world) {
		sync(w, 1, "pg1", "pg2")
		w.of("pg3").Agent = since(isRefused, 0)
	})
	add("one whose agent tells of another copy does not join", func(w *world) {
		sync(w, 1, "pg1", "pg2")
		w.of("pg3").View.Memory = "other"
	})
	add("a read replica does not join", func(w *world) {
		sync(w, 1, "pg1", "pg2")
		w.of("pg3").NonVoting, w.of("pg3").Voter = true, false
	})
	add("nothing changes while the primary's agent is away", func(w *world) {
		sync(w, 1, "pg1", "pg2")
		w.of("pg1").Agent = since(isRefused, 0)
	})
	add("a lost member leaves", func(w *world) {
		w.state(func(s *primacy.State) { s.Sync.Members[2].Lost = true })
		w.unstream("pg3")
	})
	add("a lost member is replaced by its new copy", func(w *world) {
		w.state(func(s *primacy.State) { s.Sync.Members[2].Lost = true })
		w.of("pg3").View.Memory, w.of("pg1").View.Standbys[1].Memory = "new", "new"
	})
	add("a member without a vote leaves", func(w *world) { w.of("pg3").Voter = false })
	add("a retired member leaves", func(w *world) { w.remove("pg3") })
	add("a member that is to be made anew leaves", func(w *world) { w.Out = map[string]bool{"pg3": true} })
	add("a member of a pair that is to be made anew leaves", func(w *world) {
		w.remove("pg3")
		sync(w, 1, "pg1", "pg2")
		w.Out = map[string]bool{"pg2": true}
	})
	add("a dead member stays for a while", func(w *world) {
		w.unstream("pg3")
		w.of("pg3").Agent, w.of("pg3").AcknowledgedLast = since(isSilent, 29*time.Second), noon.Add(-29*time.Second)
	})
	add("a dead member leaves", func(w *world) {
		w.unstream("pg3")
		w.of("pg3").Agent, w.of("pg3").AcknowledgedLast = since(isSilent, 31*time.Second), noon.Add(-31*time.Second)
	})
	add("both standbys are dead: no shrinking without a witness", func(w *world) {
		w.unstream("pg2")
		w.unstream("pg3")
		w.of("pg3").AcknowledgedLast, w.of("pg2").AcknowledgedLast = noon.Add(-time.Minute), noon.Add(-time.Minute)
	})
	pair := func(name string, change func(w *world)) {
		add(name, func(w *world) {
			w.witness("pg3")
			sync(w, 1, "pg1", "pg2")
			w.unstream("pg2")
			change(w)
		})
	}
	pair("primary, standby and witness: the standby stopped a moment ago", func(w *world) {
		w.of("pg2").AcknowledgedLast = noon.Add(-100 * time.Millisecond)
	})
	pair("primary, standby and witness: the standby stopped, shrink", func(w *world) {
		w.of("pg2").AcknowledgedLast = noon.Add(-1100 * time.Millisecond)
	})
	pair("primary, standby and witness: the standby is frozen, shrink", func(w *world) {
		w.of("pg1").View.Standbys = []failover.Standby{{ServerID: "pg2", Memory: "m-pg2", Streaming: true, Flush: 0x2000, ReplyAgeMS: 3100}}
		w.of("pg2").AcknowledgedLast = noon.Add(-1100 * time.Millisecond)
	})
	pair("primary, standby and witness: the standby's machine is gone, shrink at once", func(w *world) {
		w.Self = "pg3"
		w.of("pg2").Agent, w.of("pg2").AcknowledgedLast = since(isRefused, 0), noon.Add(-10*time.Millisecond)
	})
	pair("primary, standby and witness: the standby's data is lost, shrink at once", func(w *world) {
		w.state(func(s *primacy.State) { s.Sync.Members[1].Lost = true })
	})
	add("two of three are dead and a fourth has caught up: it joins first", func(w *world) {
		w.add("pg4")
		w.unstream("pg2")
		w.unstream("pg3")
		w.of("pg2").AcknowledgedLast, w.of("pg3").AcknowledgedLast = noon.Add(-2*time.Second), noon.Add(-2*time.Second)
		w.of("pg3").Voter = false
	})
	next := func(w *world, ago time.Duration) {
		sync(w, 0, "pg1")
		w.state(func(s *primacy.State) {
			s.Next = &primacy.Sync{Version: 10, Members: members("pg1", "pg2"), Acks: 1}
		})
		w.NextSince = noon.Add(-ago)
	}
	add("a change is under way", func(w *world) { next(w, 5*time.Second) })
	add("a change can't be confirmed: withdrawn", func(w *world) { next(w, 2*time.Second); w.unstream("pg2") })
	add("a change can't be confirmed yet", func(w *world) { next(w, 100*time.Millisecond); w.unstream("pg2") })
	add("to asynchronous", func(w *world) { w.Async = true })
	add("to quorum", func(w *world) { w.state(func(s *primacy.State) { s.Sync.Acks, s.Sync.Async = 0, true }) })
	zones := func(name string, acks int, change func(w *world), of ...string) {
		add("zones, "+name, func(w *world) {
			for i, zone := range of {
				w.Servers[i].Zone = zone
			}
			w.state(func(s *primacy.State) { s.Sync.Acks = acks })
			change(w)
		})
	}
	as := func(*world) {}
	zones("one each: as without", 1, as, "a", "b", "c")
	zones("all in one: as without", 1, as, "a", "a", "a")
	zones("not known of the primary: as without", 1, as, "", "a", "b")
	zones("a standby beside the primary: the one elsewhere must acknowledge", 1, as, "a", "a", "b")
	zones("a standby of which it is not known: the one elsewhere must acknowledge", 1, as, "a", "", "b")
	zones("both acknowledge: nothing to do", 2, as, "a", "a", "b")
	zones("the primary alone in its zone: any of the others will do", 2, as, "b", "a", "a")
	zones("the one elsewhere stopped a moment ago", 2, func(w *world) {
		w.unstream("pg3")
		w.of("pg3").AcknowledgedLast = noon.Add(-100 * time.Millisecond)
	}, "a", "a", "b")
	zones("the one elsewhere is gone: the zone goes on alone", 2, func(w *world) {
		w.unstream("pg3")
		w.of("pg3").AcknowledgedLast = noon.Add(-2 * time.Second)
	}, "a", "a", "b")
	zones("the one elsewhere is back", 1, func(w *world) { sync(w, 1, "pg1", "pg2") }, "a", "a", "b")
	zones("the one beside the primary is gone", 2, func(w *world) {
		w.unstream("pg2")
		w.of("pg2").AcknowledgedLast = noon.Add(-2 * time.Second)
	}, "a", "a", "b")
	add("five members: two acknowledge", func(w *world) {
		w.add("pg4")
		w.add("pg5")
		w.state(func(s *primacy.State) {
			s.Sync = primacy.Sync{Version: 9, Members: members("pg1", "pg2", "pg3", "pg4"), Acks: 2}
		})
	})
	return cases
}

func leadershipCases() map[string]*world {
	cases := map[string]*world{}
	add := func(name string, change func(w *world)) {
		w := newWorld()
		w.TransferAfter = time.Time{}
		change(w)
		cases[name] = w
	}
	add("to the primary", func(*world) {})
	add("not while it waits", func(w *world) { w.TransferAfter = noon.Add(time.Second) })
	add("not right after winning it", func(w *world) { w.Since = noon.Add(-time.Second) })
	add("not right after a promotion", func(w *world) { w.PhaseSince = noon.Add(-time.Second) })
	add("not to an agent that is away", func(w *world) { w.of("pg1").Agent = since(isRefused, 0) })
	add("not to a primary that restarts", func(w *world) { w.of("pg1").View.Restarting = true })
	add("not from the primary", func(w *world) { w.Self = "pg1" })
	add("to one that sees the primary", func(w *world) {
		w.dead("pg1", isSilent, 3*time.Second).sees("pg3", isAlive, isAccepting)
	})
	handover := func(name string, change func(w *world)) {
		add(name, func(w *world) {
			w.state(func(s *primacy.State) { s.Handover = "pg3" })
			w.HandoverSince = noon.Add(-time.Second)
			change(w)
		})
	}
	handover("a switchover is under way", func(*world) {})
	handover("a switchover takes too long: abort", func(w *world) { w.HandoverSince = noon.Add(-11 * time.Second) })
	handover("a switchover's target is gone: abort", func(w *world) { w.of("pg3").Agent = since(isRefused, 0) })
	handover("a switchover's primary has stopped", func(w *world) {
		w.of("pg1").View.Running, w.of("pg1").View.Countable, w.of("pg1").Postgres = false, true, since(isRefused, 0)
	})
	handover("a switchover's primary has stopped and too few are left: abort", func(w *world) {
		w.of("pg1").View.Running, w.of("pg1").Postgres = false, since(isRefused, 0)
		w.of("pg2").View.Memory = "other"
	})
	return cases
}
