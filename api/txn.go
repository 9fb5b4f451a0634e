package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Txn runs a transaction. That its compares don't hold is no error: see TxnResponse.Succeeded.
func (c *Client) Txn(ctx context.Context, txn TxnRequest, opts WriteOptions) (TxnResponse, error) {
	var out TxnResponse
	k, err := jsonCall(http.MethodPut, "/v1/txn", txn)
	if err != nil {
		return out, err
	}
	err = c.write(ctx, k, opts, &out)
	return out, err
}

func jsonCall(method, path string, body any) (call, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return call{}, fmt.Errorf("encode request: %w", err)
	}
	return call{
		method: method, path: path, body: data,
		header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}
