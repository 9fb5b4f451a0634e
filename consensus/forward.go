package consensus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

const (
	maxAnswer     = 64 << 20 // a transaction's reads may give back many values
	indexSize     = 8        // an answer begins with the committed index
	entryMimeType = "application/octet-stream"
)

// forward hands an entry to the leader. maybe tells for an error whether the leader may have taken it. The call ends
// early when another server turns out to lead: the same entry is safe to send there.
func (n *Node) forward(ctx context.Context, leader raft.ServerID, encoded []byte) (results []fsm.Result, maybe bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go n.watchLeader(ctx, leader, cancel)

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://leader/internal/raft/propose", bytes.NewReader(encoded))
	if err != nil {
		return nil, false, fmt.Errorf("forward entry: %w", err)
	}
	request.Header.Set("Content-Type", entryMimeType)
	response, err := n.PeerTransport(leader).RoundTrip(request)
	if err != nil {
		return nil, !errors.Is(err, errNotConnected), fmt.Errorf("forward entry to the leader: %w", betterCause(ctx, err))
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, true, fmt.Errorf("read the leader's answer: %w", betterCause(ctx, err))
	}
	if response.StatusCode != http.StatusOK {
		failure := decodeError(response.StatusCode, content)
		return nil, !definite(failure), failure
	}
	return n.decodeAnswer(content)
}

// betterCause prefers the reason for which a context was cancelled.
func betterCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && isContextError(err) {
		return cause
	}
	return err
}

func (n *Node) watchLeader(ctx context.Context, leader raft.ServerID, cancel context.CancelCauseFunc) {
	for {
		change := n.leadership.change()
		if now, _ := n.Leader(); now != leader && now != "" {
			cancel(errors.New("another server leads now"))
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

func definite(err error) bool {
	var failure *api.Error
	return errors.As(err, &failure) && (failure.Code == api.CodeNotLeader || failure.Code == api.CodeBadRequest)
}

func (n *Node) decodeAnswer(content []byte) ([]fsm.Result, bool, error) {
	if len(content) < indexSize {
		return nil, true, errors.New("the leader's answer is cut short")
	}
	n.learnCommit(binary.BigEndian.Uint64(content))
	results, err := fsm.DecodeResults(content[indexSize:])
	if err != nil {
		return nil, true, fmt.Errorf("decode the leader's answer: %w", err)
	}
	return results, false, nil
}

// servePropose takes an entry that another node formed.
func (n *Node) servePropose(w http.ResponseWriter, r *http.Request) {
	encoded, err := io.ReadAll(http.MaxBytesReader(w, r.Body, fsm.MaxEntrySize))
	if err != nil {
		writeError(w, http.StatusBadRequest, &api.Error{Code: api.CodeBadRequest, Message: "read entry: " + err.Error()})
		return
	}
	if !n.IsLeader() {
		writeError(w, http.StatusServiceUnavailable, &api.Error{Code: api.CodeNotLeader, Message: "the asked node is not the leader"})
		return
	}
	results, maybe, err := n.applyEntry(r.Context(), encoded)
	if err != nil {
		failure := &api.Error{Code: api.CodeNotLeader, Message: "the leader: " + err.Error()}
		if maybe {
			failure.Code = api.CodeInDoubt
		}
		writeError(w, http.StatusServiceUnavailable, failure)
		return
	}
	body, err := fsm.EncodeResults(results)
	if err != nil {
		writeError(w, http.StatusInternalServerError, &api.Error{Code: api.CodeInDoubt, Message: "encode results: " + err.Error()})
		return
	}
	w.Header().Set("Content-Type", entryMimeType)
	_, _ = w.Write(append(binary.BigEndian.AppendUint64(nil, n.knownCommit()), body...))
}
