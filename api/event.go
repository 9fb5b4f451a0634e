package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// EventOptions says which events to list. Its zero value lists all that are kept.
type EventOptions struct {
	QueryOptions
	Since uint64 // only events whose Event.Index is above it
	Limit int    // the latest so many; 0 = all
}

// Events lists the cluster's history, oldest first. With QueryOptions.Index it blocks until there is a new event.
func (c *Client) Events(ctx context.Context, opts EventOptions) ([]Event, QueryMeta, error) {
	query := opts.values()
	if opts.Since > 0 {
		query.Set("since", strconv.FormatUint(opts.Since, 10))
	}
	if opts.Limit > 0 {
		query.Set("limit", strconv.Itoa(opts.Limit))
	}
	var out []Event
	meta, err := c.read(ctx, "/v1/events", query, &out)
	return out, meta, err
}

// EventsFollow calls fn with each event after since, and goes on until ctx ends, fn fails or the connection breaks.
// Call it again with the last Event.Index seen to continue.
func (c *Client) EventsFollow(ctx context.Context, since uint64, fn func(Event) error) error {
	query := url.Values{"follow": {""}, "since": {strconv.FormatUint(since, 10)}}
	resp, err := c.send(ctx, call{
		method: http.MethodGet, path: "/v1/events", query: query,
		header: http.Header{"Accept": {"text/event-stream"}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return eachLine(ctx, resp.Body, func(line []byte) error {
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			return nil
		}
		var event Event
		if err := json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		return fn(event)
	})
}

// MonitorOptions says which log lines an agent streams.
type MonitorOptions struct {
	Level string // trace, debug, info (default), warn, error
	JSON  bool
}

// Monitor calls fn with each line, without its end, that the asked agent logs from now on, until ctx ends, fn fails
// or the connection breaks. The line is fn's only until it returns.
func (c *Client) Monitor(ctx context.Context, opts MonitorOptions, fn func(line []byte) error) error {
	query := url.Values{}
	if opts.Level != "" {
		query.Set("loglevel", opts.Level)
	}
	if opts.JSON {
		query.Set("logjson", "")
	}
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/agent/monitor", query: query})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return eachLine(ctx, resp.Body, fn)
}

// eachLine returns nil when ctx ended: that is how a stream is meant to end.
func eachLine(ctx context.Context, r io.Reader, fn func([]byte) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for scanner.Scan() {
		if err := fn(scanner.Bytes()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	return fmt.Errorf("read stream: %w", io.ErrUnexpectedEOF)
}
