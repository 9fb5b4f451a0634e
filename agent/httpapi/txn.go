package httpapi

import (
	"net/http"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func (s *Server) putTxn(w http.ResponseWriter, r *request) error {
	var txn api.TxnRequest
	if err := readJSON(w, r, maxTxnBody, &txn); err != nil {
		return err
	}
	result, _, err := s.propose(r, func(id fsm.Request) fsm.Op {
		return fsm.Txn{Request: id, Txn: txn}
	})
	if err != nil {
		return err
	}
	out := api.TxnResponse{Results: []api.TxnResult{}}
	if result.Txn != nil {
		out = *result.Txn
	}
	out.Index = result.Index
	out.Results = list(out.Results)
	return writeJSON(w, out)
}
