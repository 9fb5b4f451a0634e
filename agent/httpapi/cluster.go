package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// handler answers one route.
type handler = func(*Server, http.ResponseWriter, *request) error

// clusterOrder reads and checks what all orders about PostgreSQL have in common, and finds the node that is meant.
func (s *Server) clusterOrder(w http.ResponseWriter, r *request) (in api.ClusterRequest, node *api.NodeStatus, st api.Status, err error) {
	if err := readJSON(w, r, maxJSONBody, &in); err != nil {
		return in, nil, st, err
	}
	st = s.cfg.Status.Status()
	if s.cfg.Cluster == nil {
		return in, nil, st, &api.Error{
			Code: api.CodeConflict, Message: "pgraft does not manage PostgreSQL here",
			Hint: `this needs mode = "managed" in block postgres of every node that has a PostgreSQL`,
		}
	}
	if in.Node != "" {
		node, err = findNode(st, in.Node)
	}
	return in, node, st, err
}

// findNode looks a node up by name, node_id or server id.
func findNode(st api.Status, wanted string) (*api.NodeStatus, error) {
	names := make([]string, 0, len(st.Nodes))
	for i := range st.Nodes {
		n := &st.Nodes[i]
		if n.Name == wanted || n.ServerID == wanted || strconv.Itoa(n.NodeID) == wanted {
			return n, nil
		}
		names = append(names, n.Name)
	}
	e := notFound("there is no node %q", wanted)
	e.Hint = "there are " + strings.Join(names, ", ")
	return nil, e
}

func (s *Server) clusterFailover(w http.ResponseWriter, r *request) error {
	in, node, st, err := s.clusterOrder(w, r)
	if err != nil {
		return err
	}
	if err := failoverProblem(st, node); err != nil {
		return err
	}
	result, err := s.cfg.Cluster.Failover(r.Context(), serverIDOf(node), in.AllowDataLoss)
	return answerOrder(w, result, err)
}

func (s *Server) clusterSwitchover(w http.ResponseWriter, r *request) error {
	in, node, st, err := s.clusterOrder(w, r)
	if err != nil {
		return err
	}
	if in.AllowDataLoss {
		return badRequest("allow_data_loss: a switchover loses nothing; it is for a failover")
	}
	if err := switchoverProblem(st, node); err != nil {
		return err
	}
	result, err := s.cfg.Cluster.Switchover(r.Context(), serverIDOf(node))
	return answerOrder(w, result, err)
}

func serverIDOf(node *api.NodeStatus) string {
	if node == nil {
		return ""
	}
	return node.ServerID
}

func answerOrder(w http.ResponseWriter, result api.ClusterResult, err error) error {
	if err != nil {
		return err
	}
	return writeJSON(w, result)
}

