package managed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
	"github.com/pgraft/pgraft/postgres/wal"
)

func inspect(t *testing.T, server *managed.Server) managed.Data {
	t.Helper()
	data, err := server.Inspect(testContext(t))
	must(t, err)
	return data
}

func TestInspect(t *testing.T) {
	server, cfg := newServer(t)
	if data := inspect(t, server); !data.Empty {
		t.Errorf("before there is a directory: %+v", data)
	}
	must(t, os.MkdirAll(filepath.Join(cfg.DataDir, "lost+found"), 0o700))
	if data := inspect(t, server); !data.Empty {
		t.Errorf("a new file system: %+v", data)
	}
	must(t, server.InitDB(testContext(t), managed.InitOptions{}))
	data := inspect(t, server)
	if data.Empty || data.Partial || data.Major != server.Major() || data.SystemID == "" || !data.CleanShutdown() || data.Timeline != 1 ||
		data.Checkpoint == 0 || !data.DataChecksums || data.StandbySignal {
		t.Errorf("new data: %+v", data)
	}
	must(t, server.Standby(true))
	must(t, server.Standby(true))
	if data := inspect(t, server); !data.StandbySignal {
		t.Error("no standby.signal")
	}
	must(t, server.Standby(false))
	must(t, server.Standby(false))
	configure(t, server, managed.Settings{})
	must(t, server.Start(testContext(t)))
	if data := inspect(t, server); data.State != "in production" || data.StandbySignal {
		t.Errorf("running: %+v", data)
	}
	must(t, server.Kill(testContext(t)))
	if data := inspect(t, server); data.CleanShutdown() || !data.WALLogHints {
		t.Errorf("killed: %+v", data)
	}
	if err := server.InitDB(testContext(t), managed.InitOptions{}); err == nil {
		t.Error("InitDB over data")
	} else {
		wantProblem(t, err, "not empty")
	}
}

func TestInspectFindsProblems(t *testing.T) {
	server, cfg := newData(t)
	version := filepath.Join(cfg.DataDir, "PG_VERSION")
	for name, tc := range map[string]struct {
		spoil, mend func() error
		words       []string
	}{
		"mode": {
			func() error { return os.Chmod(cfg.DataDir, 0o755) }, func() error { return os.Chmod(cfg.DataDir, 0o700) },
			[]string{"mode 0755", "chmod 0700"},
		},
		"version": {
			func() error { return os.WriteFile(version, []byte("14\n"), 0o600) },
			func() error { return os.WriteFile(version, []byte("15\n"), 0o600) },
			[]string{"is of PostgreSQL 14", "bin_dir", "pg_upgrade"},
		},
		"foreign": {
			func() error { return os.Rename(version, version+".not") }, func() error { return os.Rename(version+".not", version) },
			[]string{"not empty", "postgres.data_dir"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, tc.spoil())
			_, err := server.Inspect(testContext(t))
			wantProblem(t, err, tc.words...)
			must(t, tc.mend())
			inspect(t, server)
		})
	}
	t.Run("owner", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("SKIPPED, needs root")
		}
		must(t, os.Chown(cfg.DataDir, 0, 0))
		_, err := server.Inspect(testContext(t))
		wantProblem(t, err, "belongs to user root", "chown -R postgres")
	})
	t.Run("file", func(t *testing.T) {
		server, cfg := newServer(t)
		must(t, os.WriteFile(cfg.DataDir, nil, 0o600))
		_, err := server.Inspect(testContext(t))
		wantProblem(t, err, "no directory")
	})
	wantProblem(t, managed.OtherMajor(15, 16), "PostgreSQL 15", "install PostgreSQL 16")
}

