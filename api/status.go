package api

import (
	"context"
)

// Status returns what the asked node knows of itself and of the cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	_, err := c.read(ctx, "/v1/status", nil, &out)
	return out, err
}

// Leader returns who leads, or an *Error with CodeNoLeader.
func (c *Client) Leader(ctx context.Context) (Leader, error) {
	var out Leader
	_, err := c.read(ctx, "/v1/status/leader", nil, &out)
	return out, err
}

// Peers returns how far the other servers' logs reach, as the asked node knows it.
func (c *Client) Peers(ctx context.Context) ([]PeerStatus, error) {
	var out []PeerStatus
	_, err := c.read(ctx, "/v1/status/peers", nil, &out)
	return out, err
}
