package httpapi

import (
	"net/http"
	"time"
)

// streamWrite is how long a client may take to read one piece of a stream.
const streamWrite = 30 * time.Second

// stream is an answer that goes on: each piece is flushed, and a client that stops reading loses the connection.
type stream struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

func newStream(w http.ResponseWriter, contentType string) *stream {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h["X-Content-Type-Options"] = nosniff
	return &stream{w: w, controller: http.NewResponseController(w)}
}

func (s *stream) send(piece []byte) error {
	_ = s.controller.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.w.Write(piece); err != nil {
		return err
	}
	return s.controller.Flush()
}
