package pgext_test

import (
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/pgext"
)

// BenchmarkFunctions measures each function within the server: a call's share of a statement that makes a hundred.
func BenchmarkFunctions(b *testing.B) {
	dir := openConsole(b, newFakeBackend())
	conn := newInstalled(b, dir)
	s := exampleStatus()
	for id := 4; id <= 11; id++ {
		s.Nodes = append(s.Nodes, s.Nodes[2])
		s.Nodes[id-1].NodeID = id
		s.Peers = append(s.Peers, api.PeerStatus{NodeID: id})
	}
	if err := (pgext.StatusFile{Path: pgext.StatusPath(dir)}).Write(s, time.Now(), time.Hour); err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct{ name, sql string }{
		{"empty", "SELECT count(*) FROM generate_series(1, 100)"},
		{"is_leader", "SELECT count(*) FROM generate_series(1, 100) WHERE pgraft_is_leader()"},
		{"get_worker_state", "SELECT count(pgraft_get_worker_state()) FROM generate_series(1, 100)"},
		{"get_cluster_status", "SELECT count(state) FROM generate_series(1, 100) AS i, LATERAL (SELECT i, * FROM pgraft_get_cluster_status()) AS x"},
		{"get_nodes 11", "SELECT count(name) FROM generate_series(1, 100) AS i, LATERAL (SELECT i, * FROM pgraft_get_nodes()) AS x"},
		{"check", "SELECT count(message) FROM generate_series(1, 100) AS i, LATERAL (SELECT i, * FROM pgraft_check()) AS x"},
		{"kv_put", "SELECT count(pgraft_kv_put('a', 'b')) FROM generate_series(1, 100)"},
		{"kv_get", "SELECT count(pgraft_kv_get('a')) FROM generate_series(1, 100)"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			text(b, conn, bench.sql)
			b.ResetTimer()
			for b.Loop() {
				text(b, conn, bench.sql)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100, "us/call")
		})
	}
	for _, bench := range []struct{ name, sql string }{
		{"statement is_leader", "SELECT pgraft_is_leader()"}, {"statement get_nodes", "SELECT * FROM pgraft_get_nodes()"},
		{"statement kv_put", "SELECT pgraft_kv_put('a', 'b')"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				text(b, conn, bench.sql)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "us/call")
		})
	}
}