func TestFingerprint(t *testing.T) {
	server, cfg := newData(t)
	name := func() string {
		t.Helper()
		name, err := server.Fingerprint()
		must(t, err)
		return name
	}
	before := name()
	configure(t, server, managed.Settings{})
	must(t, server.Start(testContext(t)))
	mustExec(t, server, "CREATE TABLE public.t AS SELECT generate_series(1, 1000)")
	must(t, server.StopQuickly(testContext(t)))
	if after := name(); after != before {
		t.Errorf("work changed the fingerprint from %s to %s", before, after)
	}
	must(t, server.Mark("first"))
	first := name()
	if first == before || first != managed.Marked(before, "first") {
		t.Errorf("marked, %s has fingerprint %s", before, first)
	}
	must(t, server.Mark("second"))
	if second := name(); second == first || second != managed.Marked(first, "second") {
		t.Errorf("marked again, %s has fingerprint %s", first, second)
	}
	before = name()
	must(t, os.Rename(cfg.DataDir, cfg.DataDir+".moved"))
	if _, err := server.Fingerprint(); err == nil {
		t.Error("a fingerprint of nothing")
	}
	must(t, exec.Command("cp", "-a", cfg.DataDir+".moved", cfg.DataDir).Run())
	if after := name(); after == before {
		t.Error("a copy has the same fingerprint")
	}
	must(t, os.RemoveAll(cfg.DataDir))
	must(t, os.Rename(cfg.DataDir+".moved", cfg.DataDir))
	if after := name(); after != before {
		t.Errorf("moved away and back it has fingerprint %s, had %s", after, before)
	}
}

func TestClone(t *testing.T) {
	primary, _ := newPrimary(t)
	mustExec(t, primary, "CREATE TABLE public.t AS SELECT generate_series(1, 1000) AS n")
	conninfo := allowReplication(t, primary, "")
	mustExec(t, primary, "SELECT pg_create_physical_replication_slot('pgraft_2')")
	server, cfg := newServer(t)
	// What a clone left that did not finish.
	owner, err := postgres.FindOwner("postgres")
	must(t, err)
	must(t, owner.MakeDir(filepath.Join(cfg.DataDir, "pgraft.new", "base"), 0o700))
	if data := inspect(t, server); !data.Partial {
		t.Fatalf("not partial: %+v", data)
	}
	if _, err := server.Fingerprint(); !errors.Is(err, managed.ErrPartial) {
		t.Errorf("fingerprint of an unfinished clone: %v", err)
	}
	var done, total atomic.Int64
	must(t, server.Clone(testContext(t), managed.CloneSource{Conninfo: conninfo, Slot: "pgraft_2"}, func(d, of int64) {
		done.Store(d)
		total.Store(of)
	}))
	if done.Load() == 0 || done.Load() > total.Load()*11/10 {
		t.Errorf("progress ended at %d of %d", done.Load(), total.Load())
	}
	data, source := inspect(t, server), inspect(t, primary)
	if data.Empty || data.Partial || data.SystemID != source.SystemID {
		t.Errorf("cloned data: %+v", data)
	}
	if err := server.Start(testContext(t)); !errors.Is(err, managed.ErrNotConfigured) {
		t.Errorf("started with the source's configuration: %v", err)
	}
	follow(t, server, primary)
	if got := query(t, server, "SELECT sum(n)::text FROM public.t"); got != "500500" {
		t.Errorf("got %s", got)
	}
	if got := query(t, primary, "SELECT (restart_lsn IS NOT NULL)::text FROM pg_replication_slots"); got != "true" {
		t.Error("the slot keeps no WAL")
	}
}

// TestStandbyStartsWithLimitsOfPrimary: a limit that is lowered for all must not keep a standby from starting as long as
// its primary has the higher one.
func TestStandbyStartsWithLimitsOfPrimary(t *testing.T) {
	primary, _ := newPrimary(t, func(c *managed.Config) { c.NodeParams["max_wal_senders"] = "14" })
	standby, _ := newStandby(t, primary, func(c *managed.Config) { c.NodeParams["max_connections"] = "20" })
	want := func(limits string) {
		t.Helper()
		if got := query(t, standby, "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN ('max_connections', 'max_wal_senders')"); got != limits {
			t.Errorf("limits are %s, want %s", got, limits)
		}
	}
	want("30 14")
	configure(t, standby, managed.Settings{})
	reload(t, standby)
	eventually(t, "what waits for a restart is told", func() error {
		live, err := standby.Observe(testContext(t))
		must(t, err)
		if text := fmt.Sprint(live.PendingRestart); text != "[{max_connections 30 20} {max_wal_senders 14 10}]" {
			return fmt.Errorf("pending: %s", text)
		}
		return nil
	})
	must(t, standby.StopQuickly(testContext(t)))
	configure(t, standby, managed.Settings{})
	must(t, standby.Start(testContext(t)))
	want("30 14")
}

