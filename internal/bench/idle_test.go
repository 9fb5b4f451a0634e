package bench_test

import (
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// How long the cluster is watched for elections, and how long it may settle before.
const (
	watchTime  = time.Minute
	settleTime = 12 * time.Second // autopilot looks at a new server for 10 s
)

// idle watches a cluster that nobody asks anything: what its agents use, and that its leader stays.
func idle(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	time.Sleep(settleTime)
	leader := c.Leader()
	before := elections(b, c)
	used := make(map[string]time.Duration)
	for _, n := range c.Nodes {
		used[n.Name] = cpuTime(b, n.AgentPID)
	}
	time.Sleep(watchTime)
	var most float64
	for _, n := range c.Nodes {
		percent := 100 * (cpuTime(b, n.AgentPID) - used[n.Name]).Seconds() / watchTime.Seconds()
		b.ReportMetric(percent, role(n, leader)+"-%cpu")
		most = max(most, percent)
	}
	held := elections(b, c) - before
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(held, "elections")
	report.below("CPU of an idle agent, the busiest", 2, most, "% of a core")
	report.none("elections in an idle minute", held)
	report.below("memory of an idle agent, the largest", 60, memory(b, c, leader), "MiB")
}

// role names a node by what it does, so that the names are the same in all runs.
func role(n, leader *testcluster.Node) string {
	if n == leader {
		return "leader"
	}
	return "follower-" + n.Name
}

// memory reports what each agent holds and returns the largest, in MiB.
func memory(b *testing.B, c *testcluster.Cluster, leader *testcluster.Node) float64 {
	b.Helper()
	var most float64
	for _, n := range c.Nodes {
		rss := mebibytes(b, n.AgentPID, "VmRSS")
		b.ReportMetric(rss, role(n, leader)+"-MiB")
		most = max(most, rss)
	}
	b.ReportMetric(mebibytes(b, leader.AgentPID, "RssAnon"), "leader-anon-MiB")
	return most
}

// fullLoad keeps as many clients as there are in the largest measurement at work for a minute.
func fullLoad(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	leader := c.Leader()
	before := elections(b, c)
	o := putHTTP(b, clientCounts[len(clientCounts)-1], watchTime, c.Nodes...)
	held := elections(b, c) - before
	o.metrics(b, "puts/s")
	b.ReportMetric(held, "elections")
	b.ReportMetric(worstLag(b, c), "lag-ms")
	memory(b, c, leader)
	report.none("elections in a minute of full load", held)
}

// elections counts, over all nodes, the elections since they started, and the terms: nobody's count is lost.
func elections(b *testing.B, c *testcluster.Cluster) float64 {
	b.Helper()
	var started, term uint64
	for _, n := range c.Nodes {
		s := status(b, c, n)
		started += s.Counters.ElectionsTriggered
		term = max(term, s.Term)
	}
	return float64(max(started, term))
}
