package httpapi

import (
	"net/http"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// keyOf is the key as the client wrote it: the path behind the prefix, decoded once.
func keyOf(r *request) string { return r.URL.Path[len(kvPrefix):] }

func (s *Server) kvStats(w http.ResponseWriter, r *request) error {
	var stats api.KVStats
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (uint64, error) {
		stats.Index = store.Index()
		stats.Keys, stats.Bytes = store.KVStats(ws)
		return stats.Index, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, stats)
}

func (s *Server) kvGet(w http.ResponseWriter, r *request) error {
	if len(r.query) == 0 {
		return s.kvGetOne(w, r, false)
	}
	if err := r.exclusive("raw", "recurse", "keys"); err != nil {
		return err
	}
	recurse, err := r.flag("recurse")
	if err != nil {
		return err
	}
	keys, err := r.flag("keys")
	if err != nil {
		return err
	}
	raw, err := r.flag("raw")
	switch {
	case err != nil:
		return err
	case r.query.Has("separator") && !keys:
		return badRequest("parameter \"separator\" is for ?keys only")
	case recurse:
		return s.kvList(w, r)
	case keys:
		return s.kvKeys(w, r)
	}
	return s.kvGetOne(w, r, raw)
}

func (s *Server) kvGetOne(w http.ResponseWriter, r *request, raw bool) error {
	key := keyOf(r)
	var pair *api.KVPair
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, pair = store.KVGet(ws, key)
		return index, nil
	})
	switch {
	case err != nil:
		return err
	case pair == nil:
		return notFound("no key %q", key)
	case raw:
		return writeBytes(w, contentBinary, pair.Value)
	}
	return writeJSON(w, []*api.KVPair{pair})
}

func (s *Server) kvList(w http.ResponseWriter, r *request) error {
	var pairs []api.KVPair
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, pairs = store.KVList(ws, keyOf(r))
		return index, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, list(pairs))
}

func (s *Server) kvKeys(w http.ResponseWriter, r *request) error {
	var names []string
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, names = store.KVKeys(ws, keyOf(r), r.text("separator"))
		return index, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, list(names))
}

// list makes an empty list [] instead of null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func (s *Server) kvPut(w http.ResponseWriter, r *request) error {
	op := fsm.KVSet{Key: keyOf(r)}
	if len(r.query) > 0 {
		if err := putParams(r, &op); err != nil {
			return err
		}
	}
	value, err := readBody(w, r, fsm.MaxValueSize)
	if err != nil {
		return err
	}
	op.Value = value
	return s.commit(w, r, func(id fsm.Request) fsm.Op {
		op.Request = id
		return op
	})
}

func putParams(r *request, op *fsm.KVSet) error {
	flags, _, err := r.number("flags")
	if err != nil {
		return err
	}
	op.Flags = flags
	if op.Cond, err = parseCAS(r); err != nil {
		return err
	}
	op.Acquire, err = sessionParam(r, "acquire")
	if err != nil {
		return err
	}
	op.Release, err = sessionParam(r, "release")
	return err
}

// sessionParam refuses an empty session: a script whose variable is unset must not write without the lock.
func sessionParam(r *request, name string) (string, error) {
	if r.query.Has(name) && r.text(name) == "" {
		return "", badRequest("parameter %q: want the id of a session", name)
	}
	return r.text(name), nil
}

func parseCAS(r *request) (fsm.Cond, error) {
	index, given, err := r.number("cas")
	if err != nil || !given {
		return fsm.Cond{}, err
	}
	return fsm.Cond{Kind: fsm.CondModifyIndex, Number: index}, nil
}

func (s *Server) kvDelete(w http.ResponseWriter, r *request) error {
	recurse, err := r.flag("recurse")
	if err != nil {
		return err
	}
	cond, err := parseCAS(r)
	if err != nil {
		return err
	}
	return s.commit(w, r, func(id fsm.Request) fsm.Op {
		return fsm.KVDelete{Request: id, Key: keyOf(r), Prefix: recurse, Cond: cond}
	})
}
