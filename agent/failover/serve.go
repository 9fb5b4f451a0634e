package failover

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/pgraft/pgraft/api"
)

// ServeView answers GET ViewPath with this agent's view, which must not take long to make.
func ServeView(view func() View) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, view()) })
}

// ServeSees answers GET SeesPath with a fresh look at the server that is asked about.
func ServeSees(look func(ctx context.Context, serverID string) Sight) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("server")
		if id == "" {
			writeError(w, &api.Error{Code: api.CodeBadRequest, Message: `parameter "server": name the server to look at`})
			return
		}
		writeJSON(w, http.StatusOK, look(r.Context(), id))
	})
}

// ServeOrder answers POST OrderPath when the order is carried out.
func ServeOrder(do func(ctx context.Context, order Order) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var order Order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(&order); err != nil {
			writeError(w, &api.Error{Code: api.CodeBadRequest, Message: "read order: " + err.Error()})
			return
		}
		if err := do(r.Context(), order); err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, struct{}{})
	})
}

func writeError(w http.ResponseWriter, err error) {
	failure, ok := errors.AsType[*api.Error](err)
	if !ok {
		failure = &api.Error{Code: api.CodeInternal, Message: err.Error()}
	}
	writeJSON(w, http.StatusConflict, failure)
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the peer is gone if this fails
}
