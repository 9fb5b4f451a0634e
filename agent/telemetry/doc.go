// Package telemetry is what an agent tells Prometheus: gauges rendered from api.Status at each scrape, so that they
// agree with every other surface; counters and histograms that the agent's parts report to as things happen; and the
// libraries' own metrics, raft's and memberlist's through go-metrics, the log's through raft-wal's collector.
//
// Each Metrics has its own registry. Nothing here owns a goroutine, and no report blocks. The one thing beyond an agent
// is go-metrics' sink, which is global to the process: see InstallGlobal.
package telemetry
