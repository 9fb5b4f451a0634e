package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// usage is what the parts of a cluster and its clients have used of the processors. Unlike a rate it says much the same
// on a machine that others use, too.
type usage struct{ leader, followers, postgres, clients time.Duration }

func usageOf(b *testing.B, c *testcluster.Cluster, leader *testcluster.Node) (u usage) {
	b.Helper()
	for _, n := range c.Nodes {
		if n == leader {
			u.leader += cpuTime(b, n.AgentPID)
		} else {
			u.followers += cpuTime(b, n.AgentPID)
		}
		if n.Postgres.DataDir != "" {
			u.postgres += backendsTime(b, n)
		}
	}
	u.clients = ownTime(b)
	return u
}

// ownTime is what this process has used.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	return time.Duration(own.Utime.Nano() + own.Stime.Nano())
}

// metrics reports what was used since, in microseconds per call. The followers are taken together, and so are the
// PostgreSQL servers.
func (u usage) metrics(b *testing.B, c *testcluster.Cluster, leader *testcluster.Node, calls int) {
	b.Helper()
	now := usageOf(b, c, leader)
	per := func(before, after time.Duration) float64 {
		return float64((after - before).Microseconds()) / float64(max(calls, 1))
	}
	b.ReportMetric(per(u.leader, now.leader), "leader-cpu-us")
	b.ReportMetric(per(u.followers, now.followers), "followers-cpu-us")
	b.ReportMetric(per(u.clients, now.clients), "clients-cpu-us")
	if hasPostgres(c) {
		b.ReportMetric(per(u.postgres, now.postgres), "postgres-cpu-us")
	}
}

// backendsTime is what the processes of a node's PostgreSQL have used.
func backendsTime(b *testing.B, n *testcluster.Node) (total time.Duration) {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Postgres.DataDir, "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	postmaster, _, _ := strings.Cut(string(raw), "\n")
	procs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, proc := range procs {
		fields := statFields(proc)
		if len(fields) > 12 && fields[1] == postmaster { // its parent
			total += ticks(fields[11]) + ticks(fields[12])
		}
	}
	return total
}

// cpuTime is what a process has used.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	fields := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if len(fields) < 13 {
		b.Fatalf("no times of process %d", pid)
	}
	return ticks(fields[11]) + ticks(fields[12]) // utime, stime
}

// statFields returns what stands in /proc/PID/stat behind the process's name; nothing when it is gone.
func statFields(path string) []string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	return strings.Fields(string(rest))
}

// clockTick is the unit of /proc/PID/stat on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

func ticks(field string) time.Duration {
	n, _ := strconv.Atoi(field) // the kernel writes numbers
	return time.Duration(n) * clockTick
}

func mebibytes(b *testing.B, pid int, name string) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(text)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatalf("/proc/%d/status has no %s", pid, name)
	return 0
}
