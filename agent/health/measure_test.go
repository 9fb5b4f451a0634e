package health_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/health"
	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/postgres/postgrestest"
)

// begin runs a Measurer and returns what it has measured once that is as wanted.
func begin(t *testing.T, cfg health.Config, want func(health.Measured) bool) health.Measured {
	t.Helper()
	cfg.Interval = 5 * time.Millisecond
	if cfg.Peers == nil {
		cfg.Peers = func() map[string]probe.Peer { return nil }
	}
	if cfg.Elections == nil {
		cfg.Elections = func() []time.Time { return nil }
	}
	if cfg.Started == nil {
		cfg.Started = func() uint64 { return 0 }
	}
	m := health.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got := m.Latest()
		if !got.At.IsZero() && want(got) {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("last measured: %+v", got)
		}
	}
}

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	started := uint64(0)
	peers := map[string]probe.Peer{
		"s2": {Answer: probe.Answer{Name: "pg2", ServerTime: time.Now().Add(7 * time.Second)}, Heard: time.Now(), RTT: 40 * time.Millisecond},
		"s3": {Answer: probe.Answer{Name: "pg3", ServerTime: time.Now()}, Heard: time.Now().Add(-time.Minute)},
		"s4": {},
	}
	got := begin(t, health.Config{
		DataDir: dir, Peers: func() map[string]probe.Peer { return peers },
		Started:   func() uint64 { started += 2; return started },
		Elections: func() []time.Time { return []time.Time{time.Now().Add(-2 * time.Hour), time.Now()} },
		Expires:   func() time.Time { return now },
		Postgres:  func(context.Context) health.Postgres { return health.Postgres{Primary: true} },
	}, func(m health.Measured) bool { return m.Sync.Count == 5 })
	if got.Sync.Median <= 0 || got.Sync.Err != "" {
		t.Errorf("fsync: %+v", got.Sync)
	}
	if got.Disk.Free == 0 || got.Disk.Total < got.Disk.Free || got.Disk.Err != "" {
		t.Errorf("disk: %+v", got.Disk)
	}
	if len(got.Clocks) != 1 || got.Clocks[0].Node != "pg2" || (got.Clocks[0].Offset-7*time.Second).Abs() > 100*time.Millisecond ||
		got.Clocks[0].Doubt != 20*time.Millisecond {
		t.Errorf("clocks: %+v", got.Clocks)
	}
	if len(got.Elections) < 10 { // two each time: more than the history has
		t.Errorf("elections: %v", got.Elections)
	}
	if !got.TLS || !got.Expires.Equal(now) || !got.Postgres.Primary {
		t.Errorf("%+v", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Elections that are over an hour old count no more, whoever knows of them.
func TestOldElections(t *testing.T) {
	got := begin(t, health.Config{
		DataDir: t.TempDir(), Elections: func() []time.Time {
			return []time.Time{time.Now().Add(-61 * time.Minute), time.Now().Add(-59 * time.Minute)}
		},
	}, func(health.Measured) bool { return true })
	if len(got.Elections) != 1 {
		t.Errorf("%v", got.Elections)
	}
}

// A directory that can't be written to is said, and is measured again once it can.
func TestMeasureFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	begin(t, health.Config{DataDir: dir, Peers: func() map[string]probe.Peer {
		return nil
	}}, func(m health.Measured) bool { return m.Sync.Err != "" && m.Disk.Err != "" })
	tries := 0
	begin(t, health.Config{DataDir: dir, Started: func() uint64 {
		if tries++; tries == 3 {
			_ = os.Mkdir(dir, 0o700)
		}
		return 0
	}}, func(m health.Measured) bool { return m.Sync.Count > 0 && m.Disk.Err == "" })
}

func TestPostgresDisk(t *testing.T) {
	dir := t.TempDir()
	if d := health.PostgresDisk(filepath.Join(dir, "none")); d != (health.Disk{}) {
		t.Errorf("a directory that is not there: %+v", d)
	}
	if err := os.Symlink("/proc", filepath.Join(dir, "pg_wal")); err != nil { // a file system without room
		t.Fatal(err)
	}
	if d := health.PostgresDisk(dir); d.Free != 0 || d.Dir != filepath.Join(dir, "pg_wal") {
		t.Errorf("the fullest: %+v", d)
	}
}

// TestSlots lets WAL go by an unused slot of a real server, up to where the slot is lost.
func TestSlots(t *testing.T) {
	server := postgrestest.TempInstance(t, postgrestest.NoSync)
	conn := postgrestest.Connect(t, server, "postgres")
	do := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	slot := func() health.Slot {
		t.Helper()
		primary, slots, err := health.ReadSlots(t.Context(), conn)
		if err != nil || !primary || len(slots) != 1 || slots[0].Name != "cdc" || slots[0].Active {
			t.Fatalf("%v %+v %v", primary, slots, err)
		}
		return slots[0]
	}
	status := func(want string) {
		t.Helper()
		f := facts()
		f.Measured.Postgres.Slots = []health.Slot{slot()}
		for _, c := range health.Checks(f) {
			if c.Name == health.Slots && string(c.Status) != want {
				t.Errorf("%+v, want %s of %+v", c, want, slot())
			}
		}
	}
	if _, slots, err := health.ReadSlots(t.Context(), conn); err != nil || len(slots) != 0 {
		t.Fatalf("%v %v", slots, err)
	}
	do("SELECT pg_create_physical_replication_slot('cdc', true)")
	if s := slot(); s.Safe != -1 || s.WALStatus != "reserved" {
		t.Errorf("a new slot: %+v", s)
	}
	status("OK")
	const switchSegment = "SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()"
	for range 65 { // segments of 16 MiB
		do(switchSegment)
	}
	if s := slot(); s.Kept < 1<<30 {
		t.Errorf("after 65 segments: %+v", s)
	}
	status("WARNING")
	do("ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'")
	do("SELECT pg_reload_conf()")
	for deadline := time.Now().Add(10 * time.Second); slot().WALStatus != "unreserved"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("last: %+v", slot())
		}
	}
	status("CRITICAL")
	do("CHECKPOINT")
	do(switchSegment)
	if s := slot(); s.WALStatus != "lost" {
		t.Errorf("after the checkpoint: %+v", s)
	}
	status("CRITICAL")
	dir, err := health.ReadDataDir(t.Context(), conn)
	if err != nil || health.PostgresDisk(dir).Free == 0 {
		t.Errorf("%s %v", dir, err)
	}
	do("CREATE ROLE plain")
	do("SET ROLE plain")
	if _, err := health.ReadDataDir(t.Context(), conn); err == nil {
		t.Error("a role without rights may read data_directory")
	}
}
