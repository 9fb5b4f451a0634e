package api

import (
	"context"
	"net/http"
	"net/url"
)

// SettingList returns the cluster-wide settings.
func (c *Client) SettingList(ctx context.Context, opts QueryOptions) ([]Setting, QueryMeta, error) {
	var out []Setting
	meta, err := c.read(ctx, "/v1/settings", opts.values(), &out)
	return out, meta, err
}

// SettingGet returns one setting, or nil when it isn't set.
func (c *Client) SettingGet(ctx context.Context, name string, opts QueryOptions) (*Setting, QueryMeta, error) {
	var out Setting
	meta, err := c.read(ctx, "/v1/settings/"+url.PathEscape(name), opts.values(), &out)
	if isNotFound(err) {
		return nil, meta, nil
	}
	if err != nil {
		return nil, meta, err
	}
	return &out, meta, nil
}

// SettingSet sets one setting.
func (c *Client) SettingSet(ctx context.Context, name, value string, opts WriteOptions) (WriteResult, error) {
	var out WriteResult
	err := c.write(ctx, call{
		method: http.MethodPut, path: "/v1/settings/" + url.PathEscape(name), body: []byte(value),
	}, opts, &out)
	return out, err
}

// SettingUnset removes one setting.
func (c *Client) SettingUnset(ctx context.Context, name string, opts WriteOptions) (WriteResult, error) {
	var out WriteResult
	err := c.write(ctx, call{method: http.MethodDelete, path: "/v1/settings/" + url.PathEscape(name)}, opts, &out)
	return out, err
}
