package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/pgraft/pgraft/api"
)

// Sizes of request bodies. A transaction's values are base64 inside JSON, so its body is larger than what it holds;
// fsm.Validate has the last word on that.
const (
	maxTxnBody  = 1 << 20
	maxJSONBody = 64 << 10
)

// Answers above largeBody get a deadline to be taken by the client.
const (
	largeBody    = 64 << 10
	writeTimeout = time.Minute
)

// readBody reads a whole body of at most limit bytes, announced or chunked.
func readBody(w http.ResponseWriter, r *request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	if r.ContentLength == 0 {
		return []byte{}, nil
	}
	// Without a deadline a client could hold the request open for ever. net/http sets the next one for the next request.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	if r.ContentLength < 0 {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
		return body, bodyError(err)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, bodyError(err)
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
	}
	return badRequest("read request body: %v", err)
}

// readJSON decodes a body into out; an empty one leaves out as it is. Unknown fields are refused: a misspelt one must
// not be ignored.
func readJSON(w http.ResponseWriter, r *request, limit int64, out any) error {
	body, err := readBody(w, r, limit)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(out); err != nil {
		return jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("decode request body: there is more after the JSON value")
	}
	return nil
}

func jsonError(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return badRequest("decode request body: %v at byte %d", err, syntax.Offset)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return badRequest("decode request body: the JSON is cut short")
	}
	return badRequest("decode request body: %v", err)
}

// writeJSON answers 200 with v.
func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeBytes(w, contentJSON, append(body, '\n'))
}

// Header values, shared so that the busy routes don't allocate them.
var (
	contentJSON   = []string{"application/json"}
	contentBinary = []string{"application/octet-stream"}
	contentText   = []string{"text/plain; charset=utf-8"}
	contentHTML   = []string{"text/html; charset=utf-8"}
	nosniff       = []string{"nosniff"}
)

// writeBytes answers 200 with a body. Values are the clients' own bytes: no browser is to guess what they are.
func writeBytes(w http.ResponseWriter, contentType []string, body []byte) error {
	h := w.Header()
	h["Content-Type"] = contentType
	h["X-Content-Type-Options"] = nosniff
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if len(body) > largeBody {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	_, err := w.Write(body)
	return err
}

// writeResult answers a write; by hand, since this is the busiest answer there is.
func writeResult(w http.ResponseWriter, r api.WriteResult) error {
	b := make([]byte, 0, 128)
	b = append(b, `{"index":`...)
	b = strconv.AppendUint(b, r.Index, 10)
	if r.Version > 0 {
		b = append(b, `,"version":`...)
		b = strconv.AppendUint(b, r.Version, 10)
	}
	if r.Deleted > 0 {
		b = append(b, `,"deleted":`...)
		b = strconv.AppendUint(b, r.Deleted, 10)
	}
	b = append(b, `,"request_id":`...)
	b = strconv.AppendQuote(b, r.RequestID) // ids have no character that JSON and Go quote differently
	b = append(b, '}', '\n')
	return writeBytes(w, contentJSON, b)
}

// encode writes v behind a header that is written already.
func encode(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = w.Write(append(body, '\n'))
	return err
}
