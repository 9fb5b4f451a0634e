package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Live asks whether the agent answers at all.
func (c *Client) Live(ctx context.Context) (Readiness, error) {
	return c.readiness(ctx, "/livez")
}

// Ready asks for all readiness checks, or with a name for that one. That a check fails is no error.
func (c *Client) Ready(ctx context.Context, check string) (Readiness, error) {
	path := "/readyz"
	if check != "" {
		path += "/" + url.PathEscape(check)
	}
	return c.readiness(ctx, path)
}

func (c *Client) readiness(ctx context.Context, path string) (Readiness, error) {
	k := call{method: http.MethodGet, path: path, query: url.Values{"verbose": {""}}}
	req, err := c.newRequest(ctx, k)
	if err != nil {
		return Readiness{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Readiness{}, c.transportError(ctx, k, err)
	}
	defer closeBody(resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return Readiness{}, decodeError(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Readiness{}, fmt.Errorf("read answer: %w", err)
	}
	var out Readiness
	if err := json.Unmarshal(body, &out); err != nil {
		return Readiness{}, fmt.Errorf("read answer: %w", err)
	}
	if len(out.Checks) == 0 {
		return out, errors.New("read answer: it names no check")
	}
	return out, nil
}

// Metrics copies the agent's metrics, in Prometheus' text format, to w.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/metrics"})
	if err != nil {
		return err
	}
	defer closeBody(resp.Body)
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	return nil
}
