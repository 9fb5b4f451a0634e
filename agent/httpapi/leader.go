package httpapi

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// newProxy sends requests to the leader. LeaderProxy knows where that is.
func (s *Server) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme = "http"
			p.Out.URL.Host = "leader"
		},
		Transport:     s.cfg.LeaderProxy,
		FlushInterval: -1,
		ErrorLog:      s.cfg.Logger.StandardLogger(nil),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			writeError(w, s.proxyError(r, err))
		},
	}
}

// forward has the leader answer. A request that was sent here as to the leader is refused: the two nodes disagree, and
// that ends with the next heartbeat.
func (s *Server) forward(w *response, r *request, forwarded bool) error {
	if forwarded || s.cfg.LeaderProxy == nil || !s.cfg.Reader.KnownLeader() {
		return s.notLeader()
	}
	if !r.query.Has("index") {
		s.proxy.ServeHTTP(w, r.Request)
		return nil
	}
	w.waits = true
	ctx, cancel := s.untilClose(r.Context())
	defer cancel()
	s.proxy.ServeHTTP(w, r.WithContext(ctx))
	return nil
}

func (s *Server) proxyError(r *http.Request, err error) *api.Error {
	if answer, _ := s.outcome(err); answer != nil {
		return answer
	}
	e := &api.Error{Code: api.CodeUnavailable, Message: "reach the leader: " + err.Error()}
	e.Leader, _ = s.cfg.Status.Leader()
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		e.Hint = "try again, or add ?stale to read from this node"
		return e
	}
	e.Code = api.CodeInDoubt
	e.Hint = "the leader may have done what was asked: look before asking again"
	return e
}

// redirect answers a write that asks for it with the leader's address.
func (s *Server) redirect(w *response, r *request) (bool, error) {
	if len(r.query) == 0 {
		return false, nil
	}
	wanted, err := r.flag("redirect")
	if err != nil || !wanted || s.cfg.Reader.IsLeader() {
		return false, err
	}
	leader, ok := s.cfg.Status.Leader()
	if !ok {
		return false, s.notLeader()
	}
	if leader.HTTPAddress == "" {
		e := s.notLeader()
		e.Hint = "the leader's HTTP API listens on its own host only: leave out ?redirect, and this node hands the write on"
		return false, e
	}
	base := leader.HTTPAddress
	if !strings.Contains(base, "://") {
		base = scheme(r.Request) + "://" + base
	}
	w.Header().Set("Location", base+withoutRedirect(r.URL))
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true, nil
}

// withoutRedirect keeps a client from being sent around in circles while the leadership moves: where it arrives, the
// write is forwarded.
func withoutRedirect(u *url.URL) string {
	query := u.Query()
	query.Del("redirect")
	out := u.EscapedPath()
	if len(query) > 0 {
		out += "?" + query.Encode()
	}
	return out
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
