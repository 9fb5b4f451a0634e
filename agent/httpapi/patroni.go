package httpapi

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// view is a node's status with its own row of the nodes at hand.
type view struct {
	api.Status
	own api.NodeStatus
}

func viewOf(st api.Status) view {
	v := view{Status: st}
	for _, n := range st.Nodes {
		if n.NodeID == st.NodeID {
			v.own = n
		}
	}
	return v
}

// condition tells why a node's PostgreSQL is not what a check asks for, "" if it is.
type condition func(v view, r *request) (problem string, err error)

// probeOf makes the handler of a check.
func probeOf(holds condition) handler {
	return func(s *Server, w http.ResponseWriter, r *request) error {
		v := viewOf(s.cfg.Status.Status())
		problem, err := holds(v, r)
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet {
			return answerCode(w, problem == "")
		}
		body := patroniAnswer{PatroniStatus: patroniStatus(v, s.cfg.Primacy())}
		if problem == "" {
			return writeJSON(w, body)
		}
		body.Message, body.Code = problem, api.CodeUnavailable
		w.Header()["Content-Type"] = contentJSON
		w.WriteHeader(http.StatusServiceUnavailable)
		return encode(w, body)
	}
}

// patroniAnswer is a status and an error body in one, as every answer that is no success has one.
type patroniAnswer struct {
	Message string `json:"error,omitempty"`
	Code    string `json:"code,omitempty"`
	api.PatroniStatus
}

// answerCode answers HEAD and OPTIONS.
func answerCode(w http.ResponseWriter, ok bool) error {
	code := http.StatusServiceUnavailable
	if ok {
		code = http.StatusOK
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(code)
	return nil
}

func always(view, *request) (string, error) { return "", nil }

func never(view, *request) (string, error) { return "pgraft has no standby clusters", nil }

func running(v view, _ *request) (string, error) {
	if !v.Postgres.Enabled {
		return "this node has no PostgreSQL", nil
	}
	return postgresAnswers(v), nil
}

func postgresAnswers(v view) string {
	if v.Postgres.Up {
		return ""
	}
	return "PostgreSQL does not answer"
}

func writable(v view, _ *request) (string, error) {
	switch {
	case v.Role != api.RolePrimary:
		return "this node is " + roleText(v) + ", not the primary", nil
	case v.Postgres.ReadOnly:
		return "the primary takes no writes now", nil
	}
	return postgresAnswers(v), nil
}

func roleText(v view) string { return cmp.Or(v.Role, api.RoleUnknown) }

func standby(v view) string {
	if v.Role != api.RoleStandby {
		return "this node is " + roleText(v) + ", not a standby"
	}
	return postgresAnswers(v)
}

func replica(v view, r *request) (string, error) {
	problem, err := lagging(v, r, -1)
	if state := r.text("replication_state"); state != "" && state != v.own.Replication {
		problem = fmt.Sprintf("its replication state is %q", v.own.Replication)
	}
	return cmp.Or(standby(v), problem), err
}

func readable(v view, r *request) (string, error) {
	problem, err := lagging(v, r, -1)
	if v.Role == api.RolePrimary {
		return postgresAnswers(v), err
	}
	return cmp.Or(standby(v), problem), err
}

// readyLag is what a standby may be behind to count as ready: what Patroni allows one that may be promoted.
const readyLag = 1 << 20

func readyForReads(v view, r *request) (string, error) {
	problem, err := lagging(v, r, readyLag)
	switch {
	case v.Role == api.RolePrimary:
		return postgresAnswers(v), err
	case v.own.Replication != "streaming":
		problem = "it does not stream from the primary"
	}
	return cmp.Or(standby(v), problem), err
}

// lagging compares the lag with the parameter, or with the fallback where it is missing; below 0 is no limit. A lag that
// isn't known is above every limit.
func lagging(v view, r *request, fallback int64) (string, error) {
	limit := fallback
	if text := r.text("lag"); text != "" {
		var err error
		if limit, err = parseBytes(text); err != nil {
			return "", badRequest("parameter \"lag\": want bytes such as 1048576 or 16MB, not %q", text)
		}
	}
	switch {
	case limit < 0:
		return "", nil
	case v.own.LagBytes < 0:
		return "its lag is not known", nil
	case v.own.LagBytes > limit:
		return fmt.Sprintf("it is %d bytes behind, more than %d", v.own.LagBytes, limit), nil
	}
	return "", nil
}

// parseBytes reads a size as PostgreSQL writes it: a number, and B, kB, MB, GB or TB.
func parseBytes(text string) (int64, error) {
	number := strings.TrimRight(text, " kKMGTBb")
	unit := strings.ToLower(strings.TrimSpace(text[len(number):]))
	shift, known := map[string]uint{"": 0, "b": 0, "k": 10, "kb": 10, "m": 20, "mb": 20, "g": 30, "gb": 30, "t": 40, "tb": 40}[unit]
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !known || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no size", text)
	}
	return n << shift, nil
}

func synchronous(v view, _ *request) (string, error) {
	return cmp.Or(standby(v), unless(syncState(v.Status, v.own) == "sync", "acknowledged commits may be on other standbys only")), nil
}

func quorumMember(v view, _ *request) (string, error) {
	return cmp.Or(standby(v), unless(syncState(v.Status, v.own) != "async", "it does not count when commits are acknowledged")), nil
}

func asynchronous(v view, r *request) (string, error) {
	problem, err := lagging(v, r, -1)
	return cmp.Or(standby(v), unless(syncState(v.Status, v.own) == "async", "it counts when commits are acknowledged"), problem), err
}

func unless(ok bool, problem string) string {
	if ok {
		return ""
	}
	return problem
}

