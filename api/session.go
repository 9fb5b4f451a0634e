package api

import (
	"context"
	"net/http"
	"net/url"
)

// SessionCreate starts a session; the agent chooses its ID. Fields left empty take the defaults.
func (c *Client) SessionCreate(ctx context.Context, s Session, opts WriteOptions) (Session, error) {
	var out Session
	k, err := jsonCall(http.MethodPut, "/v1/session/create", s)
	if err != nil {
		return out, err
	}
	err = c.write(ctx, k, opts, &out)
	return out, err
}

// SessionDestroy ends a session and lets go of its locks.
func (c *Client) SessionDestroy(ctx context.Context, id string, opts WriteOptions) (WriteResult, error) {
	var out WriteResult
	err := c.write(ctx, call{method: http.MethodPut, path: "/v1/session/destroy/" + url.PathEscape(id)}, opts, &out)
	return out, err
}

// SessionInfo returns one session, or nil when there is none.
func (c *Client) SessionInfo(ctx context.Context, id string, opts QueryOptions) (*Session, QueryMeta, error) {
	var out Session
	meta, err := c.read(ctx, "/v1/session/info/"+url.PathEscape(id), opts.values(), &out)
	if isNotFound(err) {
		return nil, meta, nil
	}
	if err != nil {
		return nil, meta, err
	}
	return &out, meta, nil
}

// SessionList returns all sessions.
func (c *Client) SessionList(ctx context.Context, opts QueryOptions) ([]Session, QueryMeta, error) {
	var out []Session
	meta, err := c.read(ctx, "/v1/session/list", opts.values(), &out)
	return out, meta, err
}

// SessionRenew starts the session's TTL anew. An *Error with CodeNotFound says that the session is over.
func (c *Client) SessionRenew(ctx context.Context, id string) (Session, error) {
	var out Session
	err := c.do(ctx, call{method: http.MethodPut, path: "/v1/session/renew/" + url.PathEscape(id)}, &out)
	return out, err
}
