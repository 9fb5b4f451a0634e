package health_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/health"
	"github.com/pgraft/pgraft/api"
)

var update = flag.Bool("update", false, "write the golden file")

var now = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// facts are a well primary's, of a cluster of three.
func facts() health.Facts {
	s := &api.Status{
		AsOf: now, NodeID: 1, Name: "pg1", Role: api.RolePrimary, Epoch: 1, PrimaryID: 1, HasQuorum: true,
		Sync:     api.SyncStatus{Mode: api.SyncQuorum, Acks: 1, Members: []string{"pg1", "pg2", "pg3"}},
		Postgres: api.PostgresStatus{Enabled: true, Up: true, Mode: "managed"},
	}
	for i := range 3 {
		s.Nodes = append(s.Nodes, api.NodeStatus{
			NodeID: i + 1, Name: fmt.Sprintf("pg%d", i+1), Status: api.NodeAlive, Version: "1.0", Replication: "streaming",
			HTTPAddress: fmt.Sprintf("http://10.0.0.%d:7400", i+1),
		})
	}
	return health.Facts{Status: s, DataDir: "/var/lib/pgraft", Measured: health.Measured{
		At: now.Add(-3 * time.Second), Disk: health.Disk{Dir: "/var/lib/pgraft", Free: 50 * gib, Total: 100 * gib},
		Sync: health.Sync{Median: 4 * time.Millisecond, Count: 5}, TLS: true, Expires: now.Add(100 * 24 * time.Hour),
		Clocks:    []health.Clock{{Node: "pg2", Offset: -3 * time.Millisecond, Doubt: time.Millisecond}, {Node: "pg3"}},
		Elections: []time.Time{now.Add(-2 * time.Hour), now.Add(-10 * time.Minute)},
		Postgres: health.Postgres{
			Disk: health.Disk{Dir: "/var/lib/postgresql/15/main", Free: 500 * gib, Total: 1000 * gib}, Primary: true,
			Slots: []health.Slot{{Name: "pgraft_2", Active: true, Kept: 16 * mib, Safe: -1, WALStatus: "reserved"}},
		},
	}}
}

