package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

// problem is something that is not as it should be, and the next step.
type problem struct{ what, next string }

// lagWorthSaying is how far a node's PostgreSQL may be behind before the status screen calls it a problem.
const lagWorthSaying = 10 * time.Second

// diagnose finds what is wrong in a status, the worst first. It is pure.
func diagnose(s *api.Status) []problem {
	var all []problem
	for _, check := range []func(*api.Status) []problem{
		checkQuorum, checkPrimary, checkInDoubt, checkNodes, checkPostgres, checkWorker, checkSync, checkPaused, checkPendingRestart,
		checkLag, checkVersions, checkChecks,
	} {
		all = append(all, check(s)...)
	}
	return all
}

func checkQuorum(s *api.Status) []problem {
	if s.HasQuorum {
		return nil
	}
	if s.ClusterID == "" {
		return []problem{{
			what: "This node is in no cluster yet.",
			next: "Start the other agents: the cluster is founded when bootstrap_expect of them have met. Or bring this node into " +
				"a running cluster: pgraft join ADDRESS",
		}}
	}
	all := voters(s)
	gone := silent(all)
	need := len(all)/2 + 1
	if len(all)-len(gone) >= need {
		return []problem{{
			what: "This node is not in touch with a leader that has a quorum, though enough voters seem alive.",
			next: "An election takes a few seconds: look again. If it stays, check that the Raft port (7401) is open between " +
				"the nodes, and ask another node with -http-addr.",
		}}
	}
	return []problem{{
		what: fmt.Sprintf("The quorum is lost: %d of %d voters are alive, %d are needed. Nothing can be written; reads with "+
			"-stale go on.", len(all)-len(gone), len(all), need),
		next: fmt.Sprintf("Start the agents again on %s. Only if their disks are lost for good: pgraft operator raft recover -h",
			strings.Join(names(gone), ", ")),
	}}
}

func checkNodes(s *api.Status) []problem {
	var out []problem
	for _, n := range s.Nodes {
		if n.Status != api.NodeFailed {
			continue
		}
		what := fmt.Sprintf("%s does not answer", n.Name)
		if !n.LastSeen.IsZero() {
			what += ", last seen " + ago(s.AsOf.Sub(n.LastSeen)) + " ago"
		}
		next := fmt.Sprintf("Check the machine %s, its network and its agent, and start the agent again: it rejoins by itself.", n.Address)
		if s.HasQuorum { // without one nobody can be removed
			next += " Gone for good: pgraft force-leave " + n.Name
		}
		out = append(out, problem{what: what + ".", next: next})
	}
	return out
}

func checkPostgres(s *api.Status) []problem {
	p := s.Postgres
	switch {
	case !p.Enabled, p.Mode == "managed" && p.Action != "":
		return nil
	case !p.Up && p.Mode == "managed":
		return []problem{{
			what: fmt.Sprintf("PostgreSQL at %s does not run%s%s.", p.Address, since(s, p), reason(cmp.Or(s.WorkerMessage, p.Error))),
			next: "The agent starts it by itself. If it does not: pgraft monitor, and PostgreSQL's own log.",
		}}
	case !p.Up:
		return []problem{{
			what: fmt.Sprintf("PostgreSQL at %s is down%s%s.", p.Address, since(s, p), reason(p.Error)),
			next: "Start it: the agent connects again by itself and writes what is missing. The cluster goes on meanwhile.",
		}}
	case p.Error != "":
		return []problem{{
			what: fmt.Sprintf("Changes do not reach PostgreSQL at %s%s: %s", p.Address, since(s, p), p.Error),
			next: "Remove the cause; the agent tries again by itself. Missing rights, extension files or dblink: pgraft setup",
		}}
	case p.ExtensionVersion == "" && p.Mode != "managed":
		return []problem{{
			what: fmt.Sprintf("The extension pgraft is not in database %s.", p.Database),
			next: "Run: pgraft setup",
		}}
	}
	return nil
}

// checkWorker reports the worker's own words where no other check has said it already.
func checkWorker(s *api.Status) []problem {
	if s.WorkerState == api.WorkerRunning || len(checkPostgres(s)) > 0 || len(checkQuorum(s)) > 0 {
		return nil
	}
	what := fmt.Sprintf("The agent is %s", s.WorkerState)
	if s.WorkerMessage != "" {
		what += ": " + s.WorkerMessage
	}
	next := "See the agent's log: pgraft monitor"
	if s.WorkerState == api.WorkerRecovering {
		next = "It is catching up and needs no help; wait for it with: pgraft wait -for=ready"
	}
	return []problem{{what: what, next: next}}
}

func checkLag(s *api.Status) []problem {
	var out []problem
	for _, n := range s.Nodes {
		lag := time.Duration(n.LagMS) * time.Millisecond
		if n.Status != api.NodeAlive || lag < lagWorthSaying || n.NodeID == s.NodeID && len(checkPostgres(s)) > 0 {
			continue
		}
		out = append(out, problem{
			what: fmt.Sprintf("The rows in the PostgreSQL of %s are %s behind.", n.Name, ago(lag)),
			next: "Ask it for the reason: pgraft status -http-addr=" + baseURL(n.HTTPAddress),
		})
	}
	return out
}

func checkVersions(s *api.Status) []problem {
	var versions []string
	for _, n := range s.Nodes {
		if n.Status == api.NodeAlive && n.Version != "" && !slices.Contains(versions, n.Version) {
			versions = append(versions, n.Version)
		}
	}
	if len(versions) < 2 {
		return nil
	}
	slices.Sort(versions)
	return []problem{{
		what: "The nodes run different versions: " + strings.Join(versions, ", ") + ".",
		next: "Finish the upgrade: pgraft members shows who runs which.",
	}}
}

func voters(s *api.Status) []api.NodeStatus {
	var out []api.NodeStatus
	for _, n := range s.Nodes {
		if n.Voter {
			out = append(out, n)
		}
	}
	return out
}

// silent returns those of the nodes that are not alive.
func silent(nodes []api.NodeStatus) []api.NodeStatus {
	var out []api.NodeStatus
	for _, n := range nodes {
		if n.Status != api.NodeAlive {
			out = append(out, n)
		}
	}
	return out
}

func names(nodes []api.NodeStatus) []string {
	out := make([]string, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

func since(s *api.Status, p api.PostgresStatus) string {
	if p.ErrorSince.IsZero() {
		return ""
	}
	return " for " + ago(s.AsOf.Sub(p.ErrorSince))
}

func reason(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

func baseURL(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return "http://" + address
}
