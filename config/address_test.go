package config_test

import (
	"flag"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/config"
)

func TestAdvertiseDefault(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		addrs      []string
		want       string // empty: refused
	}{
		{"bound address", `bind_addr = "10.1.1.1"`, []string{"10.0.0.11"}, "10.1.1.1"},
		{"bound loopback was chosen, not guessed", `bind_addr = "127.0.0.1"`, []string{"10.0.0.11"}, "127.0.0.1"},
		{"first private", ``, []string{"127.0.0.1", "8.8.8.8", "192.168.1.5", "10.0.0.11"}, "192.168.1.5"},
		{"only public", ``, []string{"127.0.0.1", "8.8.8.8"}, "8.8.8.8"},
		{"two public", ``, []string{"8.8.8.8", "8.8.4.4"}, ""},
		{"IPv4 bound, IPv6 private", ``, []string{"fd00::1", "8.8.8.8"}, "8.8.8.8"},
		{"IPv6 bound", `bind_addr = "::"`, []string{"::1", "fe80::1", "fd00::1"}, "fd00::1"},
		{"loopback only", ``, []string{"127.0.0.1", "::1"}, ""},
		{"loopback only, alone", `bootstrap_expect = 1`, []string{"127.0.0.1"}, "127.0.0.1"},
		{"template", `advertise_addr = "{{ GetPrivateIP }}"`, nil, "10.0.0.11"},
		{"name", `advertise_addr = "pg1.example.com"`, nil, "pg1.example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := fixedHost()
			host.Addresses = func() ([]netip.Addr, error) {
				var out []netip.Addr
				for _, a := range tc.addrs {
					out = append(out, netip.MustParseAddr(a))
				}
				return out, nil
			}
			c, _, err := config.LoadBytes("a.hcl", []byte("witness = true\n"+tc.file+"\n"), config.LoadOptions{Host: host})
			switch {
			case tc.want == "" && (err == nil || !strings.Contains(err.Error(), "set advertise_addr")):
				t.Errorf("error = %v, want it to say that advertise_addr must be set", err)
			case tc.want != "" && err != nil:
				t.Error(err)
			case tc.want != "" && c.AdvertiseAddr != tc.want:
				t.Errorf("advertises %s, want %s", c.AdvertiseAddr, tc.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	c := load(t, "advertise_addr = \"fd00::1\"\nrun_dir = \"/run/p\"\nhttp {\n  addr = \"::\"\n}\npostgres {\n  dsn = \"host=localhost port=5433\"\n}\n")
	for _, tc := range []struct{ what, got, want string }{
		{"raft bind", c.RaftBind(), "0.0.0.0:7401"},
		{"raft", c.RaftAdvertise(), "[fd00::1]:7401"},
		{"gossip", c.GossipAdvertise(), "[fd00::1]:7402"},
		{"http", c.HTTPAddr(), "[::]:7400"},
		{"http advertised", c.HTTPAdvertise(), "[fd00::1]:7400"},
		{"url", c.HTTPURL(), "http://[fd00::1]:7400"},
		{"postgres", c.PostgresAdvertise(), "[fd00::1]:5433"},
		{"console", c.ConsolePath(), "/run/p/.s.PGSQL.7403"},
		{"status", c.StatusPath(), "/run/p/status.json"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, tc.got, tc.want)
		}
	}
	c = load(t, "postgres {\n  dsn = \"postgres://db.example.com:6000/app\"\n}\n")
	if c.PostgresAdvertise() != "db.example.com:6000" || c.Postgres.Database != "app" || c.HTTPAdvertise() != "127.0.0.1:7400" {
		t.Errorf("postgres %s, database %s, http %s", c.PostgresAdvertise(), c.Postgres.Database, c.HTTPAdvertise())
	}
}

func TestFlagErrorsAtParse(t *testing.T) {
	for _, arg := range []string{"-http-port=web", "-http-port=0", "-bootstrap-expect=-3", "-witness=perhaps", "-log-level=loud", "-profile=moon"} {
		fs := flag.NewFlagSet("agent", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		(&config.Flags{}).Register(fs)
		if err := fs.Parse([]string{arg}); err == nil {
			t.Errorf("%s is accepted", arg)
		}
	}
}

func TestRetryJoinFlagReplacesTheFiles(t *testing.T) {
	c := load(t, "witness = true\nretry_join = [\"10.0.0.12\"]\n", "-retry-join=10.0.0.13", "-retry-join=10.0.0.14:7500")
	if got := strings.Join(c.RetryJoin, " "); got != "10.0.0.13 10.0.0.14:7500" {
		t.Errorf("retry_join = %s", got)
	}
}
