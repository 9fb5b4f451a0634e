package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// instant answers every proposal at once, so that what is measured is HTTP.
type instant struct{ index atomic.Uint64 }

func (p *instant) Propose(context.Context, fsm.Op) (fsm.Result, error) {
	return fsm.Result{Index: p.index.Add(1), Version: 1}, nil
}

// BenchmarkPut is a PUT through a real connection, with the client on the same cores.
func BenchmarkPut(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := newServer(b, func(c *httpapi.Config) { c.Proposer = &instant{} })
			c := s.newClient()
			value := make([]byte, 256)
			b.SetParallelism(clients)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.KVPut(context.Background(), "bench/key", value, api.KVPutOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

// BenchmarkPutBound is what net/http takes for the same exchange with a handler that does nothing.
func BenchmarkPutBound(b *testing.B) {
	url := serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"index":1,"version":1,"request_id":"AAAAAAAAAAAAAAAAAAAAAAAAAA"}`)
	}))
	c, err := api.New(api.Config{Address: url})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	value := make([]byte, 256)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.KVPut(context.Background(), "bench/key", value, api.KVPutOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
}

// discardWriter is a ResponseWriter that costs nothing.
type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *discardWriter) WriteHeader(int)             {}

// BenchmarkPutHandler is the same without the network: what this package adds to a write.
func BenchmarkPutHandler(b *testing.B) {
	s := newServer(b, func(c *httpapi.Config) { c.Proposer = &instant{} })
	handler := s.api.Handler()
	req, err := http.NewRequest("PUT", "/v1/kv/bench/key", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	w := &discardWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(w, req)
	}
}