func TestCloneFails(t *testing.T) {
	primary, _ := newPrimary(t)
	conninfo := allowReplication(t, primary, "")
	server, _ := newServer(t)
	t.Run("password", func(t *testing.T) {
		err := server.Clone(testContext(t), managed.CloneSource{Conninfo: strings.Replace(conninfo, "secret", "wrong", 1)}, nil)
		if err == nil || !strings.Contains(err.Error(), "password authentication failed") || strings.Contains(err.Error(), "wrong") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(testContext(t))
		cancel()
		if err := server.Clone(ctx, managed.CloneSource{Conninfo: conninfo}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	if data := inspect(t, server); !data.Partial {
		t.Errorf("after failures: %+v", data)
	}
	must(t, server.Clone(testContext(t), managed.CloneSource{Conninfo: conninfo}, nil))
}

func TestCloneWithTablespace(t *testing.T) {
	primary, cfg := newPrimary(t)
	owner, err := postgres.FindOwner("postgres")
	must(t, err)
	place := filepath.Join(filepath.Dir(cfg.DataDir), "space")
	must(t, owner.MakeDir(place, 0o700))
	mustExec(t, primary, "CREATE TABLESPACE space LOCATION '"+place+"'")
	mustExec(t, primary, "CREATE TABLE public.t TABLESPACE space AS SELECT 1 AS n")
	conninfo := allowReplication(t, primary, "")
	server, _ := newServer(t)
	wantProblem(t, server.Clone(testContext(t), managed.CloneSource{Conninfo: conninfo}, nil), place, "tablespace")
	must(t, primary.StopQuickly(testContext(t)))
	must(t, primary.Wipe(testContext(t)))
	if entries, err := os.ReadDir(place); err != nil || len(entries) != 0 {
		t.Errorf("the wiped server's tablespace holds %v, %v", entries, err)
	}
}

func TestWipe(t *testing.T) {
	server, cfg := newPrimary(t)
	if err := server.Wipe(testContext(t)); !errors.Is(err, managed.ErrRunning) {
		t.Fatalf("wipe of a running one: %v", err)
	}
	must(t, server.StopQuickly(testContext(t)))
	elsewhere := filepath.Join(filepath.Dir(cfg.DataDir), "wal")
	must(t, os.Rename(filepath.Join(cfg.DataDir, "pg_wal"), elsewhere))
	must(t, os.Symlink(elsewhere, filepath.Join(cfg.DataDir, "pg_wal")))
	must(t, os.WriteFile(filepath.Join(elsewhere, "mine"), nil, 0o600))
	must(t, server.Wipe(testContext(t)))
	must(t, server.Wipe(testContext(t)))
	if data := inspect(t, server); !data.Empty {
		t.Errorf("after Wipe: %+v", data)
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 1 || entries[0].Name() != "mine" {
		t.Errorf("the WAL's directory holds %v, %v", entries, err)
	}
	must(t, server.InitDB(testContext(t), managed.InitOptions{Locale: "C.UTF-8"}))
	configure(t, server, managed.Settings{})
	must(t, server.Start(testContext(t)))
	if got := query(t, server, "SELECT datcollate || pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'postgres'"); got != "C.UTF-8UTF8" {
		t.Errorf("got %s", got)
	}
}

// insertPosition is where the server's WAL ends.
func insertPosition(t *testing.T, server *managed.Server) wal.LSN {
	t.Helper()
	at, err := wal.ParseLSN(query(t, server, "SELECT pg_current_wal_insert_lsn()::text"))
	must(t, err)
	return at
}

func TestRewind(t *testing.T) {
	old, oldCfg := newPrimary(t, func(c *managed.Config) { c.NodeParams["log_min_messages"] = "info" })
	mustExec(t, old, "CREATE TABLE public.t AS SELECT 'both' AS who")
	next, _ := newStandby(t, old)
	eventually(t, "the standby has it", func() error { _ = query(t, next, "SELECT who FROM public.t"); return nil })
	if err := next.Standby(false); !errors.Is(err, managed.ErrRunning) {
		t.Errorf("made no standby while it runs: %v", err)
	}
	appendTo(t, filepath.Join(oldCfg.DataDir, "postgresql.conf"), "# of this server\n")

	mustExec(t, next, "SELECT pg_promote(true)")
	parted := insertPosition(t, old)
	mustExec(t, old, "INSERT INTO public.t VALUES ('lost')")
	end := insertPosition(t, old)
	mustExec(t, next, "INSERT INTO public.t VALUES ('kept')")
	mustExec(t, next, "CHECKPOINT")
	if _, err := old.Rewind(testContext(t), "host=127.0.0.1"); !errors.Is(err, managed.ErrRunning) {
		t.Errorf("rewind of a running one: %v", err)
	}
	exited := old.Exited()
	must(t, syscall.Kill(old.PID(), syscall.SIGKILL))
	<-exited

	for from, want := range map[wal.LSN]wal.LSN{parted: end, end: end} {
		if got, err := old.WALEnd(testContext(t), 1, from); err != nil || got < want || got > want+1024 {
			t.Errorf("WAL from %s ends at %s, want %s: %v", from, got, want, err) // the server may have added a record
		}
	}
	conninfo := allowReplication(t, next, "")
	t.Run("source away", func(t *testing.T) {
		_, err := old.Rewind(testContext(t), "host=127.0.0.1 port=1 user=x dbname=postgres")
		var cannot *managed.CannotRewind
		if err == nil || errors.As(err, &cannot) {
			t.Errorf("got %v", err)
		}
		if data := inspect(t, old); data.Partial || !data.StandbySignal {
			t.Errorf("after it: %+v", data)
		}
	})
	result, err := old.Rewind(testContext(t), conninfo)
	must(t, err)
	if data := inspect(t, old); result != managed.RewindDone || data.Partial || !data.StandbySignal {
		t.Errorf("result %s: %+v", result, data)
	}
	if !strings.Contains(read(t, oldCfg.DataDir, "postgresql.conf"), "# of this server") {
		t.Error("the configuration is the other server's")
	}
	follow(t, old, next)
	if got := query(t, old, "SELECT string_agg(who, ' ' ORDER BY who) FROM public.t"); got != "both kept" {
		t.Errorf("after the rewind: %s", got)
	}
	t.Run("not needed", func(t *testing.T) {
		must(t, old.StopQuickly(testContext(t)))
		result, err := old.Rewind(testContext(t), conninfo)
		must(t, err)
		if result != managed.RewindNotNeeded {
			t.Errorf("result %s", result)
		}
		follow(t, old, next)
	})
}

func TestRewindCannot(t *testing.T) {
	other, _ := newPrimary(t)
	conninfo := allowReplication(t, other, "")
	server, cfg := newServer(t)
	must(t, server.InitDB(testContext(t), managed.InitOptions{}))
	configure(t, server, managed.Settings{})
	_, err := server.Rewind(testContext(t), conninfo)
	var cannot *managed.CannotRewind
	if !errors.As(err, &cannot) || !strings.Contains(cannot.Reason, "different systems") {
		t.Errorf("got %v", err)
	}
	if data := inspect(t, server); data.Partial {
		t.Errorf("after it: %+v", data)
	}
	t.Run("interrupted before", func(t *testing.T) {
		must(t, server.BeginRewind())
		again := openServer(t, cfg)
		if data := inspect(t, again); !data.Partial {
			t.Errorf("not partial: %+v", data)
		}
		configure(t, again, managed.Settings{})
		if err := again.Start(testContext(t)); !errors.Is(err, managed.ErrPartial) {
			t.Errorf("start: %v", err)
		}
		if _, err := again.Rewind(testContext(t), conninfo); !errors.Is(err, managed.ErrPartial) {
			t.Errorf("rewind: %v", err)
		}
		must(t, again.Clone(testContext(t), managed.CloneSource{Conninfo: conninfo}, nil))
		if data := inspect(t, again); data.Partial || data.SystemID != inspect(t, other).SystemID {
			t.Errorf("after a clone: %+v", data)
		}
	})
}
