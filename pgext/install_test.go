package pgext_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/pgext"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

func inline() pgext.InstallOptions {
	return pgext.InstallOptions{RunDir: "/nowhere", ConsolePort: 7403, NodeName: "n1", NoFiles: true, ExtensionDir: "/nowhere"}
}

func TestInstallAsExtension(t *testing.T) {
	server := privateServer(t)
	conn := postgrestest.Connect(t, server, "postgres")
	opt := pgext.InstallOptions{RunDir: "/run/x", ConsolePort: 7403, NodeName: "n1"}

	planned, err := pgext.Plan(testContext(t), conn, opt)
	if err != nil {
		t.Fatal(err)
	}
	report := mustInstall(t, conn, opt)
	if report.Inline || report.FilesError != nil || report.Version != "1.0" {
		t.Errorf("got %+v, want version 1.0 as an extension", report)
	}
	if got, want := whats(report.Changes), whats(planned); !slices.Equal(got, want) {
		t.Errorf("did %q, planned %q", got, want)
	}
	if got := text(t, conn, "SELECT extversion FROM pg_extension WHERE extname = 'pgraft'"); got != "1.0" {
		t.Errorf("extension's version is %q", got)
	}
	if got := text(t, conn, "SELECT pgraft_is_leader(), pgraft_get_worker_state()"); got != "f|STOPPED" {
		t.Errorf("functions answer %q", got)
	}
	if again := mustInstall(t, conn, opt); len(again.Changes) != 0 {
		t.Errorf("second installation did %q", whats(again.Changes))
	}

	opt.RunDir = `/run/it's a \ place`
	if again := mustInstall(t, conn, opt); len(again.Changes) != 1 {
		t.Errorf("a new run_dir took %q", whats(again.Changes))
	}
	if got := text(t, conn, "SELECT run_dir, console_port, node_name FROM pgraft.local"); got != opt.RunDir+"|7403|n1" {
		t.Errorf("table pgraft.local has %q", got)
	}
	if err := pgext.Uninstall(testContext(t), conn, opt); err != nil {
		t.Fatal(err)
	}
	if got := text(t, conn, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgraft'"); got != "0" {
		t.Error("schema pgraft is still there")
	}
	if again := mustInstall(t, conn, opt); again.Inline || again.Version != "1.0" {
		t.Errorf("installation after removal: %+v", again)
	}
}

func whats(changes []pgext.Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.What)
	}
	return out
}

func TestInstallInline(t *testing.T) {
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	conn := postgrestest.Connect(t, server, "postgres")
	report := mustInstall(t, conn, inline())
	if !report.Inline || report.Version != "1.0" {
		t.Errorf("got %+v, want version 1.0 inline", report)
	}
	if got := text(t, conn, "SELECT pgraft_get_worker_state(), (SELECT count(*) FROM pgraft.health)"); got != "STOPPED|7" {
		t.Errorf("functions answer %q", got)
	}
	if again := mustInstall(t, conn, inline()); len(again.Changes) != 0 || !again.Inline {
		t.Errorf("second installation: %+v", again)
	}
	if err := pgext.Uninstall(testContext(t), conn, inline()); err != nil {
		t.Fatal(err)
	}
	left := text(t, conn, `SELECT (SELECT count(*) FROM pg_proc WHERE proname LIKE 'pgraft\_%') + (SELECT count(*) FROM pg_namespace WHERE nspname = 'pgraft')`)
	if left != "0" {
		t.Errorf("%s objects are left", left)
	}
	mustInstall(t, conn, inline())
	exec1(t, conn, "DROP SCHEMA pgraft CASCADE") // as hints tell people to do
	if report := mustInstall(t, conn, inline()); report.Version != "1.0" {
		t.Errorf("after DROP SCHEMA: %+v", report)
	}
}

