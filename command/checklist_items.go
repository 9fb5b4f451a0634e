package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

// checklistItems is the list, from what was seen. It is pure. What does not apply to the cluster is left out.
func checklistItems(which string, seen *sighting) []item {
	items := map[string][]func(*sighting) item{
		daily: {
			itemStatus, itemAsked, itemLeader, itemQuorum, itemPrimary, itemCommits, itemStandbys, itemWorkers, itemHealth,
			history("events of the day", checklistSpans[daily]), itemErrorLogs,
		},
		weekly: {
			itemAsked, history("events of the week", checklistSpans[weekly]), itemAlerts, itemLogSize,
			checked("room on disks", "disk_data_dir", "disk_postgres"), checked("WAL kept by slots", "slots"), checked("clocks", "clock_skew"),
			checked("certificates", "certificate"), itemRestarts, itemBackups,
		},
		monthly: {
			itemAsked, itemDrill, itemRestore, itemVoters, itemZones, itemFit, itemSame, itemVersions, itemPostgresVersions, checked("certificates", "certificate"),
			itemKeys, checked("speed of disks", "fsync"), itemPerformance, itemNotes,
		},
	}[which]
	var out []item
	for _, judged := range items {
		if i := judged(seen); i.Name != "" {
			out = append(out, i)
		}
	}
	return out
}

// judge is an item that is OK, or has to be looked at.
func judge(name string, ok bool, measured, next string) item {
	return judgeAll(name, ok, []string{measured}, next)
}

// judgeAll is judge with a line for each node.
func judgeAll(name string, ok bool, measured []string, next string) item {
	if ok {
		return item{Name: name, Status: itemOK, Measured: measured}
	}
	return item{Name: name, Status: itemLook, Measured: measured, Next: next}
}

func byHand(name, look, next string) item {
	return item{Name: name, Status: itemHand, Measured: []string{look}, Next: next}
}

func itemStatus(seen *sighting) item {
	s := &seen.asked
	what := fmt.Sprintf("%s, %s", count(len(s.Nodes), "node"), count(len(voters(s)), "voter"))
	problems := diagnose(s)
	if len(problems) == 0 {
		return judge("cluster status", true, what+", no problem", "")
	}
	return judge("cluster status", false, fmt.Sprintf("%s, %s; the first: %s", what, count(len(problems), "problem"), problems[0].what), "pgraft status")
}

func itemLeader(seen *sighting) item {
	s := &seen.asked
	if s.LeaderID == 0 {
		return judge("leader", false, "none is known", "pgraft status; it takes a majority of the voters, and port 7401 between them")
	}
	what := fmt.Sprintf("%s, term %d", s.LeaderName, s.Term)
	if at := lastEvent(seen.events, "election"); !at.IsZero() {
		what += ", elected " + ago(s.AsOf.Sub(at)) + " ago"
	}
	return judge("leader", true, what, "")
}

func itemQuorum(seen *sighting) item {
	s := &seen.asked
	all := voters(s)
	alive := len(all) - len(silent(all))
	spare := max(0, alive-(len(all)/2+1))
	what := fmt.Sprintf("%d of %s alive, %d more may fail before writes stop", alive, count(len(all), "voter"), spare)
	return judge("quorum", s.HasQuorum && alive == len(all) && len(all) > 0, what, "pgraft members; start the agents again that do not answer")
}

func itemPrimary(seen *sighting) item {
	s := &seen.asked
	if !managed(s) {
		return item{}
	}
	return judge("primary", s.PrimaryID != 0 && s.Phase == api.PhaseReady && !s.Paused, primaryLine(s), "pgraft events; after maintenance: pgraft resume")
}

func itemCommits(seen *sighting) item {
	s := &seen.asked
	if !managed(s) {
		return item{}
	}
	return judge("commits", s.Sync.Mode != "" && len(checkSync(s)) == 0, syncLine(s), "pgraft status")
}

// lagWorthALook is how much WAL a standby may have to replay before a checklist calls it behind.
const lagWorthALook = 64 << 20

func itemStandbys(seen *sighting) item {
	s := &seen.asked
	if !managed(s) {
		return item{}
	}
	ok, words := true, []string{}
	for _, n := range s.Nodes {
		if n.Witness || n.NodeID == s.PrimaryID {
			continue
		}
		word := cmp.Or(doing(s, n), orDash(n.Role))
		if n.Replication == "streaming" && n.Status == api.NodeAlive {
			word = lagText(n) + " behind"
		}
		ok = ok && n.Status == api.NodeAlive && n.Replication == "streaming" && n.LagBytes >= 0 && n.LagBytes < lagWorthALook
		words = append(words, n.Name+" "+word)
	}
	if len(words) == 0 {
		return judge("standbys", false, "there is none", "A primary alone can't be replaced: start an agent on another machine")
	}
	return judge("standbys", ok, strings.Join(words, ", "), "pgraft status")
}

