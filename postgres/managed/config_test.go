package managed_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(path...))
	must(t, err)
	return string(raw)
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	must(t, f.Close())
}

func TestWriteConfig(t *testing.T) {
	server, cfg := newData(t, func(c *managed.Config) { c.HBA = []string{"host all all 127.0.0.1/32 trust"} })
	if changes := configure(t, server, managed.Settings{}); len(changes) == 0 {
		t.Error("no changes for the first time")
	}
	if changes := configure(t, server, managed.Settings{}); len(changes) != 0 {
		t.Errorf("changes for the second time: %q", changes)
	}
	changes := configure(t, server, managed.Settings{PrimaryConninfo: "host=a password=hush", Cluster: map[string]string{"work_mem": "9MB"}})
	want := []string{"passfile: the replication role's password",
		"pgraft.conf: primary_conninfo = 'host=a passfile=" + filepath.Join(cfg.SocketDir, "passfile") + "'", "pgraft.conf: work_mem = '9MB'"}
	if strings.Join(changes, "\n") != strings.Join(want, "\n") {
		t.Errorf("got changes %q, want %q", changes, want)
	}
	configure(t, server, managed.Settings{Cluster: map[string]string{"work_mem": "9MB"}})
	appendTo(t, filepath.Join(cfg.DataDir, "postgresql.conf"), "work_mem = 1MB\nwal_keep_size = 80MB\n")
	configure(t, server, managed.Settings{Cluster: map[string]string{"work_mem": "9MB"}})
	must(t, server.Start(testContext(t)))
	for name, want := range map[string]string{
		"work_mem": "9MB", "wal_keep_size": "80MB", "port": fmt.Sprint(cfg.Port), "max_connections": "30",
		"restart_after_crash": "off", "wal_log_hints": "on", "max_slot_wal_keep_size": "4GB", "unix_socket_directories": cfg.SocketDir,
	} {
		if got := query(t, server, "SELECT current_setting('"+name+"')"); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if errors := query(t, server, "SELECT count(*)::text FROM pg_file_settings WHERE error IS NOT NULL"); errors != "0" {
		t.Errorf("PostgreSQL finds %s errors in its configuration", errors)
	}
	for _, file := range []string{"pgraft.conf", "postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		info, err := os.Stat(filepath.Join(cfg.DataDir, file))
		must(t, err)
		owner, err := postgres.FindOwner("postgres")
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != owner.UID || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has owner %d, mode %o", file, st.Uid, info.Mode())
		}
	}
	other := openServer(t, cfg)
	t.Run("the first of another agent", func(t *testing.T) {
		settings := managed.Settings{Cluster: map[string]string{"work_mem": "9MB"}}
		if changes := configure(t, other, settings); len(changes) == 0 {
			t.Error("nothing asks for the reload that the agent before may have missed")
		}
		if changes := configure(t, other, settings); len(changes) != 0 {
			t.Errorf("changes for the second time: %q", changes)
		}
	})
	t.Run("ALTER SYSTEM", func(t *testing.T) { testAlterSystem(t, server, cfg) })
}

func testAlterSystem(t *testing.T, server *managed.Server, cfg managed.Config) {
	t.Helper()
	set := func() {
		t.Helper()
		for _, sql := range []string{
			"ALTER SYSTEM SET synchronous_standby_names = '*'", "ALTER SYSTEM SET port = 1", "ALTER SYSTEM SET log_statement = 'ddl'",
			"ALTER SYSTEM SET primary_conninfo = 'host=evil password=hush'",
		} {
			mustExec(t, server, sql)
		}
	}
	check := func(settings managed.Settings) {
		t.Helper()
		changes := strings.Join(configure(t, server, settings), "\n")
		for _, want := range []string{"removed port = '1'", "removed synchronous_standby_names = '*'", "password=xxxxx"} {
			if !strings.Contains(changes, want) {
				t.Errorf("changes %q don't say %q", changes, want)
			}
		}
		auto := read(t, cfg.DataDir, "postgresql.auto.conf")
		if strings.Contains(auto, "port") || strings.Contains(auto, "evil") || !strings.Contains(auto, "log_statement = 'ddl'") {
			t.Errorf("postgresql.auto.conf is now:\n%s", auto)
		}
		if changes := configure(t, server, settings); len(changes) != 0 {
			t.Errorf("changes for the second time: %q", changes)
		}
	}
	settings := managed.Settings{Cluster: map[string]string{"work_mem": "9MB"}}
	set()
	check(settings)
	set()
	must(t, server.StopQuickly(testContext(t)))
	check(settings)
	must(t, server.Start(testContext(t)))
}

