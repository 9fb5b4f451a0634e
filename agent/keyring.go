package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/membership"
)

// keyringPath is where an agent does a keyring operation for another one.
const keyringPath = "/internal/keyring"

// keyringTimeout bounds one node's answer.
const keyringTimeout = 5 * time.Second

// keyrings does keyring operations on every live node.
type keyrings struct{ a *Agent }

// ListKeys asks every node for its ring.
func (k keyrings) ListKeys(ctx context.Context) (api.KeyringResponse, error) {
	return k.everywhere(ctx, membership.KeyringOp{Action: membership.KeyringList}), nil
}

// InstallKey lets every node decrypt with the key.
func (k keyrings) InstallKey(ctx context.Context, key string) (api.KeyringResponse, error) {
	return k.everywhere(ctx, membership.KeyringOp{Action: membership.KeyringInstall, Key: key}), nil
}

// UseKey makes every node encrypt with the key.
func (k keyrings) UseKey(ctx context.Context, key string) (api.KeyringResponse, error) {
	return k.everywhere(ctx, membership.KeyringOp{Action: membership.KeyringUse, Key: key}), nil
}

// RemoveKey takes the key from every node's ring.
func (k keyrings) RemoveKey(ctx context.Context, key string) (api.KeyringResponse, error) {
	return k.everywhere(ctx, membership.KeyringOp{Action: membership.KeyringRemove, Key: key}), nil
}

// everywhere asks all members but those that left, at the same time; a failed one counts as an answer with an error.
func (k keyrings) everywhere(ctx context.Context, op membership.KeyringOp) api.KeyringResponse {
	ctx, cancel := context.WithTimeout(ctx, keyringTimeout)
	defer cancel()
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		answers []membership.KeyringAnswer
	)
	for _, m := range k.a.gossip.Members() {
		if m.Status == api.NodeLeft {
			continue
		}
		wg.Go(func() {
			answer := k.on(ctx, m, op)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, answer)
		})
	}
	wg.Wait()
	return membership.Tally(answers)
}

func (k keyrings) on(ctx context.Context, m membership.Member, op membership.KeyringOp) membership.KeyringAnswer {
	if m.Local {
		return k.a.gossip.Keyring(op)
	}
	var answer membership.KeyringAnswer
	if err := k.a.callPeer(ctx, m.Meta.ServerID, keyringPath, op, &answer); err != nil {
		return membership.KeyringAnswer{Node: m.Name, Error: err.Error()}
	}
	return answer
}

// maxInternalBody bounds what agents send each other outside of the log.
const maxInternalBody = 1 << 20

// callPeer posts a question to another agent's internal port and reads its answer.
func (a *Agent) callPeer(ctx context.Context, serverID, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://peer"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	resp, err := a.raft.PeerTransport(raft.ServerID(serverID)).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask peer: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxInternalBody))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return peerError(resp.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// peerError is what a peer refused with; it sends an api.Error.
func peerError(status int, raw []byte) error {
	e := &api.Error{StatusCode: status}
	if err := json.Unmarshal(raw, e); err != nil || e.Message == "" {
		return fmt.Errorf("peer answered with status %d", status)
	}
	return e
}
