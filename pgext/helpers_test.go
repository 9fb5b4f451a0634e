package pgext_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/pgext"
	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

func exec1(tb testing.TB, conn *pgx.Conn, sql string, args ...any) {
	tb.Helper()
	if _, err := conn.Exec(testContext(tb), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// text returns the single value of a query as text, <null> for null.
func text(tb testing.TB, conn *pgx.Conn, sql string) string {
	tb.Helper()
	rows, err := conn.PgConn().Exec(testContext(tb), sql).ReadAll()
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	var out []string
	for _, row := range rows[len(rows)-1].Rows {
		var values []string
		for _, value := range row {
			if value == nil {
				value = []byte("<null>")
			}
			values = append(values, string(value))
		}
		out = append(out, strings.Join(values, "|"))
	}
	return strings.Join(out, "\n")
}

func mustInstall(tb testing.TB, conn *pgx.Conn, opt pgext.InstallOptions) pgext.InstallReport {
	tb.Helper()
	report, err := pgext.Install(testContext(tb), conn, opt)
	if err != nil {
		tb.Fatalf("install: %v", err)
	}
	return report
}

func installError(tb testing.TB, conn *pgx.Conn, opt pgext.InstallOptions) *pgext.InstallError {
	tb.Helper()
	_, err := pgext.Install(testContext(tb), conn, opt)
	var e *pgext.InstallError
	if !errors.As(err, &e) {
		tb.Fatalf("install: got %v, want an *InstallError", err)
	}
	return e
}

// openDir is a temporary directory that the server's user may enter too.
func openDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pgraft-ext-") //nolint:usetesting // nobody else may enter a tb.TempDir
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// privateServer runs PostgreSQL from a copy of its programs. The server finds SHAREDIR by the place of its program, so
// the test has an extension directory of its own.
func privateServer(t *testing.T, opts ...postgrestest.Option) *postgres.Instance {
	t.Helper()
	bin, err := postgres.FindBinDir("")
	if err != nil {
		t.Skipf("SKIPPED, needs a real PostgreSQL: %v", err)
	}
	ask := func(what string) string {
		out, err := exec.Command(filepath.Join(bin, "pg_config"), what).Output()
		if err != nil {
			t.Skipf("SKIPPED, needs pg_config: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	root := openDir(t)
	link := func(old, name string) {
		if err := os.MkdirAll(filepath.Dir(root+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(old, root+name); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"postgres", "initdb", "pg_ctl", "pg_config", "pg_controldata"} {
		content, err := os.ReadFile(filepath.Join(bin, program))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, bin, program)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(ask("--pkglibdir"), ask("--pkglibdir"))
	share := ask("--sharedir")
	for _, dir := range []string{share, filepath.Join(share, "extension")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "extension" && !strings.HasPrefix(e.Name(), "pgraft") {
				link(filepath.Join(dir, e.Name()), filepath.Join(dir, e.Name()))
			}
		}
	}
	opts = append(opts, postgrestest.NoSync, func(cfg *postgres.Config) { cfg.BinDir = filepath.Join(root, bin) })
	instance := postgrestest.TempInstance(t, opts...)
	conn := postgrestest.Connect(t, instance, "postgres")
	if got := text(t, conn, "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'"); got != root+share {
		t.Skipf("SKIPPED, this PostgreSQL's SHAREDIR is not relative to its programs: %s", got)
	}
	return instance
}

// chownAll gives everything under dir to the owner of a file.
func chownAll(dir string, owner os.FileInfo) error {
	stat, ok := owner.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(stat.Uid), int(stat.Gid))
	})
}
