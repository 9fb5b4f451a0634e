package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

var clientCounts = []int{1, 16, 64, 256}

// targetPuts are twice what the better of etcd and Consul made on such a machine, in puts a second, by clients.
var targetPuts = map[int]float64{64: 2 * 5000, 256: 2 * 6600}

var noTargets map[int]float64

// newHTTPClient is what a program that doesn't use the api package would take.
func newHTTPClient(b *testing.B) *http.Client {
	transport := &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true}
	b.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// send does one request and reads its answer, so that the connection is used again.
func send(ctx context.Context, client *http.Client, method, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
	}
	return err
}

// puts measures writes: all clients at the leader, spread over all nodes, and by the Go client at the leader.
func puts(b *testing.B, c *testcluster.Cluster, want map[int]float64) {
	leader := c.Leader()
	for _, way := range []struct {
		name string
		load func(b *testing.B, clients int) *outcome
	}{
		{"http/leader", func(b *testing.B, clients int) *outcome { return putHTTP(b, clients, measureTime, leader) }},
		{"http/spread", func(b *testing.B, clients int) *outcome { return putHTTP(b, clients, measureTime, c.Nodes...) }},
		{"goclient/leader", func(b *testing.B, clients int) *outcome { return putClient(b, clients, leader) }},
	} {
		for _, clients := range clientCounts {
			b.Run(fmt.Sprintf("%s/clients=%d", way.name, clients), func(b *testing.B) {
				before := usageOf(b, c, leader)
				o := way.load(b, clients)
				before.metrics(b, c, leader, o.all)
				o.metrics(b, "puts/s")
				if c.Nodes[0].Postgres.DataDir != "" {
					b.ReportMetric(worstLag(b, c), "lag-ms")
				}
				if rate, ok := want[clients]; ok && way.name == "http/leader" {
					report.atLeast(fmt.Sprintf("puts over HTTP, %d clients", clients), rate, o.rate(), "/s")
				}
			})
		}
	}
}

func putClient(b *testing.B, clients int, n *testcluster.Node) *outcome {
	client := newClient(b, n)
	return drive(b, clients, measureTime, func(ctx context.Context, _ int) error {
		_, err := client.KVPut(ctx, someKey(), value, api.KVPutOptions{})
		return err
	})
}

// putHTTP writes over HTTP; the clients are divided among the nodes.
func putHTTP(b *testing.B, clients int, d time.Duration, nodes ...*testcluster.Node) *outcome {
	client := newHTTPClient(b)
	return drive(b, clients, d, func(ctx context.Context, i int) error {
		return send(ctx, client, http.MethodPut, nodes[i%len(nodes)].URL("/v1/kv/"+someKey()), value)
	})
}

func newClient(b *testing.B, n *testcluster.Node) *api.Client {
	client, err := api.New(api.Config{Address: n.URL("")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	return client
}

// worstLag is how far the rows of the slowest PostgreSQL are behind, in milliseconds.
func worstLag(b *testing.B, c *testcluster.Cluster) float64 {
	var worst int64
	for _, n := range c.Nodes {
		worst = max(worst, status(b, c, n).Postgres.LagMS)
	}
	return float64(worst)
}

func status(b *testing.B, c *testcluster.Cluster, n *testcluster.Node) api.Status {
	b.Helper()
	var s api.Status
	c.Eventually(30*time.Second, func() (err error) {
		s, err = c.Status(n)
		return err
	})
	return s
}

// gets measures reads of one key at the leader; stale ones on all nodes, too.
func gets(b *testing.B, c *testcluster.Cluster) {
	leader := c.Leader()
	if err := send(b.Context(), newHTTPClient(b), http.MethodPut, leader.URL("/v1/kv/bench/read"), value); err != nil {
		b.Fatal(err)
	}
	for _, read := range []struct {
		name, query string
		nodes       []*testcluster.Node
	}{
		{"stale", "?stale", []*testcluster.Node{leader}}, {"stale-spread", "?stale", c.Nodes},
		{"default", "", []*testcluster.Node{leader}}, {"consistent", "?consistent", []*testcluster.Node{leader}},
	} {
		for _, clients := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("http/%s/clients=%d", read.name, clients), func(b *testing.B) {
				client := newHTTPClient(b)
				drive(b, clients, measureTime/2, func(ctx context.Context, i int) error {
					return send(ctx, client, http.MethodGet, read.nodes[i%len(read.nodes)].URL("/v1/kv/bench/read"+read.query), nil)
				}).metrics(b, "reads/s")
			})
		}
	}
}
