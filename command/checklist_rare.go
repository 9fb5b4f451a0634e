package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// The items of the weekly and the monthly list that the daily one does not have.

func itemAlerts(seen *sighting) item {
	found, _ := badChecks(seen)
	return byHand("alerts", fmt.Sprintf("each alert of the week has a cause that is known, and none stays firing; %s not OK now", checksAre(len(found))),
		`Prometheus: ALERTS{alertname=~"Pgraft.*"}; the rules of this version: pgraft monitoring export rules`)
}

func checksAre(n int) string {
	if n == 1 {
		return "1 check is"
	}
	return fmt.Sprintf("%d checks are", n)
}

// logWorthALook is how large the Raft log with its snapshots may be: it is small unless snapshots fail.
const logWorthALook = 2 << 30

func itemLogSize(seen *sighting) item {
	ok, words := true, []string{}
	for _, n := range seen.nodes {
		if n.status == nil {
			continue
		}
		l := n.status.Log
		ok = ok && l.DiskBytes < logWorthALook
		words = append(words, fmt.Sprintf("%s %s in %d entries", n.name, bytesText(l.DiskBytes), l.Size))
	}
	return judge("size of the log", ok, strings.Join(words, ", "), "pgraft operator raft info. The log shrinks with each snapshot: the agent's log says why there is none")
}

func itemRestarts(seen *sighting) item {
	if !managed(&seen.asked) {
		return item{}
	}
	if problems := checkPendingRestart(&seen.asked); len(problems) > 0 {
		return judge("pending restarts", false, problems[0].what, problems[0].next)
	}
	return judge("pending restarts", true, "no parameter waits for a restart", "")
}

func itemBackups(*sighting) item {
	return byHand("backups", "the newest base backup is as young as you want it, and the WAL since then is archived",
		"SELECT last_archived_time, last_failed_time FROM pg_stat_archiver, on the primary; of pgraft's own state: pgraft snapshot inspect FILE")
}

func itemDrill(seen *sighting) item {
	if !managed(&seen.asked) {
		return item{}
	}
	at := lastEvent(seen.events, "ready")
	const next = "pgraft drill failover; or gently: pgraft drill failover -switchover"
	switch age := seen.asked.AsOf.Sub(at); {
	case at.IsZero():
		return judge("recovery drill", false, "no failover in the history that is kept", next)
	case age > checklistSpans[monthly]:
		return judge("recovery drill", false, "the last change of the primary was "+ago(age)+" ago", next)
	default:
		return judge("recovery drill", true, "the last change of the primary was "+ago(age)+" ago: "+cmp.Or(seen.asked.EpochReason, "no reason is known"), "")
	}
}

func itemRestore(*sighting) item {
	return byHand("restore from a backup", "a backup that was never restored is none: bring one up on a machine of its own, and count rows",
		"The page operations/production says how; it needs no node of this cluster")
}

func itemVoters(seen *sighting) item {
	n := len(voters(&seen.asked))
	return judge("number of voters", n%2 == 1 && n > 1, fmt.Sprintf("%d", n), "3, 5 or 7: an even one bears no more failures than one less. A node without data is enough: witness = true")
}

// itemZones asks whether the loss of one zone leaves a majority of the voters.
func itemZones(seen *sighting) item {
	zones, without, asked := map[string]int{}, []string{}, 0
	for _, n := range seen.nodes {
		voter := slices.ContainsFunc(voters(&seen.asked), func(v api.NodeStatus) bool { return v.Name == n.name })
		if !voter || n.info == nil {
			continue
		}
		asked++
		i := slices.IndexFunc(n.info, func(v api.InfoValue) bool { return v.Name == "zone" && v.Value != "" })
		if i < 0 {
			without = append(without, n.name)
			continue
		}
		zones[n.info[i].Value]++
	}
	if len(zones) == 0 {
		return byHand("zones", "no two voters share what fails together: power, switch, rack, hypervisor", "With zone = NAME on each node this list counts them")
	}
	all := len(voters(&seen.asked))
	words, ok := []string{}, len(without) == 0 && asked == all
	for zone, n := range zones {
		words = append(words, fmt.Sprintf("%s in %s", count(n, "voter"), zone))
		ok = ok && all-n >= all/2+1
	}
	slices.Sort(words)
	if len(without) > 0 {
		words = append(words, "no zone is set on "+strings.Join(without, ", "))
	}
	return judge("zones", ok, strings.Join(words, ", "), "The loss of one zone must leave a majority of the voters: move a node, or add one elsewhere")
}

