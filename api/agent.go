package api

import (
	"context"
	"net/http"
	"net/url"
)

// AgentSelf returns who the asked agent is.
func (c *Client) AgentSelf(ctx context.Context) (Self, error) {
	var out Self
	_, err := c.read(ctx, "/v1/agent/self", nil, &out)
	return out, err
}

// AgentInfo returns the asked agent's effective configuration with the source of each value.
func (c *Client) AgentInfo(ctx context.Context) ([]InfoValue, error) {
	var out []InfoValue
	_, err := c.read(ctx, "/v1/agent/info", nil, &out)
	return out, err
}

// Members returns the nodes as the asked agent's gossip sees them. Index and Wait block until that view changes; its
// index belongs to that agent's view and means nothing elsewhere.
func (c *Client) Members(ctx context.Context, opts QueryOptions) ([]Member, QueryMeta, error) {
	var out []Member
	meta, err := c.read(ctx, "/v1/agent/members", opts.values(), &out)
	return out, meta, err
}

// Join makes the asked agent join the cluster of the agent that gossips at addr, host or host:port.
func (c *Client) Join(ctx context.Context, addr string) (JoinResult, error) {
	var out JoinResult
	err := c.do(ctx, call{method: http.MethodPut, path: "/v1/agent/join/" + url.PathEscape(addr)}, &out)
	return out, err
}

// Leave makes the asked agent leave the cluster for good and stop.
func (c *Client) Leave(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/agent/leave"}, nil)
}

// ForceLeave removes a failed node, by name, from the cluster.
func (c *Client) ForceLeave(ctx context.Context, node string) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/agent/force-leave/" + url.PathEscape(node)}, nil)
}

// Reload makes the asked agent read its configuration again.
func (c *Client) Reload(ctx context.Context) (ReloadResult, error) {
	var out ReloadResult
	err := c.do(ctx, call{method: http.MethodPut, path: "/v1/agent/reload"}, &out)
	return out, err
}
