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

// peerPuts is what the better of etcd and Consul made on such a machine, in puts a second by clients, and what the bound
// (see BenchmarkPropose) made beside them. The target is twice as much, or, on a day on which the machine is slower, twice
// as large a part of the bound.
var (
	peerPuts  = map[int]float64{64: 5010, 256: 6628}
	peerBound = map[int]float64{64: 15680, 256: 27679}
)

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

// way is how clients write. Each of them measures for the given time.
type way struct {
	name   string
	target string // in the report; "" = what it makes is not held against anything
	load   func(b *testing.B, clients int, d time.Duration) *outcome
}

// puts measures writes: at the leader by a client that costs little, as load generators do, and by net/http's; with
// PostgreSQL also spread over all nodes, and by the api package.
func puts(b *testing.B, c *testcluster.Cluster) {
	leader := c.Leader()
	raw := openBound(b)
	for _, w := range waysToPut(c, leader) {
		for _, clients := range clientCounts {
			b.Run(fmt.Sprintf("%s/clients=%d", w.name, clients), func(b *testing.B) {
				if w.target != "" && peerPuts[clients] > 0 {
					againstPeers(b, c, leader, clients, w, raw)
				} else {
					measurePuts(b, c, leader, clients, w)
				}
			})
		}
	}
}

func waysToPut(c *testcluster.Cluster, leader *testcluster.Node) []way {
	ways := []way{
		{"wire/leader", "puts over HTTP",
			func(b *testing.B, clients int, d time.Duration) *outcome { return putWire(b, clients, d, leader) }},
		{"http/leader", "puts over HTTP by net/http's client",
			func(b *testing.B, clients int, d time.Duration) *outcome { return putHTTP(b, clients, d, leader) }},
	}
	if hasPostgres(c) {
		ways = append(ways,
			way{"http/spread", "",
				func(b *testing.B, clients int, d time.Duration) *outcome { return putHTTP(b, clients, d, c.Nodes...) }},
			way{"goclient/leader", "",
				func(b *testing.B, clients int, d time.Duration) *outcome { return putClient(b, clients, d, leader) }})
	}
	return ways
}

func hasPostgres(c *testcluster.Cluster) bool { return c.Nodes[0].Postgres.DataDir != "" }

func measurePuts(b *testing.B, c *testcluster.Cluster, leader *testcluster.Node, clients int, w way) {
	before := usageOf(b, c, leader)
	o := w.load(b, clients, measureTime)
	before.metrics(b, c, leader, o.all)
	o.metrics(b, "puts/s")
	if hasPostgres(c) {
		b.ReportMetric(worstLag(b, c), "lag-ms")
	}
}

// againstPeers holds writes against what others made, in turn with the bound. Others have no PostgreSQL to keep current.
func againstPeers(b *testing.B, c *testcluster.Cluster, leader *testcluster.Node, clients int, w way, raw bound) {
	const rounds = 3
	var rates, parts []float64
	for range rounds {
		limit := drive(b, clients, measureTime/rounds, raw.put).rate()
		before := usageOf(b, c, leader)
		o := w.load(b, clients, measureTime/rounds)
		before.metrics(b, c, leader, o.all)
		o.metrics(b, "puts/s") // the last round's percentiles stay
		rates, parts = append(rates, o.rate()), append(parts, o.rate()/limit)
	}
	if hasPostgres(c) {
		b.ReportMetric(worstLag(b, c), "lag-ms")
	}
	rate, part := median(rates), median(parts)
	b.ReportMetric(rate, "puts/s")
	b.ReportMetric(part, "of-bound")
	name := fmt.Sprintf("%s, %d clients", w.target, clients)
	if !hasPostgres(c) {
		name += ", no PostgreSQL"
	}
	report.atLeast(name, 2*peerPuts[clients], rate, "/s")
	report.atLeast(name+", against the bound", 2*peerPuts[clients]/peerBound[clients], part, "times")
}

func putClient(b *testing.B, clients int, d time.Duration, n *testcluster.Node) *outcome {
	client := newClient(b, n)
	return drive(b, clients, d, func(ctx context.Context, _ int) error {
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
