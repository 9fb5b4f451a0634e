package config_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/config"
)

// fixedHost stands in for the machine.
func fixedHost() *config.Host {
	return &config.Host{
		Name:      func() (string, error) { return "pg1", nil },
		Addresses: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("10.0.0.11")}, nil },
		Template: func(text string) (string, error) {
			switch strings.TrimSpace(strings.Trim(text, "{} ")) {
			case "GetPrivateIP":
				return "10.0.0.11", nil
			case "GetPrivateIPs":
				return "10.0.0.11 10.0.0.12", nil
			case "GetPublicIP":
				return "", nil
			}
			return "", errors.New("unknown function")
		},
	}
}

// write puts files, named by their path below a new directory, on disk and returns the directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// parseFlags is what the agent command does with its arguments.
func parseFlags(t *testing.T, args ...string) *config.Flags {
	t.Helper()
	f := &config.Flags{}
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	f.Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

// mustLoad fails the test on any error.
func mustLoad(t *testing.T, opt config.LoadOptions) *config.Config {
	t.Helper()
	opt.Host = fixedHost()
	c, _, err := config.Load(opt)
	if err != nil {
		t.Fatalf("load config: %v", err)
	}
	return c
}

func TestLoadMergesInOrder(t *testing.T) {
	dir := write(t, map[string]string{
		"10-base.hcl": `
cluster_name = "prod"
log_level = "warn"
retry_join = ["10.0.0.12"]
ports {
  http = 8400
  raft = 8401
}
postgres {
  dsn = "host=/tmp user=pgraft"
  parameters {
    a = "1"
    b = "1"
  }
}`,
		"20-node.json": `{"log_level": "debug", "ports": {"raft": 9401}, "postgres": {"parameters": {"b": 2}}}`,
		"ignored.conf": `this is not read`,
	})
	c := mustLoad(t, config.LoadOptions{Flags: parseFlags(t, "-config="+dir, "-http-port=8500", "-join=10.0.0.13", "-join=10.0.0.12:7402")})
	if c.ClusterName != "prod" || c.LogLevel != "debug" || c.NodeName != "pg1" {
		t.Errorf("merged names: %q %q %q", c.ClusterName, c.LogLevel, c.NodeName)
	}
	if want := (config.Ports{HTTP: 8500, Raft: 9401, Gossip: 7402, Console: 7403}); c.Ports != want {
		t.Errorf("ports = %+v, want %+v", c.Ports, want)
	}
	if p := c.Postgres.Parameters; len(p) != 2 || p["a"] != "1" || p["b"] != "2" {
		t.Errorf("parameters = %v", p)
	}
	if got := strings.Join(c.JoinAddrs(), " "); got != "10.0.0.13:7402 10.0.0.12:7402" {
		t.Errorf("join addresses = %s", got)
	}
	if c.Postgres.Mode != config.ModeExternal || c.AdvertiseAddr != "10.0.0.11" {
		t.Errorf("derived mode %q, advertise %q", c.Postgres.Mode, c.AdvertiseAddr)
	}
}

func TestFlagsNotGivenLeaveFilesAlone(t *testing.T) {
	dir := write(t, map[string]string{"a.hcl": "witness = true\nlog_json = true\nretry_interval = \"7s\"\n"})
	c := mustLoad(t, config.LoadOptions{Paths: []string{dir}, Flags: parseFlags(t)})
	if !c.Witness || !c.LogJSON || c.RetryInterval != 7*time.Second {
		t.Errorf("flags that were not given changed the files' values: %+v", c)
	}
	c = mustLoad(t, config.LoadOptions{Paths: []string{dir}, Flags: parseFlags(t, "-log-json=false")})
	if c.LogJSON {
		t.Error("-log-json=false did not win over the file")
	}
}

func TestDevNeedsNothingElse(t *testing.T) {
	c := mustLoad(t, config.LoadOptions{Flags: parseFlags(t, "-dev")})
	if c.DevDir == "" || !strings.HasPrefix(c.DataDir, c.DevDir) || c.AdvertiseAddr != "127.0.0.1" || c.BootstrapExpect != 1 {
		t.Errorf("dev config: %+v", c)
	}
	c = mustLoad(t, config.LoadOptions{Flags: parseFlags(t, "-dev", "-data-dir=/tmp/x", "-run-dir=/tmp/y")})
	if c.DevDir != "" {
		t.Errorf("DevDir = %q though both directories were named", c.DevDir)
	}
}
