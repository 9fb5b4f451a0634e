package httpapi

import "net/http"

func (s *Server) getMetrics(w http.ResponseWriter, r *request) error {
	s.cfg.Metrics.ServeHTTP(w, r.Request)
	return nil
}