var cases = []struct {
	name   string
	change func(*api.Status, *health.Measured)
}{
	{"well", func(*api.Status, *health.Measured) {}},
	{"witness", func(s *api.Status, m *health.Measured) {
		s.Role, s.Postgres, m.Postgres = api.RoleWitness, api.PostgresStatus{}, health.Postgres{}
	}},
	{"independent servers without TLS", func(s *api.Status, m *health.Measured) {
		s.Epoch, s.PrimaryID, s.Sync, s.Postgres.Mode, m.TLS = 0, 0, api.SyncStatus{}, "external", false
	}},
	{"alone", func(s *api.Status, m *health.Measured) {
		s.Nodes, s.Sync, m.Clocks = s.Nodes[:1], api.SyncStatus{Mode: api.SyncQuorum, Members: []string{"pg1"}}, nil
	}},
	{"standby", func(s *api.Status, m *health.Measured) {
		s.NodeID, s.Role, s.Postgres.InRecovery, m.Postgres.Primary = 2, api.RoleStandby, true, false
		s.Nodes[2].LagBytes = 2 * gib // another's affair
	}},
	{"nothing measured", func(_ *api.Status, m *health.Measured) { *m = health.Measured{TLS: true} }},
	{"measured long ago", func(_ *api.Status, m *health.Measured) { m.At = now.Add(-3 * time.Minute) }},
	{"PostgreSQL is down", func(s *api.Status, m *health.Measured) { s.Postgres.Up, m.Postgres.Primary = false, false }},

	{"certificate: 30 days", func(_ *api.Status, m *health.Measured) { m.Expires = now.Add(30 * 24 * time.Hour) }},
	{"certificate: less than 30 days", func(_ *api.Status, m *health.Measured) { m.Expires = now.Add(30*24*time.Hour - time.Second) }},
	{"certificate: less than 7 days", func(_ *api.Status, m *health.Measured) { m.Expires = now.Add(7*24*time.Hour - time.Second) }},
	{"certificate: expired", func(_ *api.Status, m *health.Measured) { m.Expires = now.Add(-time.Second) }},
	{"clock_skew: nobody answers", func(_ *api.Status, m *health.Measured) { m.Clocks = nil }},
	{"clock_skew: 500 ms", func(_ *api.Status, m *health.Measured) { m.Clocks[1].Offset = 500 * time.Millisecond }},
	{"clock_skew: 501 ms", func(_ *api.Status, m *health.Measured) { m.Clocks[1].Offset = 501 * time.Millisecond }},
	{"clock_skew: a slow answer proves nothing", func(_ *api.Status, m *health.Measured) {
		m.Clocks[1].Offset, m.Clocks[1].Doubt = -800*time.Millisecond, 400*time.Millisecond
	}},
	{"clock_skew: 6 s behind", func(_ *api.Status, m *health.Measured) { m.Clocks[1].Offset = -6 * time.Second }},
	{"disk_data_dir: less than 10%", func(_ *api.Status, m *health.Measured) { m.Disk.Free = 9 * gib }},
	{"disk_data_dir: less than 1 GiB", func(_ *api.Status, m *health.Measured) { m.Disk.Free, m.Disk.Total = gib-1, 2*gib }},
	{"disk_data_dir: less than 3%", func(_ *api.Status, m *health.Measured) { m.Disk.Free = 2 * gib }},
	{"disk_data_dir: less than 200 MiB", func(_ *api.Status, m *health.Measured) { m.Disk.Free, m.Disk.Total = 199*mib, 400*mib }},
	{"disk_data_dir: unknown", func(_ *api.Status, m *health.Measured) { m.Disk.Err = "/var/lib/pgraft: permission denied" }},
	{"disk_postgres: less than 10%", func(_ *api.Status, m *health.Measured) { m.Postgres.Disk.Free = 99 * gib }},
	{"disk_postgres: full", func(_ *api.Status, m *health.Measured) { m.Postgres.Disk.Free = 0 }},
	{"elections: 3", func(_ *api.Status, m *health.Measured) { m.Elections = held(3) }},
	{"elections: 10", func(_ *api.Status, m *health.Measured) { m.Elections = held(10) }},
	{"fsync: 51 ms", func(_ *api.Status, m *health.Measured) { m.Sync.Median = 51 * time.Millisecond }},
	{"fsync: 51 ms, twice", func(_ *api.Status, m *health.Measured) { m.Sync = health.Sync{Median: 51 * time.Millisecond, Count: 2} }},
	{"fsync: fails", func(_ *api.Status, m *health.Measured) { m.Sync = health.Sync{Err: "write block: input/output error"} }},
	{"fsync: hangs", func(_ *api.Status, m *health.Measured) {
		m.Sync.Since, m.At = now.Add(-6*time.Second), now.Add(-time.Hour)
	}},
	{"pending_restart: two parameters", func(s *api.Status, _ *health.Measured) {
		s.Postgres.PendingRestart = []string{"max_connections", "shared_buffers"}
	}},
	{"replication: 64 MiB behind", func(s *api.Status, _ *health.Measured) { s.Nodes[1].LagBytes = 64 * mib }},
	{"replication: 1 GiB behind", func(s *api.Status, _ *health.Measured) { s.Nodes[1].LagBytes, s.Nodes[2].LagBytes = gib, 64*mib }},
	{"replication: a standby is gone", func(s *api.Status, _ *health.Measured) { s.Nodes[1].Status = api.NodeFailed }},
	{"replication: a standby does not stream", func(s *api.Status, _ *health.Measured) { s.Nodes[1].Replication = "" }},
	{"replication: lag unknown", func(s *api.Status, _ *health.Measured) { s.Nodes[1].LagBytes = -1 }},
	{"slots: unused, keeps 1 GiB", func(_ *api.Status, m *health.Measured) {
		oneSlot(m, health.Slot{Kept: gib, Safe: -1, WALStatus: "extended"})
	}},
	{"slots: unused, keeps more", func(_ *api.Status, m *health.Measured) {
		oneSlot(m, health.Slot{Kept: gib + 1, Safe: -1, WALStatus: "extended"})
	}},
	{"slots: used, keeps more", func(_ *api.Status, m *health.Measured) {
		oneSlot(m, health.Slot{Active: true, Kept: 9 * gib, Safe: -1})
	}},
	{"slots: little is safe", func(_ *api.Status, m *health.Measured) {
		oneSlot(m, health.Slot{Active: true, Kept: 900 * mib, Safe: 124 * mib, WALStatus: "extended"})
	}},
	{"slots: unreserved", func(_ *api.Status, m *health.Measured) {
		oneSlot(m, health.Slot{Kept: 2 * gib, Safe: -gib, WALStatus: "unreserved"})
	}},
	{"slots: lost", func(_ *api.Status, m *health.Measured) { oneSlot(m, health.Slot{Safe: -1, WALStatus: "lost"}) }},
	{"slots: unknown", func(_ *api.Status, m *health.Measured) { m.Postgres.SlotsErr = "timeout" }},
	{"sync_members: lost", func(s *api.Status, _ *health.Measured) { s.Sync.Lost = []string{"pg3"} }},
	{"sync_members: on the primary alone", func(s *api.Status, _ *health.Measured) { s.Sync.Acks = 0 }},
	{"sync_members: asynchronous", func(s *api.Status, _ *health.Measured) {
		s.Sync = api.SyncStatus{Mode: api.SyncAsync, Warning: "a failover may lose commits"}
	}},
	{"versions: two", func(s *api.Status, _ *health.Measured) { s.Nodes[2].Version = "1.1" }},
}