// TestInstallAtOnce has agents of several databases share a server and its directory.
func TestInstallAtOnce(t *testing.T) {
	server := privateServer(t)
	postgrestest.CreateDatabase(t, server, "other", "")
	var wg sync.WaitGroup
	for i := range 8 {
		conn := postgrestest.Connect(t, server, []string{"postgres", "other"}[i%2])
		wg.Go(func() {
			if _, err := pgext.Install(context.Background(), conn, pgext.InstallOptions{RunDir: "/run/x", ConsolePort: 7403}); err != nil {
				t.Errorf("install: %v", err)
			}
		})
	}
	wg.Wait()
}

// nextVersion is this build's files and a later version with one more function.
func nextVersion(t *testing.T) pgext.Files {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range []string{"pgraft.control", "pgraft--1.0.sql"} {
		content, err := os.ReadFile(filepath.Join("sql", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: content}
	}
	files["pgraft.control"].Data = []byte(strings.Replace(string(files["pgraft.control"].Data), "'1.0'", "'1.2'", 1))
	files["pgraft--1.0--1.1.sql"] = &fstest.MapFile{Data: []byte(`\echo Use ALTER EXTENSION \quit
CREATE OR REPLACE FUNCTION pgraft.version() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$SELECT '1.1'::text$$;
`)}
	files["pgraft--1.1--1.2.sql"] = &fstest.MapFile{Data: []byte(`
CREATE OR REPLACE FUNCTION pgraft.version() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$SELECT '1.2'::text$$;
CREATE FUNCTION @extschema@.pgraft_new() RETURNS text LANGUAGE sql AS $$SELECT 'new'::text$$;
`)}
	return pgext.NewFiles(files)
}

func TestUpgrade(t *testing.T) {
	server := privateServer(t)
	for _, mode := range []string{"extension", "inline"} {
		t.Run(mode, func(t *testing.T) {
			postgrestest.CreateDatabase(t, server, mode, "")
			conn := postgrestest.Connect(t, server, mode)
			opt := pgext.InstallOptions{RunDir: "/run/x", ConsolePort: 7403}
			if mode == "inline" {
				opt = inline()
			}
			mustInstall(t, conn, opt)
			exec1(t, conn, "INSERT INTO pgraft.kv (key, value, version, create_index, modify_index) VALUES ('a', 'b', 1, 1, 1)")

			later := opt
			later.Files = nextVersion(t)
			if report := mustInstall(t, conn, later); report.Version != "1.2" || report.Inline != (mode == "inline") {
				t.Errorf("after the upgrade: %+v", report)
			}
			if got := text(t, conn, "SELECT pgraft_new(), pgraft.version(), (SELECT value FROM pgraft.kv)"); got != "new|1.2|b" {
				t.Errorf("got %q", got)
			}
			if report := mustInstall(t, conn, opt); !report.Newer || report.Version != "1.2" {
				t.Errorf("an older agent found %+v, want the newer version left alone", report)
			}
		})
	}
}

// TestForeignExtension has something else by the name of pgraft, with a module of its own.
func TestForeignExtension(t *testing.T) {
	server := privateServer(t)
	conn := postgrestest.Connect(t, server, "postgres")
	dir := filepath.Join(text(t, conn, "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'"), "extension")
	for name, content := range map[string]string{
		"pgraft.control":  "default_version = '1.0'\nmodule_pathname = '$libdir/pgraft'\n",
		"pgraft--1.0.sql": "CREATE FUNCTION pgraft_other() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opt := pgext.InstallOptions{RunDir: "/run/x", ConsolePort: 7403}
	if report := mustInstall(t, conn, opt); !report.Inline || len(report.Changes) == 0 {
		t.Errorf("beside another extension's files: %+v", report)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "pgraft.control")); err != nil || !strings.Contains(string(got), "module_pathname") {
		t.Errorf("its control file: %q, %v", got, err)
	}
	postgrestest.CreateDatabase(t, server, "other", "")
	conn = postgrestest.Connect(t, server, "other")
	exec1(t, conn, "CREATE EXTENSION pgraft")
	if e := installError(t, conn, opt); e.Kind != pgext.InstallForeign || !strings.Contains(e.Message, "another extension") {
		t.Errorf("beside another extension: %v", e)
	}
}

func TestInstallRefuses(t *testing.T) {
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	admin := postgrestest.Connect(t, server, "postgres")
	exec1(t, admin, "CREATE ROLE plain LOGIN; CREATE ROLE prepared LOGIN")
	as := func(t *testing.T, role, db string) *pgx.Conn {
		t.Helper()
		cfg, err := pgx.ParseConfig(server.DSN(db))
		if err != nil {
			t.Fatal(err)
		}
		cfg.User = role
		conn, err := pgx.ConnectConfig(testContext(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}

	t.Run("no rights, and what to grant", func(t *testing.T) {
		postgrestest.CreateDatabase(t, server, "rights", "")
		e := installError(t, as(t, "plain", "rights"), inline())
		if e.Kind != pgext.InstallNoRights || !strings.Contains(e.Hint, `GRANT pg_read_server_files TO "plain"`) {
			t.Errorf("got %v", e)
		}
	})
	t.Run("a prepared role owns it", func(t *testing.T) {
		postgrestest.CreateDatabase(t, server, "prepared", "")
		sup := postgrestest.Connect(t, server, "prepared")
		conn := as(t, "prepared", "prepared")
		exec1(t, sup, "CREATE EXTENSION dblink; CREATE ROLE pgraft_admin")
		e := installError(t, conn, inline())
		_, grants, _ := strings.Cut(e.Hint, "run there: ")
		exec1(t, sup, grants)
		if report := mustInstall(t, conn, inline()); report.Version != "1.0" {
			t.Errorf("got %+v", report)
		}
		if got := text(t, conn, "SELECT pgraft_get_worker_state()"); got != "STOPPED" {
			t.Errorf("got %q", got)
		}
		if e := installError(t, as(t, "plain", "prepared"), inline()); e.Kind != pgext.InstallNoRights && e.Kind != pgext.InstallForeign {
			t.Errorf("got %v", e)
		}
		if e := installError(t, sup, inline()); e.Kind != pgext.InstallForeign {
			t.Errorf("a superuser took over objects of another role: %v", e)
		}
	})
	t.Run("a schema of somebody else", func(t *testing.T) {
		postgrestest.CreateDatabase(t, server, "foreign", "")
		sup := postgrestest.Connect(t, server, "foreign")
		exec1(t, sup, "CREATE SCHEMA pgraft")
		if e := installError(t, sup, inline()); e.Kind != pgext.InstallForeign {
			t.Errorf("got %v", e)
		}
		exec1(t, sup, "ALTER SCHEMA pgraft OWNER TO plain")
		if e := installError(t, sup, inline()); e.Kind != pgext.InstallForeign {
			t.Errorf("got %v", e)
		}
	})
	t.Run("a role for the agent", func(t *testing.T) {
		postgrestest.CreateDatabase(t, server, "agent", "")
		sup := postgrestest.Connect(t, server, "agent")
		opt := inline()
		opt.AgentRole = "pgraft agent"
		mustInstall(t, sup, opt)
		if again := mustInstall(t, sup, opt); len(again.Changes) != 0 {
			t.Errorf("second installation did %q", whats(again.Changes))
		}
		conn := as(t, "pgraft agent", "agent")
		if again := mustInstall(t, conn, inline()); len(again.Changes) != 0 {
			t.Errorf("the agent's role did %q", whats(again.Changes))
		}
		exec1(t, conn, "SELECT pgraft.advance(0, 5, 1, 'c')")
		exec1(t, conn, "INSERT INTO pgraft.kv (key, value, version, create_index, modify_index) VALUES ('a', 'b', 1, 1, 1)")
	})
}
