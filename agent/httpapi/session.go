package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// defaultLockDelay is how long a key stays unlockable after its holder was lost, when the session doesn't say.
const defaultLockDelay = 15 * time.Second

// sessionID follows from the request's id, so that a repeat of the request answers with the session that the first
// try created.
func sessionID(requestID string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("pgraft/session/"+requestID)).String()
}

func (s *Server) sessionCreate(w http.ResponseWriter, r *request) error {
	var in api.Session
	if err := readJSON(w, r, maxJSONBody, &in); err != nil {
		return err
	}
	op, err := s.newSession(in)
	if err != nil {
		return err
	}
	result, id, err := s.propose(r, func(id fsm.Request) fsm.Op {
		op.Request, op.ID = id, sessionID(id.ID)
		return op
	})
	if err != nil {
		return err
	}
	return writeJSON(w, api.Session{
		ID: sessionID(id.ID), Name: op.Name, Node: op.Node, TTL: op.TTL.String(), LockDelay: op.LockDelay.String(),
		Behavior: op.Behavior, CreateIndex: result.Index, ModifyIndex: result.Index,
	})
}

func (s *Server) newSession(in api.Session) (fsm.SessionCreate, error) {
	if in.ID != "" || in.CreateIndex != 0 || in.ModifyIndex != 0 {
		return fsm.SessionCreate{}, badRequest("id, create_index and modify_index are given by the cluster: leave them out")
	}
	op := fsm.SessionCreate{Name: in.Name, Node: in.Node, Behavior: in.Behavior, LockDelay: defaultLockDelay}
	if op.Behavior == "" {
		op.Behavior = fsm.BehaviorRelease
	}
	if op.Node == "" {
		op.Node = s.cfg.Status.Status().Name
	}
	var err error
	if op.TTL, err = durationField("ttl", in.TTL, 0); err != nil {
		return op, err
	}
	op.LockDelay, err = durationField("lock_delay", in.LockDelay, defaultLockDelay)
	return op, err
}

func durationField(name, value string, fallback time.Duration) (time.Duration, error) {
	if value == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, badRequest("%s: want a duration such as 15s, not %q", name, value)
	}
	return d, nil
}

func (s *Server) sessionDestroy(w http.ResponseWriter, r *request) error {
	return s.commit(w, r, func(id fsm.Request) fsm.Op {
		return fsm.SessionDestroy{Request: id, ID: r.PathValue("id")}
	})
}

func (s *Server) sessionRenew(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteTimeout)
	defer cancel()
	_, session := s.cfg.FSM.Store().SessionGet(nil, id)
	if session == nil {
		return unknownSession(id)
	}
	if err := s.cfg.Sessions.Renew(ctx, id); err != nil {
		return err
	}
	return writeJSON(w, session)
}

func unknownSession(id string) error {
	e := notFound("no session %q", id)
	e.Hint = "it expired or was destroyed: create a new one"
	return e
}

func (s *Server) sessionInfo(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	var session *api.Session
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, session = store.SessionGet(ws, id)
		return index, nil
	})
	if err != nil {
		return err
	}
	if session == nil {
		return unknownSession(id)
	}
	return writeJSON(w, session)
}

func (s *Server) sessionList(w http.ResponseWriter, r *request) error {
	var sessions []api.Session
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, sessions = store.SessionList(ws)
		return index, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, list(sessions))
}