func held(n int) []time.Time {
	var times []time.Time
	for i := range n {
		times = append(times, now.Add(-time.Duration(i)*time.Minute))
	}
	return times
}

func oneSlot(m *health.Measured, s health.Slot) {
	s.Name = "cdc"
	m.Postgres.Slots = append(m.Postgres.Slots, s)
}

// TestChecks compares what is found in each case with the golden file: of the first cases all, of the others what is
// about their subject.
func TestChecks(t *testing.T) {
	var b strings.Builder
	seen := map[string]bool{}
	for _, tt := range cases {
		f := facts()
		tt.change(f.Status, &f.Measured)
		checks := health.Checks(f)
		sound(t, tt.name, checks)
		about, _, one := strings.Cut(tt.name, ":")
		fmt.Fprintf(&b, "## %s\n", tt.name)
		for _, c := range checks {
			seen[c.Name] = true
			if one && c.Name != about {
				if c.Status != api.CheckOK && about != "fsync" {
					t.Errorf("%s: also %+v", tt.name, c)
				}
				continue
			}
			fmt.Fprintf(&b, "%s %s: %s\n", c.Status, c.Name, c.Message)
			if c.Next != "" {
				fmt.Fprintf(&b, "    → %s\n", c.Next)
			}
		}
		b.WriteString("\n")
	}
	for _, name := range health.Names() {
		if !seen[name] {
			t.Errorf("no case shows %s", name)
		}
	}
	golden(t, "testdata/checks.txt", b.String())
}

// sound tells what must be so of any checks.
func sound(t *testing.T, where string, checks []api.Check) {
	t.Helper()
	var last string
	for _, c := range checks {
		if c.Name <= last || !slices.Contains(health.Names(), c.Name) {
			t.Errorf("%s: %q comes after %q, or is no name", where, c.Name, last)
		}
		last = c.Name
		if c.Message == "" || (c.Status == api.CheckOK) != (c.Next == "") {
			t.Errorf("%s: %+v", where, c)
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if string(want) != got {
		t.Errorf("%s differs (write it with -update, and look at the difference):\n%s", path, got)
	}
}

const page = "../../website/content/docs/operations/health-checks.md"

// sqlChecks are those that pgraft_check() computes itself.
var sqlChecks = []string{"agent", "leader", "quorum", "members", "postgres", "primary", "in_doubt"}

// TestPage holds the page's list of checks to the program's, both ways.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash(page))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			listed = append(listed, strings.TrimSpace(name))
		}
	}
	if want := slices.Concat(sqlChecks, health.Names()); !slices.Equal(listed, want) {
		t.Errorf("the page explains\n %v\nthe program has\n %v", listed, want)
	}
}
