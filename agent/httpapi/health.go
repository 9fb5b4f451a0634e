package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// maxApplyLag is how many committed entries the state machine may have before it to count as caught up. Some are
// always on their way, and Raft's own entries never reach it.
const maxApplyLag = 1000

// The readiness checks, in the order in which they are reported.
const (
	checkRaftLeader = "raft_leader"
	checkCaughtUp   = "fsm_caught_up"
	checkPostgres   = "postgres"
	checkVoter      = "voter"
	checkGossip     = "gossip"
	checkWorker     = "worker"
)

// Readiness judges whether a node can serve its clients, check by check.
func Readiness(st api.Status) []api.Health {
	return []api.Health{
		verdict(checkRaftLeader, leaderProblem(st)),
		verdict(checkCaughtUp, caughtUpProblem(st)),
		verdict(checkPostgres, postgresProblem(st)),
		verdict(checkVoter, voterProblem(st)),
		verdict(checkGossip, gossipProblem(st)),
		verdict(checkWorker, workerProblem(st)),
	}
}

func verdict(check, problem string) api.Health {
	return api.Health{Check: check, OK: problem == "", Reason: problem}
}

func leaderProblem(st api.Status) string {
	switch {
	case st.IsLeader, st.HasQuorum:
		return ""
	case st.State == "leader":
		return "this node leads, but a majority hasn't confirmed it within the lease"
	case st.LastContactMS >= 0 && st.LeaderID != 0:
		return fmt.Sprintf("the leader was last heard %d ms ago", st.LastContactMS)
	}
	return "no leader is known"
}

func caughtUpProblem(st api.Status) string {
	if st.ClusterID == "" {
		return "the node hasn't applied the cluster's first entry yet"
	}
	if lag := behind(st.Log.CommitIndex, st.Log.AppliedIndex); lag > maxApplyLag {
		return fmt.Sprintf("%d committed entries are not applied yet", lag)
	}
	return ""
}

func behind(commit, applied uint64) uint64 {
	if commit <= applied {
		return 0
	}
	return commit - applied
}

func postgresProblem(st api.Status) string {
	pg := st.Postgres
	switch {
	case !pg.Enabled:
		return ""
	case !pg.Up && pg.Error == "":
		return "PostgreSQL can't be reached"
	case pg.Error != "":
		return pg.Error
	}
	return ""
}

// workerProblem is what keeps the agent as a whole from its work, such as a full disk; PostgreSQL's is told apart.
func workerProblem(st api.Status) string {
	if st.WorkerState != api.WorkerError || postgresProblem(st) != "" && st.WorkerMessage == postgresProblem(st) {
		return ""
	}
	return cmp.Or(st.WorkerMessage, "the agent can't do its work")
}

func voterProblem(st api.Status) string {
	if st.Voter {
		return ""
	}
	for _, n := range st.Nodes {
		if n.NodeID == st.NodeID && n.NonVoting {
			return ""
		}
	}
	return "this node is not a voter yet: it is promoted once it is caught up and stable"
}

// gossipProblem needs one other node that is alive: a node that sees nobody is cut off, unless it is alone by design.
func gossipProblem(st api.Status) string {
	others, alive := 0, 0
	for _, n := range st.Nodes {
		if n.NodeID == st.NodeID || n.Status == api.NodeLeft {
			continue
		}
		others++
		if n.Status == api.NodeAlive {
			alive++
		}
	}
	if others > 0 && alive == 0 {
		return "no other node can be reached by gossip"
	}
	return ""
}

// livez needs nothing but this handler: a probe of it must not restart every node of a cluster that lost its quorum.
func (s *Server) livez(w http.ResponseWriter, r *request) error {
	return answerHealth(w, r, []api.Health{{Check: "process", OK: true}})
}

func (s *Server) readyz(w http.ResponseWriter, r *request) error {
	checks := Readiness(s.cfg.Status.Status())
	name := r.PathValue("check")
	if name == "" {
		return answerHealth(w, r, checks)
	}
	i := slices.IndexFunc(checks, func(c api.Health) bool { return c.Check == name })
	if i < 0 {
		e := notFound("no check %q", name)
		e.Hint = "there are " + strings.Join(checkNames(checks), ", ")
		return e
	}
	return answerHealth(w, r, checks[i:i+1])
}

func checkNames(checks []api.Health) []string {
	names := make([]string, 0, len(checks))
	for _, c := range checks {
		names = append(names, c.Check)
	}
	return names
}

// readinessAnswer is an answer and an error body in one: with a check that fails it has what every error has.
type readinessAnswer struct {
	Message string `json:"error,omitempty"`
	Code    string `json:"code,omitempty"`
	api.Readiness
}

func answerHealth(w http.ResponseWriter, r *request, checks []api.Health) error {
	verbose, err := r.flag("verbose")
	if err != nil {
		return err
	}
	if checks, err = exclude(checks, r.text("exclude")); err != nil {
		return err
	}
	out := readinessAnswer{Readiness: api.Readiness{OK: true, Checks: checks}}
	for _, c := range checks {
		if !c.OK && out.OK {
			out.OK, out.Code, out.Message = false, api.CodeUnavailable, c.Check+": "+c.Reason
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	if out.OK {
		if !verbose {
			return writeBytes(w, contentJSON, []byte("{\"ok\":true}\n"))
		}
		return writeJSON(w, out)
	}
	return writeUnready(w, out)
}

func exclude(checks []api.Health, names string) ([]api.Health, error) {
	if names == "" {
		return checks, nil
	}
	drop := strings.Split(names, ",")
	for _, name := range drop {
		if !slices.Contains(checkNames(checks), name) {
			return nil, badRequest("parameter \"exclude\": no check %q; there are %s", name, strings.Join(checkNames(checks), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(checks), func(c api.Health) bool { return slices.Contains(drop, c.Check) }), nil
}

func writeUnready(w http.ResponseWriter, out readinessAnswer) error {
	w.Header()["Content-Type"] = contentJSON
	w.Header().Set("Retry-After", retryAfter)
	w.WriteHeader(http.StatusServiceUnavailable)
	return encode(w, out)
}
