package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgraft/pgraft/api"
)

// Server serves the API. Build it with New, mount Handler on the public listener and InternalHandler on the port that
// agents share.
type Server struct {
	cfg      Config
	handler  http.Handler
	internal http.Handler
	proxy    *httputil.ReverseProxy
	origin   *http.CrossOriginProtection
	document func() ([]byte, error)
	waiting  atomic.Int64 // blocking queries and streams under way

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

// Limits of a request that come before any handler.
const (
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	bodyTimeout       = 30 * time.Second // to send a request body; snapshots have their own
)

// New builds the server. It starts nothing.
func New(cfg Config) *Server {
	cfg.setDefaults()
	s := &Server{cfg: cfg, origin: http.NewCrossOriginProtection()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.document = sync.OnceValues(func() ([]byte, error) { return buildOpenAPI(routes(), cfg.Version) })
	s.proxy = s.newProxy()
	s.handler = s.newHandler(routes(), false)
	s.internal = s.newHandler(forwardable(routes()), true)
	return s
}

// Close ends blocking queries and streams, so that the HTTP server's Shutdown needn't wait for them.
func (s *Server) Close() { s.cancel() }

// Handler is the API for clients.
func (s *Server) Handler() http.Handler { return s.handler }

// InternalHandler answers what other agents' LeaderProxy sends on. It never sends a request on itself.
func (s *Server) InternalHandler() http.Handler { return s.internal }

// HTTPServer returns an http.Server with this API's limits for Serve or ServeTLS. Shut it down after Close, which leaves
// writes under way alone: cut off, they would end in doubt.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          s.cfg.Logger.StandardLogger(nil),
	}
}

// forwardable picks what an agent may send on: reads, and orders that only the leader or one node carries out.
func forwardable(all []route) []route {
	var out []route
	for _, rt := range all {
		if rt.place == placeRead || rt.place == placeLeader || rt.place == placeNode {
			out = append(out, rt)
		}
	}
	return out
}

// newHandler builds the multiplexer from the table.
func (s *Server) newHandler(table []route, forwarded bool) http.Handler {
	mux := http.NewServeMux()
	kv := map[string]http.Handler{} // by method
	var stats http.Handler
	for _, rt := range table {
		h := s.serveRoute(&rt, forwarded)
		switch {
		case strings.HasPrefix(rt.path, kvPrefix):
			kv[rt.method] = h
			continue
		case rt.path == strings.TrimSuffix(kvPrefix, "/"):
			stats = h
		}
		mux.Handle(rt.method+" "+rt.path, h)
		if rt.probe {
			mux.Handle(http.MethodOptions+" "+rt.path, h)
		}
	}
	mux.Handle("/", s.unmatched(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, kvPrefix):
			serveKV(w, r, kv, stats)
		case r.Method == http.MethodConnect, !strings.HasPrefix(r.URL.Path, "/"):
			writeError(w, badRequest("method %s of %q: this is no proxy", r.Method, r.URL.Path))
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// serveKV does for keys what the multiplexer does for other paths, without tidying them.
func serveKV(w http.ResponseWriter, r *http.Request, kv map[string]http.Handler, stats http.Handler) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	h, ok := kv[method]
	if !ok {
		allowed := make([]string, 0, len(kv))
		for _, m := range []string{"GET", "PUT", "DELETE"} {
			if kv[m] != nil {
				allowed = append(allowed, m)
			}
		}
		writeError(w, methodNotAllowed(w, r, allowed))
		return
	}
	if len(r.URL.Path) == len(kvPrefix) && method == http.MethodGet && !lists(r.URL.RawQuery) {
		h = stats
	}
	h.ServeHTTP(w, r)
}

// lists reports whether the query asks for a list, which the empty prefix is good for.
func lists(rawQuery string) bool {
	return strings.Contains(rawQuery, "recurse") || strings.Contains(rawQuery, "keys")
}

// unmatched answers for paths that no route serves: 405 when another method would be served, else 404.
func (s *Server) unmatched(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
			other := &http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(other); pattern != "/" && pattern != "" {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) > 0 {
			writeError(w, methodNotAllowed(w, r, allowed))
			return
		}
		e := notFound("nothing is served at %s", r.URL.Path)
		e.Hint = "GET /v1/openapi.json lists what is"
		writeError(w, e)
	})
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request, allowed []string) *api.Error {
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	return &api.Error{
		Code:    api.CodeMethodNotAllowed,
		Message: fmt.Sprintf("method %s is not for %s", r.Method, r.URL.Path),
		Hint:    "use " + list,
	}
}

// serveRoute wraps a route's handler with what all routes have in common.
func (s *Server) serveRoute(rt *route, forwarded bool) http.Handler {
	observe := s.cfg.Observe(rt.method, rt.documented())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rw := &response{ResponseWriter: w, waits: rt.stream}
		defer func() {
			if v := recover(); v != nil {
				s.recovered(rw, r, v)
			}
			if !rw.waits {
				observe(rw.code(), time.Since(start))
			}
		}()
		if err := s.dispatch(rw, r, rt, forwarded); err != nil {
			s.fail(rw, r, err)
		}
	})
}

// recovered answers for a handler that panicked. http.ErrAbortHandler is how one aborts a connection on purpose.
func (s *Server) recovered(rw *response, r *http.Request, v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares the same way
		panic(v)
	}
	s.cfg.Logger.Error("handle request: panic", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	if rw.status == 0 {
		writeError(rw, &api.Error{Code: api.CodeInternal, Message: "the agent met a bug while it handled the request", Hint: "its log has the details"})
	}
}

// fail answers with the error, or aborts the connection when the answer has begun: a client must not take half for all.
func (s *Server) fail(rw *response, r *http.Request, err error) {
	if rw.status != 0 {
		s.cfg.Logger.Debug("break off answer", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	e := s.readError(err)
	if e.Code == api.CodeInternal {
		s.cfg.Logger.Warn("handle request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeError(rw, e)
}

// dispatch checks what can be checked before the handler and finds out who answers.
func (s *Server) dispatch(w *response, r *http.Request, rt *route, forwarded bool) error {
	if err := s.origin.Check(r); err != nil {
		return &api.Error{
			Code: api.CodeForbidden, Message: "a web page of another origin asked for a change",
			Hint: "call the API from a program, or from a page that this agent serves",
		}
	}
	query, err := parseQuery(r.URL.RawQuery, rt)
	if err != nil {
		return err
	}
	req := &request{Request: r, query: query, route: rt, forwarded: forwarded}
	if rt.place == placeLocal || rt.place == placeNode {
		return rt.handle(s, w, req)
	}
	sent, err := s.place(w, req, forwarded)
	if sent || err != nil {
		return err
	}
	return rt.handle(s, w, req)
}

// place sends a request that another node must answer to it, and reports whether it did.
func (s *Server) place(w *response, r *request, forwarded bool) (sent bool, err error) {
	switch r.route.place {
	case placeLog:
		return s.redirect(w, r)
	case placeRead:
		if r.mode, err = r.parseMode(); err != nil {
			return false, err
		}
		if r.mode == readStale {
			return false, nil
		}
		if r.route.anyNode != nil {
			if local, err := r.route.anyNode(r); local || err != nil {
				return false, err
			}
		}
	}
	if s.cfg.Reader.IsLeader() {
		return false, nil
	}
	return true, s.forward(w, r, forwarded)
}

// response remembers whether and with what status the answer began.
type response struct {
	http.ResponseWriter
	status int
	waits  bool // its duration is the client's choice
}

// WriteHeader notes the status.
func (w *response) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer began.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
