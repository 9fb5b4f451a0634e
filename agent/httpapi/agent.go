package httpapi

import (
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/api"
)

func (s *Server) agentSelf(w http.ResponseWriter, _ *request) error {
	st := s.cfg.Status.Status()
	self := api.Self{
		NodeID: st.NodeID, Name: st.Name, ServerID: st.ServerID, ClusterName: st.ClusterName, ClusterID: st.ClusterID,
		Version: st.Version, Role: st.Role, State: st.State,
	}
	_, members, _ := s.cfg.Members.Members()
	for _, m := range members {
		if m.Name == st.Name {
			self.Member = &m
		}
	}
	return writeJSON(w, self)
}

func (s *Server) agentInfo(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, list(s.cfg.Agent.Info()))
}

func (s *Server) agentMembers(w http.ResponseWriter, r *request) error {
	b, err := r.parseBlock()
	if err != nil {
		return err
	}
	index, members, changed := s.cfg.Members.Members()
	if b.index == index && b.wait > 0 {
		leave, err := s.enterWait(w)
		if err != nil {
			return err
		}
		defer leave()
		timer := time.NewTimer(b.wait)
		defer timer.Stop()
		select {
		case <-changed:
		case <-timer.C:
		case <-r.Context().Done():
			return r.Context().Err()
		case <-s.ctx.Done():
			return s.waitError(s.ctx.Err())
		}
		index, members, _ = s.cfg.Members.Members()
	}
	s.setReadHeaders(w, index)
	return writeJSON(w, list(members))
}

func (s *Server) agentMonitor(w http.ResponseWriter, r *request) error {
	level := hclog.Info
	if text := r.text("loglevel"); text != "" {
		if level = hclog.LevelFromString(text); level == hclog.NoLevel {
			return badRequest("parameter \"loglevel\": want trace, debug, info, warn or error, not %q", text)
		}
	}
	inJSON, err := r.flag("logjson")
	if err != nil {
		return err
	}
	leave, err := s.enterWait(w)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := s.untilClose(r.Context())
	defer cancel()
	lines, err := s.cfg.Agent.Monitor(ctx, level, inJSON)
	if err != nil {
		return err
	}
	copyLines(newStream(w, contentText[0]), lines)
	return nil
}

// copyLines sends lines until they end or the client is gone. The empty first piece sends the header, so that a client
// knows that it listens.
func copyLines(out *stream, lines <-chan []byte) {
	if out.send(nil) != nil {
		return
	}
	for line := range lines {
		if out.send(line) != nil {
			return
		}
	}
}

func (s *Server) agentJoin(w http.ResponseWriter, r *request) error {
	joined, err := s.cfg.Agent.Join(r.Context(), []string{r.PathValue("addr")})
	if err != nil {
		return s.unavailable(err)
	}
	return writeJSON(w, api.JoinResult{Joined: joined})
}

// unavailable gives an error of an order to the agent the code that says: not done, for a reason outside the request.
func (s *Server) unavailable(err error) error {
	if s.hasOutcome(err) {
		return err
	}
	return &api.Error{Code: api.CodeUnavailable, Message: err.Error()}
}

func (s *Server) agentLeave(w http.ResponseWriter, r *request) error {
	return done(w, s.cfg.Agent.Leave(r.Context()))
}

func (s *Server) agentForceLeave(w http.ResponseWriter, r *request) error {
	return done(w, s.cfg.Operator.ForceLeave(r.Context(), r.PathValue("node")))
}

func (s *Server) agentReload(w http.ResponseWriter, r *request) error {
	result, err := s.cfg.Agent.Reload(r.Context())
	if err != nil {
		if s.hasOutcome(err) {
			return err
		}
		return badRequest("reload: %v", err)
	}
	result.Applied, result.NeedsRestart = list(result.Applied), list(result.NeedsRestart)
	return writeJSON(w, result)
}

// done answers an order that has nothing to tell but that it was carried out.
func done(w http.ResponseWriter, err error) error {
	if err != nil {
		return err
	}
	return writeBytes(w, contentJSON, []byte("{}\n"))
}