// syncState says in PostgreSQL's words what a standby is to the commits: sync if each acknowledged one needs it.
func syncState(st api.Status, n api.NodeStatus) string {
	rule := st.Sync
	switch {
	case rule.Mode != api.SyncQuorum || rule.Acks == 0 || !slices.Contains(rule.Members, n.Name) || slices.Contains(rule.Lost, n.Name):
		return "async"
	case rule.Acks >= len(rule.Members)-1:
		return "sync"
	}
	return "quorum"
}

func patroniStatus(v view, state primacy.State) api.PatroniStatus {
	p := v.Postgres
	out := api.PatroniStatus{
		State: patroniState(v.Role), Role: patroniRole(v), ServerVersion: versionNumber(p.ServerVersion), Timeline: p.Timeline,
		ClusterUnlocked: v.PrimaryID == 0 && p.Mode == "managed", PendingRestart: len(p.PendingRestart) > 0, Pause: v.Paused,
		DatabaseSystemIdentifier: state.SystemID,
		Patroni:                  api.PatroniSelf{Version: v.Version, Scope: v.ClusterName, Name: v.Name},
	}
	end, replayed := lsnNumber(p.LSN), lsnNumber(p.ReplayLSN)
	switch {
	case v.Role == api.RolePrimary:
		out.XLog = &api.PatroniXLog{Location: end}
		out.Replication = streams(v.Status)
	case p.LSN != "":
		out.XLog = &api.PatroniXLog{ReceivedLocation: end, ReplayedLocation: replayed}
	}
	if v.Role == api.RoleStandby {
		out.ReplicationState = v.own.Replication
		sync := syncState(v.Status, v.own)
		out.SyncStandby, out.QuorumStandby = sync == "sync", sync == "quorum"
	}
	return out
}

// patroniState says of a role what Patroni calls the state of PostgreSQL's process.
func patroniState(role string) string {
	switch role {
	case api.RolePrimary, api.RoleStandby, api.RoleFenced:
		return "running"
	case api.RoleCloning:
		return "creating replica"
	case api.RoleRewinding, api.RoleStopped:
		return "stopped"
	case api.RoleStarting:
		return "starting"
	}
	return "unknown"
}

func patroniRole(v view) string {
	switch {
	case v.Role == api.RolePrimary:
		return "primary"
	case v.Role == api.RoleWitness, v.Postgres.Mode == "managed" && v.Epoch == 0:
		return "uninitialized"
	}
	return "replica"
}

func streams(st api.Status) []api.PatroniStream {
	var out []api.PatroniStream
	for _, n := range st.Nodes {
		if n.Replication != "" && n.NodeID != st.NodeID {
			out = append(out, api.PatroniStream{ApplicationName: n.Name, State: n.Replication, SyncState: syncState(st, n)})
		}
	}
	return out
}

// versionNumber makes 160003 of "16.3 (Debian 16.3-1)", and 170000 of "17beta1".
func versionNumber(text string) int {
	var major, minor int
	if n, _ := fmt.Sscanf(text, "%d.%d", &major, &minor); n == 0 {
		return 0
	}
	return major*10000 + minor
}

// lsnNumber is a position as a count of bytes, 0 where there is none.
func lsnNumber(text string) uint64 {
	lsn, err := wal.ParseLSN(text)
	if err != nil {
		return 0
	}
	return uint64(lsn)
}

func (s *Server) patroniCluster(w http.ResponseWriter, r *request) error {
	st := s.cfg.Status.Status()
	out := api.PatroniCluster{Members: []api.PatroniMember{}, Scope: st.ClusterName, Pause: st.Paused}
	for _, n := range st.Nodes {
		if !n.Witness {
			out.Members = append(out.Members, patroniMember(st, n))
		}
	}
	return answerProbe(w, r, out)
}

// answerProbe answers GET with a body and all else without.
func answerProbe(w http.ResponseWriter, r *request, body any) error {
	if r.Method != http.MethodGet {
		return answerCode(w, true)
	}
	return writeJSON(w, body)
}

func patroniMember(st api.Status, n api.NodeStatus) api.PatroniMember {
	m := api.PatroniMember{
		Name: n.Name, State: patroniState(n.Role), Timeline: n.Timeline, LSN: n.LSN, PendingRestart: len(n.PendingRestart) > 0,
	}
	if n.HTTPAddress != "" {
		m.APIURL = n.HTTPAddress + "/patroni"
	}
	if host, port, err := net.SplitHostPort(n.PostgresAddress); err == nil {
		m.Host = host
		m.Port, _ = strconv.Atoi(port)
	}
	if n.Role == api.RolePrimary {
		m.Role = "leader"
		return m
	}
	m.Role = map[string]string{"sync": "sync_standby", "quorum": "quorum_standby", "async": "replica"}[syncState(st, n)]
	if n.Role == api.RoleStandby && n.Replication == "streaming" {
		m.State = "streaming"
	}
	m.Lag = any("unknown")
	if n.LagBytes >= 0 {
		m.Lag = n.LagBytes
	}
	return m
}

// patroniHistory has a row for each timeline that ended in a promotion, the oldest first.
func (s *Server) patroniHistory(w http.ResponseWriter, r *request) error {
	state, names := s.cfg.Primacy(), map[string]string{}
	for _, n := range s.cfg.Status.Status().Nodes {
		names[n.ServerID] = n.Name
	}
	timelines := map[uint64]wal.Timeline{}
	rows := [][]any{}
	for _, b := range state.Lineage {
		timelines[b.Epoch] = b.Timeline
		if b.Parent != 0 {
			rows = append(rows, []any{
				timelines[b.Parent], uint64(b.Switch), fmt.Sprintf("epoch %d", b.Epoch), "", cmp.Or(names[b.ServerID], b.ServerID),
			})
		}
	}
	return answerProbe(w, r, rows)
}
