package consensus_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
	"github.com/pgraft/pgraft/fsm"
)

var benchClients = []int{1, 16, 64, 256, 1024}

// hammer runs b.N calls from a number of clients and reports calls per second.
func hammer(b *testing.B, clients int, call func() error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for range clients {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "writes/s")
}

// BenchmarkPropose is this package over the real state machine, on the leader and on a follower.
func BenchmarkPropose(b *testing.B) {
	c := consensustest.New(b, consensustest.Options{
		Configure: func(_ int, cfg *consensus.Config) { cfg.SegmentSize = 64 << 20 },
	})
	leader := c.Leader()
	op := fsm.Noop{Data: make([]byte, 256)}
	for name, server := range map[string]int{"leader": leader, "follower": c.Follower(leader)} {
		for _, clients := range benchClients {
			b.Run(fmt.Sprintf("%s/%d", name, clients), func(b *testing.B) {
				hammer(b, clients, func() error {
					_, err := c.Node(server).Propose(b.Context(), op)
					return err
				})
			})
		}
	}
}

// BenchmarkRawRaft is the bound: hashicorp/raft alone, with the same log store and a state machine that does nothing.
func BenchmarkRawRaft(b *testing.B) {
	leader := rawCluster(b)
	data := make([]byte, 256)
	for _, clients := range benchClients {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			hammer(b, clients, func() error { return leader.Apply(data, 0).Error() })
		})
	}
}

// BenchmarkConsistentBarrier measures what a linearizable read costs before it reads.
func BenchmarkConsistentBarrier(b *testing.B) {
	c := consensustest.New(b, consensustest.Options{})
	node := c.Node(c.Leader())
	for _, clients := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			hammer(b, clients, func() error { return node.ConsistentBarrier(b.Context()) })
		})
	}
}

type noopFSM struct{}

func (noopFSM) Apply(*raft.Log) any                 { return nil }
func (noopFSM) Snapshot() (raft.FSMSnapshot, error) { return noopFSM{}, nil }
func (noopFSM) Restore(r io.ReadCloser) error       { return r.Close() }
func (noopFSM) Persist(sink raft.SnapshotSink) error {
	return sink.Close()
}
func (noopFSM) Release() {}

type tcpStream struct{ net.Listener }

func (tcpStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

func rawCluster(b *testing.B) *raft.Raft {
	b.Helper()
	nodes := make([]*raft.Raft, 3)
	var configuration raft.Configuration
	for i := range nodes {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		log, err := wal.Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		config := raft.DefaultConfig()
		config.LocalID = raft.ServerID(fmt.Sprint(i))
		config.Logger = hclog.NewNullLogger()
		config.NoLegacyTelemetry = true
		cache, err := raft.NewLogCache(512, log)
		if err != nil {
			b.Fatal(err)
		}
		trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: tcpStream{listener}, MaxPool: 4, Timeout: 10 * time.Second, Logger: config.Logger,
		})
		nodes[i], err = raft.NewRaft(config, noopFSM{}, cache, log, raft.NewDiscardSnapshotStore(), trans)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { nodes[i].Shutdown().Error(); log.Close() })
		configuration.Servers = append(configuration.Servers, raft.Server{ID: config.LocalID, Address: trans.LocalAddr()})
	}
	if err := nodes[0].BootstrapCluster(configuration).Error(); err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, node := range nodes {
			if node.State() == raft.Leader {
				return node
			}
		}
	}
	b.Fatal("no leader")
	return nil
}
