package api

import (
	"context"
	"net/http"
	"net/url"
)

// RaftConfiguration returns the Raft servers.
func (c *Client) RaftConfiguration(ctx context.Context, opts QueryOptions) (RaftConfiguration, error) {
	var out RaftConfiguration
	_, err := c.read(ctx, "/v1/operator/raft/configuration", opts.values(), &out)
	return out, err
}

// RaftRemovePeer takes a server out of the Raft configuration, named by server id, node_id, name or Raft address.
func (c *Client) RaftRemovePeer(ctx context.Context, id string) error {
	return c.do(ctx, call{
		method: http.MethodDelete, path: "/v1/operator/raft/peer", query: url.Values{"id": {id}},
	}, nil)
}

// RaftTransferLeader hands the leadership to the server named, or with "" to the one whose log reaches furthest.
func (c *Client) RaftTransferLeader(ctx context.Context, id string) error {
	query := url.Values{}
	if id != "" {
		query.Set("id", id)
	}
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/operator/raft/transfer-leader", query: query}, nil)
}

// AutopilotConfig returns autopilot's configuration.
func (c *Client) AutopilotConfig(ctx context.Context, opts QueryOptions) (AutopilotConfig, error) {
	var out AutopilotConfig
	_, err := c.read(ctx, "/v1/operator/autopilot/configuration", opts.values(), &out)
	return out, err
}

// SetAutopilotConfig replaces autopilot's configuration.
func (c *Client) SetAutopilotConfig(ctx context.Context, cfg AutopilotConfig) error {
	k, err := jsonCall(http.MethodPut, "/v1/operator/autopilot/configuration", cfg)
	if err != nil {
		return err
	}
	return c.do(ctx, k, nil)
}

// AutopilotState returns the leader's judgement of the servers.
func (c *Client) AutopilotState(ctx context.Context) (AutopilotState, error) {
	var out AutopilotState
	_, err := c.read(ctx, "/v1/operator/autopilot/state", nil, &out)
	return out, err
}

// KeyringList returns which gossip keys the nodes hold.
func (c *Client) KeyringList(ctx context.Context) (KeyringResponse, error) {
	return c.keyring(ctx, http.MethodGet, "")
}

// KeyringInstall gives a gossip key, base64, to every node.
func (c *Client) KeyringInstall(ctx context.Context, key string) (KeyringResponse, error) {
	return c.keyring(ctx, http.MethodPost, key)
}

// KeyringUse makes every node encrypt with an installed gossip key.
func (c *Client) KeyringUse(ctx context.Context, key string) (KeyringResponse, error) {
	return c.keyring(ctx, http.MethodPut, key)
}

// KeyringRemove takes a gossip key that isn't in use from every node.
func (c *Client) KeyringRemove(ctx context.Context, key string) (KeyringResponse, error) {
	return c.keyring(ctx, http.MethodDelete, key)
}

func (c *Client) keyring(ctx context.Context, method, key string) (KeyringResponse, error) {
	var out KeyringResponse
	k := call{method: method, path: "/v1/operator/keyring"}
	if method != http.MethodGet {
		var err error
		if k, err = jsonCall(method, k.path, KeyringRequest{Key: key}); err != nil {
			return out, err
		}
	}
	err := c.do(ctx, k, &out)
	return out, err
}
