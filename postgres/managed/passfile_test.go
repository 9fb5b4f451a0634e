package managed_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
)

// wantPassFile checks the text of a server's password file, and that only PostgreSQL's user may read it.
func wantPassFile(t *testing.T, cfg managed.Config, want string) {
	t.Helper()
	path := filepath.Join(cfg.SocketDir, "passfile")
	if got := string(readAll(t, path)); got != want {
		t.Errorf("the password file holds %q, want %q", got, want)
	}
	info, err := os.Lstat(path)
	must(t, err)
	owner, err := postgres.FindOwner("postgres")
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != owner.UID || info.Mode() != 0o600 {
		t.Errorf("the password file has owner %d and mode %v", st.Uid, info.Mode())
	}
}

func TestPassFile(t *testing.T) {
	server, cfg := newData(t)
	path := filepath.Join(cfg.SocketDir, "passfile")
	settings := func(secret string) managed.Settings {
		return managed.Settings{PrimaryConninfo: managed.Conninfo(managed.Target{Host: "127.0.0.1", Port: 1, Secret: secret})}
	}
	configure(t, server, managed.Settings{})
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a password file without a password: %v", err)
	}
	for secret, line := range map[string]string{
		"plainly": "plainly", `co:lon`: `co\:lon`, `back\slash`: `back\\slash`, `\:`: `\\\:`, `it's = "one"`: `it's = "one"`,
	} {
		if changes := strings.Join(configure(t, server, settings(secret)), "\n"); !strings.Contains(changes, "passfile: ") || strings.Contains(changes, secret) {
			t.Errorf("changes for %s are %s", secret, changes)
		}
		wantPassFile(t, cfg, "*:*:*:pgraft_replication:"+line+"\n")
		wantNoPassword(t, cfg, "password=", secret, line)
		if changes := configure(t, server, settings(secret)); len(changes) != 0 {
			t.Errorf("changes for the second time: %q", changes)
		}
	}
	if _, err := server.WriteConfig(testContext(t), settings("two\nlines")); err == nil || strings.Contains(err.Error(), "two") {
		t.Errorf("a password of two lines: %v", err)
	}
	configure(t, server, settings("kept"))
	configure(t, server, managed.Settings{}) // cut off: it will follow again
	wantPassFile(t, cfg, "*:*:*:pgraft_replication:kept\n")
	must(t, os.Chmod(path, 0o644)) // then libpq passes over it
	configure(t, server, settings("kept"))
	wantPassFile(t, cfg, "*:*:*:pgraft_replication:kept\n")
	must(t, os.RemoveAll(cfg.SocketDir)) // as when the machine was started anew
	must(t, server.Start(testContext(t)))
	wantPassFile(t, cfg, "*:*:*:pgraft_replication:kept\n")
}

// wantNoPassword checks that none of the words are in a server's log and in the configuration in its data directory.
func wantNoPassword(t *testing.T, cfg managed.Config, words ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.DataDir, "*.conf*"))
	must(t, err)
	if _, err := os.Stat(cfg.LogFile); err == nil {
		files = append(files, cfg.LogFile)
	}
	for _, file := range files {
		for line := range strings.Lines(string(readAll(t, file))) {
			for _, word := range words {
				if strings.Contains(line, word) && !strings.HasPrefix(line, "#") {
					t.Errorf("%s has %q: %s", file, word, line)
				}
			}
		}
	}
}

// TestPassFileIsUsed clones and streams, takes over a standby whose configuration has the password, and follows it when
// it changes.
func TestPassFileIsUsed(t *testing.T) {
	primary, _ := newPrimary(t)
	standby, cfg := newStandby(t, primary)
	conninfo := query(t, standby, "SELECT current_setting('primary_conninfo')")
	if !strings.HasSuffix(conninfo, " passfile="+filepath.Join(cfg.SocketDir, "passfile")) {
		t.Errorf("it streams from %s", conninfo)
	}
	if os.Geteuid() == 0 { // as which pgx may read it
		parsed, err := pgconn.ParseConfig(conninfo)
		must(t, err)
		if parsed.Password != replicationSecret {
			t.Errorf("pgx reads the password %q", parsed.Password)
		}
	}
	streams := func(what string) {
		t.Helper()
		eventually(t, what, func() error {
			if got := query(t, primary, "SELECT count(*)::text FROM pg_stat_replication WHERE state = 'streaming'"); got != "1" {
				return errors.New("streams: " + got)
			}
			return nil
		})
	}
	settings := managed.Settings{PrimaryConninfo: allowReplication(t, primary, "standby")}

	must(t, standby.StopQuickly(testContext(t)))
	own := filepath.Join(cfg.DataDir, "pgraft.conf")
	old := strings.Replace(string(readAll(t, own)), postgres.QuoteParam(conninfo), postgres.QuoteParam(settings.PrimaryConninfo), 1)
	must(t, os.WriteFile(own, []byte(old), 0o600))
	must(t, os.Remove(filepath.Join(cfg.SocketDir, "passfile")))
	binDir, err := postgres.FindBinDir("")
	must(t, err)
	asPostgres(t, filepath.Join(binDir, "pg_ctl"), "-D", cfg.DataDir, "-w", "-l", cfg.LogFile, "start")
	streams("the old configuration streams")
	if got := query(t, standby, "SELECT current_setting('primary_conninfo')"); !strings.Contains(got, "password=") {
		t.Fatalf("the old configuration is %s", got)
	}
	if changes := configure(t, openServer(t, cfg), settings); len(changes) < 2 {
		t.Errorf("changes are %q", changes)
	}
	must(t, standby.Reload(testContext(t)))
	eventually(t, "it has the new configuration", func() error {
		if got := query(t, standby, "SELECT current_setting('primary_conninfo')"); got != conninfo {
			return errors.New(got)
		}
		return nil
	})
	streams("the new configuration streams")

	must(t, standby.StopQuickly(testContext(t)))
	must(t, primary.EnsureReplicationRole(testContext(t), "anew"))
	settings.PrimaryConninfo = managed.Conninfo(managed.Target{Host: "127.0.0.1", Port: primary.Port(), Secret: "anew", AppName: "standby"})
	configure(t, standby, settings)
	must(t, standby.Start(testContext(t)))
	streams("a new password is taken up")
	wantNoPassword(t, cfg, "password=", "s secret", "anew")
}
