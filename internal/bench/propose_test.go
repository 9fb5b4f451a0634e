package bench_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
	"github.com/pgraft/pgraft/fsm"
)

// proposeRounds is how often the bound and the product take turns.
const proposeRounds = 5

// BenchmarkPropose measures puts that are proposed on the leader within its process, without HTTP and PostgreSQL, in
// turn with the bound: hashicorp/raft over raft-wal with a state machine that does nothing, an entry per put.
func BenchmarkPropose(b *testing.B) {
	raw := openBound(b)
	c := consensustest.New(b, consensustest.Options{
		Configure: func(_ int, cfg *consensus.Config) { cfg.SegmentSize = 0 },
	})
	node := c.Node(c.Leader())
	put := func(ctx context.Context, _ int) error {
		_, err := node.Propose(ctx, fsm.KVSet{Key: someKey(), Value: value})
		return err
	}
	for _, clients := range clientCounts {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { propose(b, clients, put, raw.put) })
	}
}

func propose(b *testing.B, clients int, put, raw func(context.Context, int) error) {
	var rates, bounds, ratios, cpu, boundCPU []float64
	var o *outcome
	for range proposeRounds {
		before := ownTime(b)
		limit := drive(b, clients, measureTime/3, raw)
		between := ownTime(b)
		o = drive(b, clients, measureTime/3, put)
		rates, bounds, ratios = append(rates, o.rate()), append(bounds, limit.rate()), append(ratios, o.rate()/limit.rate())
		cpu = append(cpu, perPut(ownTime(b)-between, o))
		boundCPU = append(boundCPU, perPut(between-before, limit))
	}
	o.metrics(b, "puts/s")
	b.ReportMetric(median(rates), "puts/s")
	b.ReportMetric(median(bounds), "bound-puts/s")
	b.ReportMetric(median(ratios), "of-bound")
	b.ReportMetric(median(cpu), "cpu-us")
	b.ReportMetric(median(boundCPU), "bound-cpu-us")
	if clients >= 64 {
		report.atLeast(fmt.Sprintf("puts in process against the bound, %d clients", clients), 0.8, median(ratios), "times")
	}
}

func perPut(used time.Duration, o *outcome) float64 {
	return float64(used.Microseconds()) / float64(max(o.all, 1))
}

// nothing is a state machine that does nothing.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error        { return r.Close() }
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (nothing) Release()                             {}

type stream struct{ net.Listener }

func (stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

// bound is three servers of hashicorp/raft with its defaults.
type bound []*raft.Raft

// put writes an entry by whoever leads. A machine that is busy with other things may change that.
func (nodes bound) put(ctx context.Context, _ int) error {
	for {
		for _, node := range nodes {
			if node.State() == raft.Leader && node.Apply(value, 0).Error() == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the bound has no leader: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// openBound starts the bound and waits until it takes entries.
func openBound(b *testing.B) bound {
	b.Helper()
	nodes := make(bound, 3)
	var configuration raft.Configuration
	for i := range nodes {
		var address raft.ServerAddress
		nodes[i], address = openBoundServer(b, raft.ServerID(fmt.Sprint(i)))
		configuration.Servers = append(configuration.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: address})
	}
	if err := nodes[0].BootstrapCluster(configuration).Error(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := nodes.put(ctx, 0); err != nil {
		b.Fatal(err)
	}
	return nodes
}

func openBoundServer(b *testing.B, id raft.ServerID) (*raft.Raft, raft.ServerAddress) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	log, err := wal.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	config := raft.DefaultConfig()
	config.LocalID, config.Logger, config.NoLegacyTelemetry = id, hclog.NewNullLogger(), true
	cache, err := raft.NewLogCache(512, log)
	if err != nil {
		b.Fatal(err)
	}
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream{listener}, MaxPool: 4, Timeout: 10 * time.Second, Logger: config.Logger,
	})
	node, err := raft.NewRaft(config, nothing{}, cache, log, raft.NewDiscardSnapshotStore(), trans)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = node.Shutdown().Error()
		_ = trans.Close()
		_ = log.Close()
	})
	return node, trans.LocalAddr()
}
