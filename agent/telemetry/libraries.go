package telemetry

import (
	"fmt"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	sink "github.com/hashicorp/go-metrics/prometheus"
	wal "github.com/hashicorp/raft-wal"
	walmetrics "github.com/hashicorp/raft-wal/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// quiet is after how long without news a library's metric is dropped: a peer that left, a leader's gauge of long ago.
const quiet = 10 * time.Minute

// InstallGlobal makes raft and memberlist report here, as pgraft_raft_… and pgraft_memberlist_…. Both know only
// go-metrics' global sink, so of several agents in one process the last to call this gets all of it.
func (m *Metrics) InstallGlobal() error {
	s, err := sink.NewPrometheusSinkFrom(sink.PrometheusOpts{
		Registerer: m.registry, Expiration: quiet, Name: "pgraft_libraries",
	})
	if err != nil {
		return fmt.Errorf("make metrics sink: %w", err)
	}
	cfg := gometrics.DefaultConfig("pgraft")
	cfg.EnableHostname = false
	cfg.EnableRuntimeMetrics = false // the registry has Go's own
	if _, err := gometrics.NewGlobal(cfg, s); err != nil {
		return fmt.Errorf("install metrics sink: %w", err)
	}
	return nil
}

// WALCollector makes raft-wal report here, as pgraft_wal_…: pass it by wal.WithMetricsCollector. (raft-wal 0.4.1 would
// else use armon/go-metrics, whose global sink is another than raft's.)
func (m *Metrics) WALCollector() (walmetrics.Collector, error) {
	c := &walCollector{counters: map[string]prometheus.Counter{}, gauges: map[string]prometheus.Gauge{}}
	for _, d := range wal.MetricDefinitions.Counters {
		c.counters[d.Name] = prometheus.NewCounter(prometheus.CounterOpts{Name: "pgraft_wal_" + d.Name + "_total", Help: d.Desc})
		if err := m.registry.Register(c.counters[d.Name]); err != nil {
			return nil, fmt.Errorf("register metrics of the log: %w", err)
		}
	}
	for _, d := range wal.MetricDefinitions.Gauges {
		c.gauges[d.Name] = prometheus.NewGauge(prometheus.GaugeOpts{Name: "pgraft_wal_" + d.Name, Help: d.Desc})
		if err := m.registry.Register(c.gauges[d.Name]); err != nil {
			return nil, fmt.Errorf("register metrics of the log: %w", err)
		}
	}
	return c, nil
}

// walCollector's maps are never changed once it is made; names it doesn't know are ignored.
type walCollector struct {
	counters map[string]prometheus.Counter
	gauges   map[string]prometheus.Gauge
}

// IncrementCounter implements raft-wal's Collector.
func (c *walCollector) IncrementCounter(name string, delta uint64) {
	if counter := c.counters[name]; counter != nil {
		counter.Add(float64(delta))
	}
}

// SetGauge implements raft-wal's Collector.
func (c *walCollector) SetGauge(name string, val uint64) {
	if gauge := c.gauges[name]; gauge != nil {
		gauge.Set(float64(val))
	}
}
