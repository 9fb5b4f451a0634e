package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// QueryOptions says how a read is done. Its zero value is the default read: the leader answers.
type QueryOptions struct {
	Stale      bool // the asked node answers from its own memory, leader or not
	Consistent bool // the leader answers after a quorum confirmed that it still leads
	// Index and Wait make the read block until something newer than Index exists or Wait has passed.
	Index uint64
	Wait  time.Duration // 0: the server's default, five minutes
}

// QueryMeta is what a read's answer says of itself.
type QueryMeta struct {
	Index       uint64 // pass as QueryOptions.Index to wait for a change
	KnownLeader bool
	LastContact time.Duration // since the answering node heard the leader; -1 = never
}

// call is one request, kept so that it can be sent again.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	stream       io.Reader // instead of body, for what is sent once
}

func (o QueryOptions) values() url.Values {
	v := url.Values{}
	if o.Stale {
		v.Set("stale", "")
	}
	if o.Consistent {
		v.Set("consistent", "")
	}
	if o.Index > 0 {
		v.Set("index", strconv.FormatUint(o.Index, 10))
	}
	if o.Wait > 0 {
		v.Set("wait", o.Wait.String())
	}
	return v
}

// send does one round trip. A status that is no success comes back as *Error; otherwise the caller closes the body.
func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	req, err := c.newRequest(ctx, k)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.transportError(ctx, k, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer closeBody(resp.Body)
	return resp, decodeError(resp)
}

func (c *Client) newRequest(ctx context.Context, k call) (*http.Request, error) {
	target := c.base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	body := k.stream
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	if c.token != "" {
		req.Header.Set(HeaderToken, c.token)
	}
	return req, nil
}

// transportError tells a request that never left (the connection was refused) from one that may have arrived.
func (c *Client) transportError(ctx context.Context, k call, err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	e := &Error{Message: fmt.Sprintf("call %s%s: %v", c.base, k.path, err), Code: CodeUnavailable, cause: err}
	var opErr *net.OpError
	if errors.As(err, &opErr) && opErr.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED) {
		e.Hint = "is the agent running, and is this its address? set -http-addr or " + EnvAddress
		return e
	}
	if ctx.Err() != nil {
		e.Code = CodeTimeout
	}
	if k.method != http.MethodGet {
		e.Code = CodeInDoubt
		e.Hint = "the connection broke before the answer came: what was asked may have been done"
	}
	return e
}

func decodeError(resp *http.Response) error {
	e := &Error{}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || json.Unmarshal(body, e) != nil || e.Message == "" {
		e = &Error{Message: strings.TrimSpace(string(body[:min(len(body), 200)]))}
	}
	if e.Message == "" {
		e.Message = "the agent answered " + resp.Status
	}
	if e.Code == "" {
		e.Code = codeOf(resp.StatusCode)
	}
	e.StatusCode = resp.StatusCode
	return e
}

// codeOf guesses the code of an answer that is not the API's own, such as a proxy's.
func codeOf(status int) string {
	switch {
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return CodeForbidden
	case status == http.StatusNotFound:
		return CodeNotFound
	case status == http.StatusRequestEntityTooLarge:
		return CodeTooLarge
	case status == http.StatusTooManyRequests:
		return CodeTooMany
	case status == http.StatusGatewayTimeout:
		return CodeInDoubt
	case status == http.StatusServiceUnavailable || status == http.StatusBadGateway:
		return CodeUnavailable
	case status >= 400 && status < 500:
		return CodeBadRequest
	}
	return CodeInternal
}

// read sends a GET and decodes its JSON answer into out, which may be nil.
func (c *Client) read(ctx context.Context, path string, query url.Values, out any) (QueryMeta, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return metaOf(resp), err
	}
	defer closeBody(resp.Body)
	return metaOf(resp), decodeBody(resp, out)
}

// do sends what is not a replicated write: an order to one agent, which is never repeated.
func (c *Client) do(ctx context.Context, k call, out any) error {
	resp, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	defer closeBody(resp.Body)
	return decodeBody(resp, out)
}

func decodeBody(resp *http.Response, out any) error {
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func metaOf(resp *http.Response) QueryMeta {
	if resp == nil {
		return QueryMeta{}
	}
	index, _ := strconv.ParseUint(resp.Header.Get(HeaderIndex), 10, 64)
	meta := QueryMeta{Index: index, KnownLeader: resp.Header.Get(HeaderKnownLeader) == "true", LastContact: -1}
	if ms, err := strconv.ParseInt(resp.Header.Get(HeaderLastContact), 10, 64); err == nil && ms >= 0 {
		meta.LastContact = time.Duration(ms) * time.Millisecond
	}
	return meta
}

// closeBody reads a short rest first, so that the connection can be used again.
func closeBody(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// escapePath writes a name so that the agent reads back exactly these bytes: slashes stay, "." and ".." are hidden
// from anything on the way that would tidy the path.
func escapePath(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		switch part {
		case ".":
			parts[i] = "%2E"
		case "..":
			parts[i] = "%2E%2E"
		default:
			parts[i] = url.PathEscape(part)
		}
	}
	return strings.Join(parts, "/")
}