// itemWorkers has the worker of each node in the node's own words.
func itemWorkers(seen *sighting) item {
	ok, words := true, []string{}
	for _, n := range seen.nodes {
		switch {
		case n.status == nil:
			continue
		case n.status.WorkerState != api.WorkerRunning:
			ok = false
			words = append(words, strings.TrimSuffix(fmt.Sprintf("%s %s: %s", n.name, n.status.WorkerState, n.status.WorkerMessage), ": "))
		default:
			words = append(words, n.name+" "+string(n.status.WorkerState))
		}
	}
	return judge("workers", ok && len(words) > 0, strings.Join(words, ", "), "pgraft monitor, on that node")
}

// itemAsked names the nodes that all other items say nothing of.
func itemAsked(seen *sighting) item {
	var words, missing []string
	for _, n := range seen.nodes {
		if n.status != nil {
			continue
		}
		why := "it did not answer"
		if n.err != nil {
			why = rootCause(n.err)
		}
		missing, words = append(missing, n.name), append(words, n.name+" did not answer: "+why)
	}
	if len(missing) == 0 {
		return judge("nodes asked", true, "all "+count(len(seen.nodes), "node"), "")
	}
	return judgeAll("nodes asked", false, words, "pgraft status, on "+strings.Join(missing, ", ")+". An agent that is well answers others only where http { addr = … } lets them in")
}

// itemHealth has what the nodes' own checks find, the worst first.
func itemHealth(seen *sighting) item {
	found, total := badChecks(seen)
	if len(found) == 0 {
		return judge("health checks", true, fmt.Sprintf("%d on %s, all OK", total, count(reached(seen), "node")), "")
	}
	return judgeAll("health checks", false, found, "pgraft status, on that node. What each check means: the page operations/health-checks")
}

func badChecks(seen *sighting) (found []string, total int) {
	for _, severity := range []api.CheckStatus{api.CheckCritical, api.CheckWarning, api.CheckUnknown} {
		for _, n := range seen.nodes {
			if n.status == nil {
				continue
			}
			for _, c := range n.status.Checks {
				if severity == api.CheckCritical {
					total++
				}
				if c.Status == severity {
					found = append(found, fmt.Sprintf("%s %s on %s: %s", c.Status, c.Name, n.name, c.Message))
				}
			}
		}
	}
	return found, total
}

func reached(seen *sighting) int {
	n := 0
	for _, node := range seen.nodes {
		if node.status != nil {
			n++
		}
	}
	return n
}

// checked is an item of some of the nodes' own checks, on all nodes that answered.
func checked(name string, checks ...string) func(*sighting) item {
	return func(seen *sighting) item {
		ok, words, next := true, []string{}, ""
		for _, n := range seen.nodes {
			if n.status == nil {
				continue
			}
			for _, c := range n.status.Checks {
				if !slices.Contains(checks, c.Name) {
					continue
				}
				words = append(words, n.name+": "+c.Message)
				if c.Status != api.CheckOK {
					ok, next = false, cmp.Or(next, c.Next)
				}
			}
		}
		if len(words) == 0 {
			return item{}
		}
		return judgeAll(name, ok, words, next)
	}
}

// history counts the events of a span that a quiet cluster does not have.
func history(name string, span time.Duration) func(*sighting) item {
	return func(seen *sighting) item {
		from := seen.asked.AsOf.Add(-span)
		number := map[string]int{}
		for _, e := range seen.events {
			if e.Time.After(from) {
				number[e.Type]++
			}
		}
		var words []string
		quiet := true
		for _, kind := range []struct{ event, noun string }{
			{"election", "election"}, {"fence", "change of primary"}, {"failed", "failed node"}, {"lost", "lost copy of the data"},
		} {
			if n := number[kind.event]; n > 0 {
				words = append(words, fmt.Sprintf("%d × %s", n, kind.noun))
				quiet = false
			}
		}
		what := cmp.Or(strings.Join(words, ", "), "no election, no failover, no node failed")
		if len(seen.events) > 0 && seen.events[0].Index > 1 && seen.events[0].Time.After(from) {
			what += "; older than " + ago(seen.asked.AsOf.Sub(seen.events[0].Time)) + " is not kept"
		}
		return judge(name, quiet, what, "pgraft events -limit=0; those without a reason of yours want one")
	}
}

func lastEvent(events []api.Event, kinds ...string) time.Time {
	for _, e := range slices.Backward(events) {
		if slices.Contains(kinds, e.Type) {
			return e.Time
		}
	}
	return time.Time{}
}

func itemErrorLogs(*sighting) item {
	return byHand("error logs", "on each node, the agent's log and PostgreSQL's: lines with WARN, ERROR, FATAL or PANIC that you can't explain",
		"journalctl -u pgraft --since=yesterday | grep -E 'WARN|ERROR', and the same of PostgreSQL's log; from now on: pgraft monitor -log-level=warn")
}
