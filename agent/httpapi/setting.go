package httpapi

import (
	"net/http"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func (s *Server) settingList(w http.ResponseWriter, r *request) error {
	var settings []api.Setting
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, settings = store.Settings(ws)
		return index, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, list(settings))
}

func (s *Server) settingGet(w http.ResponseWriter, r *request) error {
	name := r.PathValue("name")
	var setting *api.Setting
	err := s.query(w, r, func(ws memdb.WatchSet, store *fsm.Store) (index uint64, err error) {
		index, setting = store.Setting(ws, name)
		return index, nil
	})
	if err != nil {
		return err
	}
	if setting == nil {
		return notFound("setting %q is not set", name)
	}
	return writeJSON(w, setting)
}

func (s *Server) settingPut(w http.ResponseWriter, r *request) error {
	value, err := readBody(w, r, fsm.MaxSettingSize)
	if err != nil {
		return err
	}
	return s.commit(w, r, func(id fsm.Request) fsm.Op {
		return fsm.SettingSet{Request: id, Name: r.PathValue("name"), Value: string(value)}
	})
}

func (s *Server) settingDelete(w http.ResponseWriter, r *request) error {
	return s.commit(w, r, func(id fsm.Request) fsm.Op {
		return fsm.SettingDelete{Request: id, Name: r.PathValue("name")}
	})
}
