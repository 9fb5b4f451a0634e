package bench_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// envBare makes this program one server of a bare Raft cluster: the ports of all, its own first.
const envBare = "PGRAFT_BENCH_BARE"

// bareCommitTimeout is the agents' own, see consensus.Config.
const bareCommitTimeout = 400 * time.Millisecond

// bareServer runs hashicorp/raft with the agents' timers and nothing else, in memory: what an idle agent can't go below
// on this machine. It returns only on an error.
func bareServer(ports []string) error {
	timers, _ := config.ProfileTimers(config.ProfileLAN)
	cfg := raft.DefaultConfig()
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = timers.Heartbeat, timers.Election, timers.Lease
	cfg.CommitTimeout, cfg.LogOutput = bareCommitTimeout, io.Discard
	var servers raft.Configuration
	for _, port := range ports {
		addr := "127.0.0.1:" + port
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(addr), Address: raft.ServerAddress(addr)})
	}
	cfg.LocalID = servers.Servers[0].ID
	transport, err := raft.NewTCPTransport(string(cfg.LocalID), nil, 3, time.Second, io.Discard)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	store := raft.NewInmemStore()
	if err := raft.BootstrapCluster(cfg, store, store, raft.NewInmemSnapshotStore(), transport, servers); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if _, err := raft.NewRaft(cfg, &raft.MockFSM{}, store, store, raft.NewInmemSnapshotStore(), transport); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark, or its process, ends
	return nil
}

// bareIdle reports what three idle servers of bare Raft use: the one that uses most leads.
func bareIdle(b *testing.B) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	base := testcluster.FreePorts(b, 3)
	var pids []int
	for i := range 3 {
		ports := []string{fmt.Sprint(base + i), fmt.Sprint(base + (i+1)%3), fmt.Sprint(base + (i+2)%3)}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), envBare+"="+strings.Join(ports, ","))
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
		pids = append(pids, cmd.Process.Pid)
	}
	time.Sleep(settleTime)
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		before[i] = cpuTime(b, pid)
	}
	time.Sleep(watchTime)
	var most, sum float64
	for i, pid := range pids {
		percent := 100 * (cpuTime(b, pid) - before[i]).Seconds() / watchTime.Seconds()
		most, sum = max(most, percent), sum+percent
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(most, "leader-%cpu")
	b.ReportMetric((sum-most)/2, "follower-%cpu")
}