// itemFit has the settings that don't fit what their nodes measure.
func itemFit(seen *sighting) item {
	var words []string
	for _, n := range seen.nodes {
		for _, v := range n.info {
			if v.Unfit != "" {
				words = append(words, fmt.Sprintf("%s on %s: %s", v.Name, n.name, v.Unfit))
			}
		}
	}
	if len(words) == 0 {
		return judge("fit of settings", true, fmt.Sprintf("timeouts and batches of %s fit what is measured", count(reached(seen), "node")), "")
	}
	return judgeAll("fit of settings", false, words, "pgraft info, on that node; the page operations/tuning")
}

// commonSettings are those, or the blocks of those, that a cluster wants alike on all nodes.
var commonSettings = []string{
	"cluster_name", "raft.", "gossip.", "autopilot.", "postgres.mode", "postgres.database", "postgres.synchronous", "acl.enabled", "tls.verify_",
}

// itemSame compares the settings of the nodes.
func itemSame(seen *sighting) item {
	values := map[string]map[string]bool{}
	for _, n := range seen.nodes {
		witness := n.status != nil && n.status.Role == api.RoleWitness
		for _, v := range n.info {
			common := slices.ContainsFunc(commonSettings, func(prefix string) bool { return strings.HasPrefix(v.Name, prefix) })
			if !common || witness && strings.HasPrefix(v.Name, "postgres.") {
				continue
			}
			if values[v.Name] == nil {
				values[v.Name] = map[string]bool{}
			}
			values[v.Name][v.Value] = true
		}
	}
	var differ []string
	for name, all := range values {
		if len(all) > 1 {
			differ = append(differ, name)
		}
	}
	slices.Sort(differ)
	if len(differ) > 0 {
		return judge("same on all nodes", false, "the nodes differ in: "+strings.Join(differ, ", "), "pgraft info, on each node")
	}
	return judge("same on all nodes", true, fmt.Sprintf("what should be the same is so on %s", count(reached(seen), "node")), "")
}

func itemVersions(seen *sighting) item {
	if problems := checkVersions(&seen.asked); len(problems) > 0 {
		return judge("version of pgraft", false, problems[0].what, problems[0].next)
	}
	return judge("version of pgraft", true, seen.asked.Version+" on all nodes that answer; is there a newer one?", "")
}

func itemPostgresVersions(seen *sighting) item {
	var words, found []string
	for _, n := range seen.nodes {
		if n.status == nil || n.status.Postgres.ServerVersion == "" {
			continue
		}
		version := shortVersion(n.status.Postgres.ServerVersion)
		words = append(words, n.name+" "+version)
		if !slices.Contains(found, version) {
			found = append(found, version)
		}
	}
	if len(words) == 0 {
		return item{}
	}
	return judge("PostgreSQL's version", len(found) == 1, strings.Join(words, ", ")+"; is there a newer minor one?", "Finish the upgrade: the page operations/maintenance")
}

func itemKeys(*sighting) item {
	return byHand("keys and passwords", "the gossip key is younger than your rule says, and who has left knows none", "pgraft keyring list; a new one: pgraft keygen")
}

func itemPerformance(*sighting) item {
	return byHand("performance", "time of a commit, lag and size against last month's, on the dashboard", "pgraft monitoring export dashboard")
}

func itemNotes(*sighting) item {
	return byHand("documentation", "your notes name the nodes, addresses and people of today, and say where the backups and keys are", "")
}
