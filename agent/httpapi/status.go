package httpapi

import (
	"net/http"
)

func (s *Server) getStatus(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, s.cfg.Status.Status())
}

func (s *Server) getLeader(w http.ResponseWriter, _ *request) error {
	leader, ok := s.cfg.Status.Leader()
	if !ok {
		return s.notLeader()
	}
	return writeJSON(w, leader)
}

func (s *Server) getPeers(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, list(s.cfg.Status.Status().Peers))
}
