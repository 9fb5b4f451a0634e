package managed_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("differs from %s (write it again with -update):\n%s", path, got)
	}
}

func TestRenderConf(t *testing.T) {
	cfg := managed.Config{
		DataDir: "/var/lib/postgresql/16/main", ListenHost: "0.0.0.0", Port: 5432, SocketDir: "/run/pgraft/postgresql",
		Superuser: "postgres", NodeParams: map[string]string{"max_connections": "200", "Work_Mem": "8MB"},
	}
	withTLS := cfg
	withTLS.TLS = &managed.TLSFiles{CAFile: "/etc/ca.pem", CertFile: "/etc/cert.pem", KeyFile: "/etc/key.pem"}
	base := map[string]string{
		"unix_socket_directories": "/var/run/postgresql", "max_wal_senders": "25", "wal_keep_size": "4GB", "wal_level": "logical",
		"port": "5433",
	}
	for name, tc := range map[string]struct {
		cfg      managed.Config
		settings managed.Settings
		major    int
		base     map[string]string
	}{
		"first": {cfg, managed.Settings{}, 16, nil},
		"primary": {cfg, managed.Settings{
			SyncNames: managed.SyncNames([]string{"pgraft_2_b", "pgraft_3_c"}, 1),
			Cluster:   map[string]string{"work_mem": "16MB", "max_slot_wal_keep_size": "10GB", "max_wal_senders": "4"},
		}, 15, nil},
		"standby": {withTLS, managed.Settings{PrimaryConninfo: `host=a password='it''s\'`, PrimarySlot: "pgraft_1", ReadOnly: true}, 17, nil},
		"adopted": {cfg, managed.Settings{}, 16, base},
		"ignores": {cfg, managed.Settings{Cluster: map[string]string{
			"port": "1", "primary_conninfo": "host=evil", "Synchronous_Standby_Names": "", "restart_after_crash": "on",
			"recovery_target_time": "2020-01-01", "wal_level": "minimal", "max_replication_slots": "many",
		}}, 16, nil},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, filepath.Join("conf", name+".golden"), managed.RenderConf(tc.cfg, tc.settings, tc.major, tc.base))
		})
	}
}

func TestHBALines(t *testing.T) {
	cfg := managed.Config{Superuser: "postgres", HBA: []string{"host all all 10.0.0.0/8 scram-sha-256", "local all all peer"}}
	withTLS := cfg
	withTLS.TLS = &managed.TLSFiles{CAFile: "/ca", VerifyClients: true}
	text := func(cfg managed.Config, gated bool) string {
		return managed.WithBlock("local all all trust\n", managed.HBALines(cfg, gated))
	}
	golden(t, "hba/open.golden", text(cfg, false))
	golden(t, "hba/gated.golden", text(cfg, true))
	golden(t, "hba/tls.golden", text(withTLS, false))
	golden(t, "hba/ident.golden", managed.WithBlock("", managed.IdentLines([]string{"root", "postgres"}, "postgres")))
}

