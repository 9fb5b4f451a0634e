package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// SnapshotSave copies a snapshot archive of the cluster's state to w and returns its size. With opts.Stale the asked
// node gives its own state, leader or not. The caller should verify what was written (package archive): a connection
// may break at any byte.
func (c *Client) SnapshotSave(ctx context.Context, w io.Writer, opts QueryOptions) (int64, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/snapshot", query: opts.values()})
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(w, resp.Body)
	if err != nil {
		return n, fmt.Errorf("read snapshot: %w", err)
	}
	return n, nil
}

// SnapshotRestore replaces the cluster's state by that of the archive read from r.
func (c *Client) SnapshotRestore(ctx context.Context, r io.Reader) error {
	return c.do(ctx, call{
		method: http.MethodPut, path: "/v1/snapshot", stream: r,
		header: http.Header{"Content-Type": {"application/gzip"}},
	}, nil)
}

// OpenAPI returns the API's description, an OpenAPI document in JSON.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/openapi.json"})
	if err != nil {
		return nil, err
	}
	defer closeBody(resp.Body)
	return io.ReadAll(resp.Body)
}
