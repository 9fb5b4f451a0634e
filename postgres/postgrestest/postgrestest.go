// Package postgrestest gives tests a real PostgreSQL server of their own. It owns no goroutine; the server's processes
// and files are gone when the test has ended.
package postgrestest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
)

// timeout bounds each start, stop and connection.
const timeout = 60 * time.Second

// Option changes the configuration of a TempInstance before it is made.
type Option func(*postgres.Config)

// NoSync gives up durability for speed. Not for a test that kills the machine's processes and expects the data back.
func NoSync(cfg *postgres.Config) { cfg.NoSync = true }

// Param sets a configuration parameter.
func Param(name, value string) Option {
	return func(cfg *postgres.Config) {
		if cfg.Params == nil {
			cfg.Params = map[string]string{}
		}
		cfg.Params[name] = value
	}
}

// TempInstance returns a running server, listening on a free loopback port and on a Unix socket, that tb's cleanup
// kills and removes. The test is skipped where PostgreSQL is not installed.
func TempInstance(tb testing.TB, opts ...Option) *postgres.Instance {
	tb.Helper()
	instance := StoppedInstance(tb, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := instance.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	return instance
}

// StoppedInstance is a TempInstance that is initialised but not started.
func StoppedInstance(tb testing.TB, opts ...Option) *postgres.Instance {
	tb.Helper()
	if _, err := postgres.FindBinDir(""); err != nil {
		tb.Skipf("SKIPPED, needs a real PostgreSQL: %v", err)
	}
	instance, err := postgres.New(config(tb, opts))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { kill(tb, instance) })
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := instance.Init(ctx); err != nil {
		tb.Fatal(err)
	}
	return instance
}

func config(tb testing.TB, opts []Option) postgres.Config {
	tb.Helper()
	dir := tempDir(tb)
	cfg := postgres.Config{
		DataDir:   filepath.Join(dir, "data"),
		LogFile:   filepath.Join(dir, "log"),
		SocketDir: filepath.Join(dir, "s"),
		Host:      "127.0.0.1",
		Port:      FreePort(tb),
		Params: map[string]string{
			"shared_buffers":  "32MB",
			"max_connections": "30",
			"autovacuum":      "off",
		},
	}
	for _, opt := range opts {
		opt(&cfg)
	}
	return cfg
}

// tempDir stands in for tb.TempDir, which the server's user may not enter and whose path can be too long for a socket.
func tempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pgraft-pg-") //nolint:usetesting // that is what it stands in for
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove test server: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func kill(tb testing.TB, instance *postgres.Instance) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := instance.Kill(ctx); err != nil {
		tb.Errorf("end test server: %v", err)
	}
}

// FreePort returns a loopback TCP port that nobody listened on a moment ago.
func FreePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	return port
}

// Connect returns a connection to database db of the instance that tb's cleanup closes.
func Connect(tb testing.TB, instance *postgres.Instance, db string) *pgx.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, instance.DSN(db))
	if err != nil {
		tb.Fatalf("connect to test server: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_ = conn.Close(ctx) // the server may be gone, which is what some tests are about
	})
	return conn
}

// CreateDatabase creates a database with the given encoding ("" = UTF8) and returns its DSN.
func CreateDatabase(tb testing.TB, instance *postgres.Instance, name, encoding string) string {
	tb.Helper()
	if encoding == "" {
		encoding = "UTF8"
	}
	conn := Connect(tb, instance, "postgres")
	sql := fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE 'C' LC_CTYPE 'C'",
		`"`+name+`"`, "'"+encoding+"'")
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		tb.Fatalf("create test database: %v", err)
	}
	return instance.DSN(name)
}