func conflict(hint, format string, args ...any) *api.Error {
	return &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// failoverProblem tells why the node can't become primary by a failover, whatever is counted. nil is the best node.
func failoverProblem(st api.Status, node *api.NodeStatus) error {
	switch {
	case st.Epoch == 0:
		return conflict("see pgraft status", "there is no PostgreSQL in this cluster yet")
	case node == nil:
		return nil
	case node.Witness:
		return conflict("choose another node", "%s is a witness: it has no PostgreSQL", node.Name)
	case node.Status != api.NodeAlive:
		return conflict("choose another node", "%s is %s", node.Name, node.Status)
	case node.Role == api.RolePrimary:
		return conflict("leave the node out to take the best other one", "%s is the primary already", node.Name)
	case node.Role == api.RoleCloning, node.Role == api.RoleRewinding:
		return conflict("wait until it is done: see pgraft status", "%s is %s", node.Name, node.Role)
	}
	return nil
}

// maxSwitchoverLag is how far behind a node may be at the start of a switchover: what is more would make clients wait.
const maxSwitchoverLag = 64 << 20

// switchoverProblem tells why a switchover to the node can't go well now.
func switchoverProblem(st api.Status, node *api.NodeStatus) error {
	if err := failoverProblem(st, node); err != nil {
		return err
	}
	const hint = "pgraft status shows when it is; or choose another node"
	switch {
	case st.Phase != api.PhaseReady:
		return conflict("see pgraft status; pgraft failover replaces a primary that is gone", "there is no ready primary to hand over from")
	case st.Handover != "":
		return conflict("see pgraft status", "a switchover to %s is under way", st.Handover)
	case node == nil:
		return nil
	case node.NonVoting:
		return conflict("choose another node", "%s is a read replica (non_voting): it can't become primary", node.Name)
	case !slices.Contains(st.Sync.Members, node.Name) || slices.Contains(st.Sync.Lost, node.Name):
		return conflict(hint, "%s does not count when commits are acknowledged, so it may lack some", node.Name)
	case node.Replication != "streaming":
		return conflict(hint, "%s does not follow the primary now (%s)", node.Name, cmp.Or(node.Replication, node.Role))
	case node.LagBytes > maxSwitchoverLag:
		return conflict(hint, "%s is %d MB behind the primary", node.Name, node.LagBytes>>20)
	}
	return nil
}

func (s *Server) clusterRestart(w http.ResponseWriter, r *request) error {
	restart := func() (api.ClusterResult, error) { return s.cfg.Cluster.Restart(r.Context()) }
	all := func() (api.ClusterResult, error) { return s.cfg.Cluster.RestartAll(r.Context()) }
	return s.atNode(w, r, nil, restart, all)
}

func (s *Server) clusterReinit(w http.ResponseWriter, r *request) error {
	return s.atNode(w, r, reinitProblem, func() (api.ClusterResult, error) { return s.cfg.Cluster.Reinit(r.Context()) }, nil)
}

func reinitProblem(st api.Status, node *api.NodeStatus) error {
	switch {
	case st.Phase != api.PhaseReady:
		return conflict("wait until there is one: see pgraft status", "there is no primary to clone from")
	case node.Role == api.RolePrimary, st.PrimaryID == node.NodeID:
		return conflict("hand over first: pgraft switchover", "%s is the primary: its data is not thrown away", node.Name)
	case node.Role == api.RoleCloning:
		return conflict("see pgraft status", "%s is being cloned already", node.Name)
	}
	return nil
}

// atNode runs an order on the node that the body names, which may be another than this, or without a name all of them.
func (s *Server) atNode(
	w http.ResponseWriter, r *request, problem func(api.Status, *api.NodeStatus) error, do, all func() (api.ClusterResult, error),
) error {
	in, node, st, err := s.clusterOrder(w, r)
	switch {
	case err != nil:
		return err
	case in.AllowDataLoss:
		return badRequest("allow_data_loss: it is for a failover")
	case node == nil && all == nil:
		return badRequest("node: name the node")
	case node == nil:
		result, err := all()
		return answerOrder(w, result, err)
	case node.Witness:
		return conflict("choose another node", "%s is a witness: it has no PostgreSQL", node.Name)
	case node.ServerID != st.ServerID:
		return s.forwardTo(w, r, node, in)
	}
	if problem != nil {
		if err := problem(st, node); err != nil {
			return err
		}
	}
	result, err := do()
	return answerOrder(w, result, err)
}

// forwardTo has the node answer. A request that was sent here as to that node is refused: the two see different clusters.
func (s *Server) forwardTo(w http.ResponseWriter, r *request, node *api.NodeStatus, in api.ClusterRequest) error {
	if r.forwarded || s.cfg.NodeProxy == nil {
		return &api.Error{Code: api.CodeUnavailable, Message: "this is not node " + node.Name, Hint: "ask its own agent"}
	}
	in.Node = node.ServerID
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode order: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "node"
			p.Out.Body, p.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		},
		Transport: s.cfg.NodeProxy(node.ServerID),
		ErrorLog:  s.cfg.Logger.StandardLogger(nil),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			writeError(w, &api.Error{
				Code: api.CodeInDoubt, Message: fmt.Sprintf("reach %s: %v", node.Name, err),
				Hint: "it may have begun: look at pgraft status before asking again",
			})
		},
	}
	proxy.ServeHTTP(w, r.Request)
	return nil
}

func (s *Server) clusterPause(w http.ResponseWriter, r *request) error {
	return s.setPaused(w, r, true, "automatic failover is off")
}

func (s *Server) clusterResume(w http.ResponseWriter, r *request) error {
	return s.setPaused(w, r, false, "automatic failover is on")
}

func (s *Server) setPaused(w http.ResponseWriter, r *request, paused bool, message string) error {
	in, _, _, err := s.clusterOrder(w, r)
	if err != nil {
		return err
	}
	if in != (api.ClusterRequest{}) {
		return badRequest("it concerns the whole cluster: name no node")
	}
	err = s.cfg.Cluster.SetPaused(r.Context(), paused)
	return answerOrder(w, api.ClusterResult{Message: message}, err)
}