func TestGate(t *testing.T) {
	server, cfg := newData(t, func(c *managed.Config) { c.HBA = []string{"host all all 127.0.0.1/32 trust"} })
	configure(t, server, managed.Settings{Gated: true})
	must(t, server.Start(testContext(t)))
	enter := func() error {
		dsn := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable", cfg.Port)
		conn, err := pgx.Connect(testContext(t), dsn)
		if err == nil {
			_ = conn.Close(testContext(t))
		}
		return err
	}
	if err := enter(); err == nil || !strings.Contains(err.Error(), "pg_hba.conf rejects") {
		t.Errorf("a client at the gate got %v", err)
	}
	query(t, server, "SELECT 'the agent gets in'")
	allowReplication(t, server, "")
	clone, _ := newServer(t)
	must(t, clone.Clone(testContext(t), managed.CloneSource{Conninfo: allowReplication(t, server, "")}, nil))
	configure(t, server, managed.Settings{})
	reload(t, server)
	eventually(t, "clients get in", enter)
}

// As root in these tests, the agent gets in as root; PostgreSQL's own user is the agent's where it is not root.
func TestSocketLetsBothUsersIn(t *testing.T) {
	server, cfg := newPrimary(t)
	out := asPostgres(t, filepath.Join("/usr/bin", "env"), "psql", "-h", cfg.SocketDir, "-p", fmt.Sprint(cfg.Port), "-U", "postgres", "-Atc", "SELECT 6*7")
	if strings.TrimSpace(out) != "42" {
		t.Errorf("PostgreSQL's user got: %s", out)
	}
	if os.Geteuid() != 0 {
		return
	}
	query(t, server, "SELECT 'root'")
	cmd := exec.Command("psql", "-h", cfg.SocketDir, "-p", fmt.Sprint(cfg.Port), "-U", "postgres", "-Atc", "SELECT 1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("another user got in: %s", out)
	}
}

func TestConnectIgnoresWhatRolesSet(t *testing.T) {
	server, _ := newPrimary(t)
	mustExec(t, server, "ALTER ROLE postgres SET search_path = evil")
	mustExec(t, server, "ALTER ROLE postgres SET statement_timeout = 1")
	if got := query(t, server, "SELECT current_setting('search_path') || current_setting('statement_timeout')"); got != "pg_catalog0" {
		t.Errorf("got %s", got)
	}
}

func TestAdoptDebian(t *testing.T) {
	server, cfg := newData(t)
	etc := filepath.Join(filepath.Dir(cfg.DataDir), "etc")
	main := filepath.Join(etc, "15", "main")
	must(t, os.MkdirAll(filepath.Join(main, "conf.d"), 0o755))
	for _, file := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		must(t, os.Rename(filepath.Join(cfg.DataDir, file), filepath.Join(main, file)))
	}
	more := filepath.Join(filepath.Dir(cfg.DataDir), "more-sockets")
	owner, err := postgres.FindOwner("postgres")
	must(t, err)
	must(t, owner.MakeDir(more, 0o755))
	appendTo(t, filepath.Join(main, "postgresql.conf"), fmt.Sprintf("data_directory = '%s'\nhba_file = '%s'\nident_file = '%s'\n"+
		"external_pid_file = '/nowhere/15-main.pid'\nport = 5432\nunix_socket_directories = '%s, /nowhere/sockets'\ninclude_dir = 'conf.d'\nwork_mem = 3MB\n",
		cfg.DataDir, filepath.Join(main, "pg_hba.conf"), filepath.Join(main, "pg_ident.conf"), more))
	must(t, os.WriteFile(filepath.Join(main, "conf.d", "x.conf"), []byte("maintenance_work_mem = 33MB\nmax_wal_senders = 17\n"), 0o644))
	appendTo(t, filepath.Join(main, "pg_hba.conf"), "host all adopted all reject\n")
	server.SetDebianConfigs(etc)
	changes := strings.Join(configure(t, server, managed.Settings{}), "\n")
	for _, want := range []string{"postgresql.conf: copied from " + main, "removed hba_file", "removed data_directory", "port = "} {
		if !strings.Contains(changes, want) {
			t.Errorf("changes don't say %q:\n%s", want, changes)
		}
	}
	if changes := configure(t, server, managed.Settings{}); len(changes) != 0 {
		t.Errorf("changes for the second time: %q", changes)
	}
	must(t, server.Start(testContext(t)))
	for name, want := range map[string]string{
		"work_mem": "3MB", "maintenance_work_mem": "33MB", "max_wal_senders": "17", "port": fmt.Sprint(cfg.Port),
		"unix_socket_directories": cfg.SocketDir + ", " + more, "config_file": filepath.Join(cfg.DataDir, "postgresql.conf"),
	} {
		if got := query(t, server, "SELECT current_setting('"+name+"')"); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := query(t, server, "SELECT count(*)::text FROM pg_hba_file_rules WHERE user_name = '{adopted}'"); got != "1" {
		t.Errorf("%s lines of the old pg_hba.conf are there", got)
	}
}

func TestWriteConfigRefusesTwoLinesInOne(t *testing.T) {
	server, _ := newServer(t, func(c *managed.Config) { c.HBA = []string{"local all all peer\nhost all all all trust"} })
	_, err := server.WriteConfig(testContext(t), managed.Settings{})
	wantProblem(t, err, "postgres.hba")
}
