package relay

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
)

// answerLocally lets a handler of this process answer a client's request.
func answerLocally(h http.Handler, req *http.Request) *http.Response {
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	out := localAnswer{header: http.Header{}}
	h.ServeHTTP(&out, in)
	code := cmp.Or(out.code, http.StatusOK)
	return &http.Response{
		Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out.header,
		Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()), Request: req,
	}
}

// localAnswer keeps what a handler writes.
type localAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *localAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *localAnswer) WriteHeader(code int) { a.code = cmp.Or(a.code, code) }

// Write implements http.ResponseWriter.
func (a *localAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }
