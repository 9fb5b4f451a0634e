package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/pgraft/pgraft/api"
)

func (s *Server) raftConfiguration(w http.ResponseWriter, r *request) error {
	if err := s.barrier(r); err != nil {
		return err
	}
	cfg, err := s.cfg.Operator.RaftConfiguration(r.Context())
	if err != nil {
		return err
	}
	cfg.Servers = list(cfg.Servers)
	s.setReadHeaders(w, cfg.Index)
	return writeJSON(w, cfg)
}

func (s *Server) raftRemovePeer(w http.ResponseWriter, r *request) error {
	id := r.text("id")
	if id == "" {
		return badRequest("parameter \"id\": name the server to remove")
	}
	return done(w, s.cfg.Operator.RemovePeer(r.Context(), id))
}

func (s *Server) raftTransfer(w http.ResponseWriter, r *request) error {
	return done(w, s.cfg.Operator.TransferLeader(r.Context(), r.text("id")))
}

func (s *Server) autopilotGet(w http.ResponseWriter, r *request) error {
	if err := s.barrier(r); err != nil {
		return err
	}
	cfg, err := s.cfg.Operator.AutopilotConfig(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, cfg)
}

// autopilotPut changes what the body names and keeps the rest: a body of one field must not set the others to zero.
func (s *Server) autopilotPut(w http.ResponseWriter, r *request) error {
	cfg, err := s.cfg.Operator.AutopilotConfig(r.Context())
	if err != nil {
		return err
	}
	if err := readJSON(w, r, maxJSONBody, &cfg); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"dead_server_threshold":     cfg.DeadServerThreshold,
		"server_stabilization_time": cfg.ServerStabilizationTime,
		"last_contact_threshold":    cfg.LastContactThreshold,
	} {
		if d, err := time.ParseDuration(value); err != nil || d < 0 {
			return badRequest("%s: want a duration such as 10s, not %q", name, value)
		}
	}
	return done(w, s.cfg.Operator.SetAutopilotConfig(r.Context(), cfg))
}

func (s *Server) autopilotState(w http.ResponseWriter, r *request) error {
	state, err := s.cfg.Operator.AutopilotState(r.Context())
	if err != nil {
		return err
	}
	state.Voters, state.Servers = list(state.Voters), list(state.Servers)
	return writeJSON(w, state)
}

func (s *Server) keyringList(w http.ResponseWriter, r *request) error {
	result, err := s.cfg.Keyring.ListKeys(r.Context())
	return keyringAnswer(w, result, err)
}

func (s *Server) keyringInstall(w http.ResponseWriter, r *request) error {
	return keyringChange(w, r, s.cfg.Keyring.InstallKey)
}

func (s *Server) keyringUse(w http.ResponseWriter, r *request) error {
	return keyringChange(w, r, s.cfg.Keyring.UseKey)
}

func (s *Server) keyringRemove(w http.ResponseWriter, r *request) error {
	return keyringChange(w, r, s.cfg.Keyring.RemoveKey)
}

func keyringChange(
	w http.ResponseWriter, r *request, change func(context.Context, string) (api.KeyringResponse, error),
) error {
	var in api.KeyringRequest
	if err := readJSON(w, r, maxJSONBody, &in); err != nil {
		return err
	}
	if err := checkGossipKey(in.Key); err != nil {
		return err
	}
	result, err := change(r.Context(), in.Key)
	return keyringAnswer(w, result, err)
}

func checkGossipKey(key string) error {
	data, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(data) != 16 && len(data) != 24 && len(data) != 32 {
		e := badRequest("key: want 16, 24 or 32 bytes in base64")
		e.Hint = "pgraft keygen makes one"
		return e
	}
	return nil
}

func keyringAnswer(w http.ResponseWriter, result api.KeyringResponse, err error) error {
	if err != nil {
		return err
	}
	return writeJSON(w, result)
}