func TestWithBlock(t *testing.T) {
	const block = "# BEGIN pgraft\nx\n# END pgraft\n"
	for name, tc := range map[string]struct{ text, want string }{
		"empty":          {"", block},
		"put on top":     {"a\nb\n", block + "\na\nb\n"},
		"replaced":       {"# BEGIN pgraft\nold\n# END pgraft\n\na\n", block + "\na\n"},
		"moved":          {"a\n# BEGIN pgraft\nold\n# END pgraft\nb\n", block + "\na\nb\n"},
		"twice":          {"# BEGIN pgraft\n# END pgraft\na\n # BEGIN pgraft \nold\n# END pgraft\n", block + "\na\n"},
		"without an end": {"# BEGIN pgraft\na\n", block + "\na\n"},
		"begun twice":    {"# BEGIN pgraft\na\n# BEGIN pgraft\nold\n# END pgraft\n", block + "\na\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := managed.WithBlock(tc.text, []string{"x"}); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzWithBlock(f *testing.F) {
	f.Add("a\n# BEGIN pgraft\nold\n# END pgraft\nb\n", "x\ny")
	f.Add("# BEGIN pgraft\n# BEGIN pgraft\r\n# END pgraft", "")
	f.Fuzz(func(t *testing.T, text, block string) {
		if strings.Contains(block, "pgraft") {
			return
		}
		lines := strings.Split(block, "\n")
		once := managed.WithBlock(text, lines)
		if !strings.HasPrefix(once, "# BEGIN pgraft\n"+block+"\n# END pgraft\n") {
			t.Fatalf("the block is not on top: %q", once)
		}
		if twice := managed.WithBlock(once, lines); twice != once {
			t.Fatalf("changes again: %q, then %q", once, twice)
		}
		if !strings.Contains(text, "pgraft") && !strings.HasSuffix(once, strings.TrimLeft(text, "\r\n")) {
			t.Fatalf("lost something of %q: %q", text, once)
		}
		if rest := managed.WithoutBlock(once); rest != managed.WithoutBlock(text) {
			t.Fatalf("the rest of %q became %q", text, rest)
		}
	})
}

func TestParseConfLine(t *testing.T) {
	for line, want := range map[string][2]string{
		"port = 5432":                      {"port", "5432"},
		" Work_Mem 8MB # for sorts\n":      {"work_mem", "8MB"},
		"a='it''s \\'x\\' \\\\'  # b":      {"a", `it's 'x' \`},
		"primary_conninfo = ''":            {"primary_conninfo", ""},
		"pgraft.batch_size=5":              {"pgraft.batch_size", "5"},
		"include_if_exists 'x.conf'":       {"include_if_exists", "x.conf"},
		"search_path = '\"$user\", public": {}, // no closing quote
		"# port = 1":                       {},
		"":                                 {},
		"port":                             {},
		"port =":                           {},
		"9lives = 1":                       {},
	} {
		name, value, ok := managed.ParseConfLine(line)
		if ok != (want[0] != "") || ok && (name != want[0] || value != want[1]) {
			t.Errorf("%q: got %q, %q, %v", line, name, value, ok)
		}
	}
}

func FuzzParseConfLine(f *testing.F) {
	f.Add("port = 5432 # x", "it's")
	f.Add("a.b='c''d\\'", `\`)
	f.Fuzz(func(t *testing.T, line, value string) {
		managed.ParseConfLine(line)
		if strings.ContainsRune(value, 0) {
			return
		}
		written := strings.TrimSuffix(postgres.RenderParams(map[string]string{"name": value}), "\n")
		if name, got, ok := managed.ParseConfLine(written); !ok || name != "name" || got != value {
			t.Fatalf("%q was written as %q and read as %q, %q, %v", value, written, name, got, ok)
		}
	})
}

func FuzzWithInclude(f *testing.F) {
	f.Add("port = 1\ninclude_if_exists = 'pgraft.conf'\nport = 2")
	f.Fuzz(func(t *testing.T, text string) {
		once := managed.WithInclude(text)
		if !strings.HasSuffix(once, "include_if_exists = 'pgraft.conf'\n") {
			t.Fatalf("the include is not last: %q", once)
		}
		if twice := managed.WithInclude(once); twice != once {
			t.Fatalf("changes again: %q, then %q", once, twice)
		}
	})
}

func TestParseControlData(t *testing.T) {
	raw, err := os.ReadFile("testdata/controldata/15.txt")
	must(t, err)
	d, err := managed.ParseControlData(string(raw))
	must(t, err)
	if d.SystemID != "7512345678901234567" || d.State != "in archive recovery" || d.Checkpoint.String() != "0/5000060" ||
		d.Timeline != 2 || d.MinRecovery.String() != "0/5000148" || d.MinRecoveryTimeline != 3 || !d.DataChecksums || !d.WALLogHints ||
		d.MaxConnections != 30 || d.MaxLocksPerTransaction != 64 || d.WALLevel != "replica" || d.CleanShutdown() {
		t.Errorf("got %+v", d)
	}
	for _, broken := range []string{"", strings.Replace(string(raw), "0/5000060", "0-5", 1), strings.Replace(string(raw), "TimeLineID", "x", 1)} {
		if _, err := managed.ParseControlData(broken); err == nil {
			t.Error("no error for broken output")
		}
	}
}

func FuzzParseControlData(f *testing.F) {
	raw, err := os.ReadFile("testdata/controldata/15.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(raw))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := managed.ParseControlData(text)
		if err == nil && (d.MaxConnections < 0 || d.BytesPerWALSegment < 0) {
			t.Fatalf("accepted %+v", d)
		}
	})
}

func FuzzParseProgress(f *testing.F) {
	f.Add("   12345/67890 kB (18%), 0/1 tablespace (base/5/1259)")
	f.Add("99999999999999999999/1 kB (1%)")
	f.Fuzz(func(t *testing.T, line string) {
		if done, total, ok := managed.ParseProgress(line); ok && (done < 0 || total < 0) {
			t.Fatalf("%q: %d of %d", line, done, total)
		}
	})
}
