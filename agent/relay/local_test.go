package relay_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/pgraft/pgraft/agent/relay"
)

func TestAnswerLocally(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Was", r.URL.Path)
		if len(body) > 0 {
			w.WriteHeader(http.StatusConflict)
			w.WriteHeader(http.StatusOK) // too late
		}
		_, _ = w.Write(append([]byte("heard "), body...))
	})
	client := http.Client{Transport: relay.New(relay.Config{
		Leader: func() string { return "self" }, Self: "self", Local: func() http.Handler { return h },
	})}
	for body, code := range map[string]int{"": http.StatusOK, "much": http.StatusConflict} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://leader/path", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != code || string(got) != "heard "+body || resp.Header.Get("X-Was") != "/path" {
			t.Errorf("body %q: %d %q %v, %v", body, resp.StatusCode, got, resp.Header, err)
		}
	}
}
