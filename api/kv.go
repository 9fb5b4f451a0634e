package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// MaxValueSize is how many bytes a value may have.
const MaxValueSize = 512 << 10

// KVPutOptions says how a key is written. Its zero value writes without a condition.
type KVPutOptions struct {
	WriteOptions
	Flags uint64
	// CAS writes only if the key's modify index is this; 0 asks that the key doesn't exist. nil asks for nothing.
	CAS *uint64
	// Acquire and Release name a session that takes or gives back the key's lock with the write.
	Acquire, Release string
}

// KVDeleteOptions says how keys are deleted.
type KVDeleteOptions struct {
	WriteOptions
	Recurse bool    // every key that starts with the key given
	CAS     *uint64 // only if the key's modify index is this; not with Recurse
}

// KVGet returns one key, or nil when there is none.
func (c *Client) KVGet(ctx context.Context, key string, opts QueryOptions) (*KVPair, QueryMeta, error) {
	var pairs []KVPair
	meta, err := c.read(ctx, "/v1/kv/"+escapePath(key), opts.values(), &pairs)
	if isNotFound(err) {
		return nil, meta, nil
	}
	if err != nil || len(pairs) == 0 {
		return nil, meta, err
	}
	return &pairs[0], meta, nil
}

// KVList returns every key that starts with prefix, in order.
func (c *Client) KVList(ctx context.Context, prefix string, opts QueryOptions) ([]KVPair, QueryMeta, error) {
	query := opts.values()
	query.Set("recurse", "")
	var pairs []KVPair
	meta, err := c.read(ctx, "/v1/kv/"+escapePath(prefix), query, &pairs)
	return pairs, meta, err
}

// KVKeys returns the names of the keys that start with prefix, in order; with a separator, only up to its first
// place after the prefix, each name once.
func (c *Client) KVKeys(ctx context.Context, prefix, separator string, opts QueryOptions) ([]string, QueryMeta, error) {
	query := opts.values()
	query.Set("keys", "")
	if separator != "" {
		query.Set("separator", separator)
	}
	var keys []string
	meta, err := c.read(ctx, "/v1/kv/"+escapePath(prefix), query, &keys)
	return keys, meta, err
}

// KVStats counts keys and bytes.
func (c *Client) KVStats(ctx context.Context, opts QueryOptions) (KVStats, QueryMeta, error) {
	var stats KVStats
	meta, err := c.read(ctx, "/v1/kv", opts.values(), &stats)
	return stats, meta, err
}

// KVPut writes one key. A condition that doesn't hold is an *Error with CodePrecondition, a lock that is held one
// with CodeConflict.
func (c *Client) KVPut(ctx context.Context, key string, value []byte, opts KVPutOptions) (WriteResult, error) {
	if len(value) > MaxValueSize {
		// The agent would say the same, but may close the connection before all of the value is sent.
		return WriteResult{}, &Error{
			Code: CodeTooLarge, Message: fmt.Sprintf("a value of %d bytes: at most %d are allowed", len(value), MaxValueSize),
		}
	}
	query := url.Values{}
	if opts.Flags != 0 {
		query.Set("flags", strconv.FormatUint(opts.Flags, 10))
	}
	setCAS(query, opts.CAS)
	if opts.Acquire != "" {
		query.Set("acquire", opts.Acquire)
	}
	if opts.Release != "" {
		query.Set("release", opts.Release)
	}
	var out WriteResult
	err := c.write(ctx, call{method: http.MethodPut, path: "/v1/kv/" + escapePath(key), query: query, body: value},
		opts.WriteOptions, &out)
	return out, err
}

// KVDelete deletes one key, or all under a prefix. That there is nothing to delete is no error.
func (c *Client) KVDelete(ctx context.Context, key string, opts KVDeleteOptions) (WriteResult, error) {
	query := url.Values{}
	if opts.Recurse {
		query.Set("recurse", "")
	}
	setCAS(query, opts.CAS)
	var out WriteResult
	err := c.write(ctx, call{method: http.MethodDelete, path: "/v1/kv/" + escapePath(key), query: query},
		opts.WriteOptions, &out)
	return out, err
}

func setCAS(query url.Values, cas *uint64) {
	if cas != nil {
		query.Set("cas", strconv.FormatUint(*cas, 10))
	}
}

// IsCode reports whether err is an *Error with the given code.
func IsCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

func isNotFound(err error) bool { return IsCode(err, CodeNotFound) }
