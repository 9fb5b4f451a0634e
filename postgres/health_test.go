package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

func TestUnfit(t *testing.T) {
	good := postgres.Health{
		Version: "15.18", VersionNum: 150018, Encoding: "UTF8", Database: "app", Role: "pgraft",
		CanCreate: true, CanReadFiles: true, DBLinkAvailable: true,
	}
	cases := []struct {
		name       string
		change     func(h *postgres.Health)
		check      string // "" = fit
		want, hint string
	}{
		{"fit", func(*postgres.Health) {}, "", "", ""},
		{"oldest", func(h *postgres.Health) { h.VersionNum = 140000 }, "", "", ""},
		{"too old", func(h *postgres.Health) { h.Version, h.VersionNum = "13.20", 130020 }, "version", "13.20 is too old", "pg_upgrade"},
		{"latin1", func(h *postgres.Health) { h.Encoding = "LATIN1" }, "encoding", "encoding LATIN1", "CREATE DATABASE"},
		{"sql_ascii", func(h *postgres.Health) { h.Encoding = "SQL_ASCII" }, "", "", ""},
		{"may not create", func(h *postgres.Health) { h.CanCreate = false }, "rights", "may not create schema", `GRANT CREATE ON DATABASE "app" TO "pgraft"`},
		{"may not create, a standby", func(h *postgres.Health) { h.CanCreate, h.InRecovery = false, true }, "", "", ""},
		{"may not create, need not", func(h *postgres.Health) { h.CanCreate, h.HasSchema, h.OwnsSchema = false, true, true }, "", "", ""},
		{"another's schema", func(h *postgres.Health) { h.HasSchema = true }, "rights", "may not write schema", "owns it"},
		{"another's schema, may write", func(h *postgres.Health) { h.HasSchema, h.CanWrite = true, true }, "", "", ""},
		{"another's schema, superuser", func(h *postgres.Health) { h.HasSchema, h.Superuser = true, true }, "", "", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			h := good
			tc.change(&h)
			problem := postgres.Unfit(h)
			if tc.check == "" {
				if problem != nil {
					t.Fatalf("unfit: %v", problem)
				}
				return
			}
			if problem == nil || problem.Check != tc.check || !strings.Contains(problem.Message, tc.want) || !strings.Contains(problem.Hint, tc.hint) {
				t.Fatalf("got %v, want check %q, message with %q, hint with %q", problem, tc.check, tc.want, tc.hint)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	cases := []struct {
		name   string
		health postgres.Health
		want   string
	}{
		{"superuser", postgres.Health{Superuser: true, DBLinkAvailable: true}, ""},
		{"no file rights", postgres.Health{DBLinkVersion: "1.2"}, "rights"},
		{"no dblink", postgres.Health{Superuser: true}, "dblink"},
		{"read only", postgres.Health{Superuser: true, DBLinkAvailable: true, ReadOnly: true}, "read_only"},
		{"read only, a standby", postgres.Health{Superuser: true, DBLinkAvailable: true, ReadOnly: true, InRecovery: true}, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, w := range postgres.Warnings(tc.health) {
				got = append(got, w.Check)
			}
			if strings.Join(got, ",") != tc.want {
				t.Fatalf("got warnings %v, want %q", got, tc.want)
			}
		})
	}
}

func TestCheckRealServer(t *testing.T) {
	instance := postgrestest.TempInstance(t, postgrestest.NoSync)
	ctx := testContext(t)
	conn := postgrestest.Connect(t, instance, "postgres")
	h, err := postgres.Check(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Superuser || h.InRecovery || h.Encoding != "UTF8" || h.VersionNum < postgres.MinVersion || h.ExtensionVersion != "" {
		t.Fatalf("unexpected health: %+v", h)
	}
	if _, err := conn.Exec(ctx, "CREATE ROLE plain LOGIN"); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, instance.DSN("postgres")+" user=plain", "rights")
	wantProblem(t, postgrestest.CreateDatabase(t, instance, "old", "LATIN1"), "encoding")
}

func wantProblem(t *testing.T, dsn, check string) {
	t.Helper()
	conn, err := pgx.Connect(testContext(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = postgres.Check(testContext(t), conn)
	var problem *postgres.Problem
	if !errors.As(err, &problem) || problem.Check != check {
		t.Fatalf("got %v, want a problem of %s", err, check)
	}
}

func TestReadSettings(t *testing.T) {
	instance := postgrestest.TempInstance(t, postgrestest.NoSync,
		postgrestest.Param("pgraft.batch_size", "200"), postgrestest.Param("pgraft.unknown", "x"))
	ctx := testContext(t)
	conn := postgrestest.Connect(t, instance, "postgres")
	settings, err := postgres.ReadSettings(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	got := settings["pgraft.batch_size"]
	if len(settings) != 1 || got.Value != "200" || !strings.HasPrefix(got.Source, filepath.Join(instance.Dir(), "")) {
		t.Fatalf("got settings %v", settings)
	}
	for _, sql := range []string{"CREATE ROLE plain LOGIN", "SET ROLE plain"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	settings, err = postgres.ReadSettings(ctx, conn)
	if want := (postgres.Setting{Value: "200", Source: "postgresql.conf"}); err != nil || settings["pgraft.batch_size"] != want {
		t.Fatalf("as a plain role: got %v, %v", settings, err)
	}
}

func TestMonitorSeesServerGoAndReturn(t *testing.T) {
	instance := postgrestest.TempInstance(t)
	monitor := postgres.NewMonitor(postgres.MonitorConfig{
		Connect:  func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, instance.DSN("postgres")) },
		Interval: 20 * time.Millisecond,
	})
	monitor.Open()
	t.Cleanup(monitor.Close)
	waitState(t, monitor, func(s postgres.State) bool { return s.Up && s.Err == nil })
	if err := instance.Kill(testContext(t)); err != nil {
		t.Fatal(err)
	}
	waitState(t, monitor, func(s postgres.State) bool { return !s.Up && s.Err != nil && s.Health.VersionNum != 0 })
	mustStart(t, instance)
	waitState(t, monitor, func(s postgres.State) bool { return s.Up && !s.Health.InRecovery })

	if err := instance.Stop(testContext(t), postgres.StopFast); err != nil {
		t.Fatal(err)
	}
	standby := filepath.Join(instance.Dir(), "standby.signal")
	if err := os.WriteFile(standby, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustStart(t, instance)
	waitState(t, monitor, func(s postgres.State) bool { return s.Up && s.Health.InRecovery })
}

func waitState(t *testing.T, monitor *postgres.Monitor, ok func(postgres.State) bool) {
	t.Helper()
	ctx := testContext(t)
	for {
		state, changed := monitor.State()
		if ok(state) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("last state: %+v", state)
		}
	}
}
