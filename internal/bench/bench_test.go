package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// report collects what TestMain prints at the end.
var report = &targets{}

// TestMain builds one binary for all clusters, without the race detector, and prints the targets at the end.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if ports := os.Getenv(envBare); ports != "" {
		if err := bareServer(strings.Split(ports, ",")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "pgraft-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "pgraft")
	if err := testcluster.BuildAt(bin, false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// testcluster starts the binary that is named here instead of one with the race detector.
	if err := os.Setenv(testcluster.EnvBinary, bin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	report.print(os.Stdout)
	return code
}

// BenchmarkAgents is the product as it is used: three agents with a PostgreSQL each, as `pgraft demo` starts them.
func BenchmarkAgents(b *testing.B) {
	c := testcluster.Start(b, testcluster.Options{})
	b.Run("idle", func(b *testing.B) { idle(b, c) })
	b.Run("idlebound", bareIdle)
	b.Run("put", func(b *testing.B) { puts(b, c) })
	b.Run("get", func(b *testing.B) { gets(b, c) })
	b.Run("sql", func(b *testing.B) { functions(b, c) })
	b.Run("apply", func(b *testing.B) { apply(b, c) })
	b.Run("lag", func(b *testing.B) { lag(b, c) })
	b.Run("fullload", func(b *testing.B) { fullLoad(b, c) })
	b.Run("failover", func(b *testing.B) { failover(b, c) })
}

// BenchmarkWitnesses is the same without PostgreSQL, for comparison with other key/value stores.
func BenchmarkWitnesses(b *testing.B) {
	c := testcluster.Custom(b)
	c.AddAll(testcluster.Spec{Name: "n1"}, testcluster.Spec{Name: "n2"}, testcluster.Spec{Name: "n3"})
	c.StartAll()
	b.Run("put", func(b *testing.B) { puts(b, c) })
}
