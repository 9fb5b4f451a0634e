package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/version"
	"github.com/pgraft/pgraft/membership"
)

// retirePath is where a leaving node asks the leader to let it go.
const retirePath = "/internal/retire"

type retireRequest struct {
	ServerID string `json:"server_id"`
	Reason   string `json:"reason"`
}

// handleInternal mounts what agents ask each other, beside what consensus has there itself.
func (a *Agent) handleInternal() {
	a.raft.HandleInternal("GET "+probe.Path, http.HandlerFunc(a.serveProbe))
	a.raft.HandleInternal("POST "+keyringPath, serveCall(func(_ context.Context, op membership.KeyringOp) (any, error) {
		return a.gossip.Keyring(op), nil
	}))
	a.raft.HandleInternal("POST "+retirePath, serveCall(func(ctx context.Context, r retireRequest) (any, error) {
		return struct{}{}, operator{a}.retire(ctx, r.ServerID, r.Reason)
	}))
	a.raft.HandleInternal("/", a.http.InternalHandler())
}

// serveProbe says how this server is, and whether the asker is still a member as far as this one knows.
func (a *Agent) serveProbe(w http.ResponseWriter, r *http.Request) {
	stats, store, pg := a.raft.Stats(), a.fsm.Store(), a.database.status()
	s := a.Status()
	server, replicas := probeServer(a.serverStatus())
	writeJSON(w, http.StatusOK, probe.Answer{
		Server: server, Replicas: replicas,
		ServerID: s.ServerID, NodeID: s.NodeID, Name: s.Name, ClusterID: s.ClusterID, Term: stats.Term, State: s.State,
		LastIndex: stats.LastIndex, CommitIndex: stats.CommitIndex, AppliedIndex: store.Index(),
		GossipAddress: a.gossip.Local().Address.String(), Role: s.Role,
		PostgresEnabled: pg.Enabled, PostgresUp: pg.Up, PostgresIndex: pg.AppliedIndex, PostgresLagMS: pg.LagMS,
		Version: version.Version, ServerTime: time.Now(), YouAreRemoved: store.Removed(r.URL.Query().Get("from")),
	})
}

// serveCall answers a JSON question with JSON.
func serveCall[T any](do func(context.Context, T) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in T
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxInternalBody)).Decode(&in); err != nil {
			writeJSON(w, http.StatusBadRequest, &api.Error{Code: api.CodeBadRequest, Message: "read request: " + err.Error()})
			return
		}
		out, err := do(r.Context(), in)
		if err != nil {
			e, ok := errors.AsType[*api.Error](err)
			if !ok {
				e = &api.Error{Code: api.CodeInternal, Message: err.Error()}
			}
			writeJSON(w, http.StatusConflict, e)
			return
		}
		writeJSON(w, http.StatusOK, out)
	})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the peer is gone if this fails
}
