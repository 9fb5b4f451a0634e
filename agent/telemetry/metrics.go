package telemetry

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// Config is what Metrics needs. Logger, Applier and Version may be left out.
type Config struct {
	Logger  hclog.Logger
	Status  func() api.Status                // called once per scrape
	Applier func() (fsm.ApplierStatus, bool) // false: there is no applier
	Version string
}

// Metrics collects an agent's metrics.
type Metrics struct {
	cfg      Config
	registry *prometheus.Registry
	handler  http.Handler

	proposals     *prometheus.CounterVec   // by outcome
	proposalTimes *prometheus.HistogramVec // by outcome
	proposedOK    prometheus.Counter       // of proposals, the busy one looked up once
	proposedTimes prometheus.Observer      // of proposalTimes, the same
	entryOps      prometheus.Histogram
	entryBytes    prometheus.Histogram
	entryTimes    *prometheus.HistogramVec // by way
	refused       *prometheus.CounterVec   // by reason
	rpcTimes      *prometheus.HistogramVec // by method, outcome
	httpTimes     *prometheus.HistogramVec // by method, route
	httpRequests  *prometheus.CounterVec   // by method, route, code
}

// latencyBuckets reach from a request answered from memory to one that outlasts an election, in seconds.
var latencyBuckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// New returns the metrics of one agent.
func New(cfg Config) (*Metrics, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	m := &Metrics{cfg: cfg, registry: prometheus.NewRegistry()}
	m.makeProposals()
	m.makeRequests()
	all := []prometheus.Collector{
		m.proposals, m.proposalTimes, m.entryOps, m.entryBytes, m.entryTimes, m.refused, m.rpcTimes, m.httpTimes, m.httpRequests,
		newStatusCollector(cfg), buildInfo(cfg.Version),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, c := range all {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	// One metric that a library reports under two types must not cost the operator all the others.
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      cfg.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	})
	return m, nil
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Registry is where further collectors of this agent may be registered.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

func (m *Metrics) makeProposals() {
	m.proposals = counters("pgraft_proposals_total",
		"Operations proposed on this node by outcome: ok, refused by the state machine, rejected (not applied), in_doubt.", "outcome")
	m.proposalTimes = histograms("pgraft_proposal_duration_seconds", "From proposing an operation to its outcome.", "outcome")
	m.proposedOK, m.proposedTimes = m.proposals.WithLabelValues("ok"), m.proposalTimes.WithLabelValues("ok")
	m.entryOps = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pgraft_entry_operations", Help: "Operations in a log entry that this node formed.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 12),
	})
	m.entryBytes = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pgraft_entry_bytes", Help: "Bytes in a log entry that this node formed.",
		Buckets: prometheus.ExponentialBuckets(64, 4, 8),
	})
	m.entryTimes = histograms("pgraft_entry_duration_seconds",
		"From sending a log entry to its outcome, by way: local on the leader, forwarded to it from elsewhere.", "way")
	m.refused = counters("pgraft_connections_refused_total", "Connections that the internal port turned away, by reason.", "reason")
}

func (m *Metrics) makeRequests() {
	m.rpcTimes = histograms("pgraft_rpc_duration_seconds", "Calls of this agent to another's internal port.", "method", "outcome")
	m.httpTimes = histograms("pgraft_http_request_duration_seconds",
		"HTTP requests by route, without blocking queries and streams.", "method", "route")
	m.httpRequests = counters("pgraft_http_requests_total", "HTTP requests by route and status.", "method", "route", "code")
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencyBuckets}, labels)
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pgraft_build_info", Help: "1; what the agent is built from is in the labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

// Proposal reports one proposed operation: consensus.Hooks.Proposal.
func (m *Metrics) Proposal(outcome string, took time.Duration) {
	if outcome == "ok" {
		m.proposedOK.Inc()
		m.proposedTimes.Observe(took.Seconds())
		return
	}
	m.proposals.WithLabelValues(outcome).Inc()
	m.proposalTimes.WithLabelValues(outcome).Observe(took.Seconds())
}

// Entry reports one log entry that this node formed: consensus.Hooks.Entry.
func (m *Metrics) Entry(ops, bytes int, forwarded bool, took time.Duration) {
	way := "local"
	if forwarded {
		way = "forwarded"
	}
	m.entryOps.Observe(float64(ops))
	m.entryBytes.Observe(float64(bytes))
	m.entryTimes.WithLabelValues(way).Observe(took.Seconds())
}

// Refused reports one connection turned away: consensus.Hooks.Refused.
func (m *Metrics) Refused(reason string) { m.refused.WithLabelValues(reason).Inc() }

// ObserveHTTP returns what takes the requests of one route: httpapi.Config.Observe.
func (m *Metrics) ObserveHTTP(method, route string) func(status int, took time.Duration) {
	times := m.httpTimes.WithLabelValues(method, route)
	requests := m.httpRequests.MustCurryWith(prometheus.Labels{"method": method, "route": route})
	succeeded := requests.WithLabelValues("200") // the busy one is looked up once
	return func(status int, took time.Duration) {
		times.Observe(took.Seconds())
		if status == http.StatusOK {
			succeeded.Inc()
			return
		}
		requests.WithLabelValues(strconv.Itoa(status)).Inc()
	}
}

// RPCTransport measures the calls that go through next, an internal port's round tripper. name names what is called.
func (m *Metrics) RPCTransport(name string, next http.RoundTripper) http.RoundTripper {
	return &rpcTransport{
		next: next,
		ok:   m.rpcTimes.WithLabelValues(name, "ok"), failed: m.rpcTimes.WithLabelValues(name, "error"),
	}
}

type rpcTransport struct {
	next       http.RoundTripper
	ok, failed prometheus.Observer
}

// RoundTrip implements http.RoundTripper. The time ends with the answer's header, since bodies may stream.
func (t *rpcTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(r)
	observer := t.ok
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		observer = t.failed
	}
	observer.Observe(time.Since(start).Seconds())
	return resp, err
}
