package pgext_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/pgext"
)

// BenchmarkFunctions measures each function within the server: the share of one call in a block that makes a hundred.
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
	for _, sql := range []string{
		"pgraft_is_leader()", "pgraft_get_leader()", "pgraft_get_worker_state()", "* FROM pgraft_get_cluster_status()",
		"* FROM pgraft_get_nodes()", "* FROM pgraft_log_get_stats()", "* FROM pgraft_check()", "pgraft_get_applied_index()",
		"pgraft_kv_put('a', 'b')", "pgraft_kv_get('a')",
	} {
		name := strings.TrimPrefix(strings.Split(sql, "(")[0], "* FROM ")
		b.Run(name, func(b *testing.B) {
			const calls = 100
			loop := fmt.Sprintf("DO $$BEGIN FOR i IN 1..%d LOOP PERFORM %s; END LOOP; END$$", calls, sql)
			exec1(b, conn, loop)
			for b.Loop() {
				exec1(b, conn, loop)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/calls, "us/call")
		})
	}
}
