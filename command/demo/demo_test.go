package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
)

var update = flag.Bool("update", false, "write the golden files")

func threeNodes() []*node {
	var nodes []*node
	for i, name := range []string{"pg1", "pg2", "pg3"} {
		dir := filepath.Join("/tmp/demo", name)
		nodes = append(nodes, &node{
			name: name, basePort: 7400 + 10*i, dir: dir, serverDir: dir, runDir: filepath.Join(dir, "run"), superuser: "postgres", agentPID: 1000 + i,
		})
	}
	return nodes
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs\n--- got\n%s\n--- want\n%s", path, got, want)
	}
}

func TestConfigIsValid(t *testing.T) {
	for _, external := range []bool{false, true} {
		t.Run(fmt.Sprintf("external=%v", external), func(t *testing.T) { testConfig(t, external) })
	}
}

func testConfig(t *testing.T, external bool) {
	t.Helper()
	nodes := threeNodes()
	for _, n := range nodes {
		n.external = external
	}
	nodes[1].runDir = `/tmp/a "quoted" ${dir} %{x}`
	text := renderConfig(nodes[1], nodes)
	golden(t, fmt.Sprintf("agent_external_%v.hcl", external), string(text))
	cfg, warnings, err := config.LoadBytes("agent.hcl", text, config.LoadOptions{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
	if cfg.NodeName != "pg2" || cfg.RunDir != nodes[1].runDir || cfg.BootstrapExpect != 3 || cfg.Ports.Console != 7413 ||
		strings.Join(cfg.RetryJoin, " ") != "127.0.0.1:7402 127.0.0.1:7422" || cfg.PostgresAdvertise() != "127.0.0.1:7414" {
		t.Errorf("loaded: %+v", cfg)
	}
	single := nodes[:1]
	if _, _, err := config.LoadBytes("agent.hcl", renderConfig(single[0], single), config.LoadOptions{}); err != nil {
		t.Errorf("one node: %v", err)
	}
}

func TestClusterFile(t *testing.T) {
	c := &cluster{nodes: threeNodes()}
	path := filepath.Join(t.TempDir(), "cluster.json")
	if err := c.writeClusterFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "cluster.json", string(text))
	if !json.Valid(text) {
		t.Error("no JSON")
	}
}

func TestAnnouncement(t *testing.T) {
	nodes := threeNodes()
	s := &api.Status{LeaderName: "pg3", PrimaryID: 2, Nodes: []api.NodeStatus{{NodeID: 1, Name: "pg1"}, {NodeID: 2, Name: "pg2"}}}
	for _, file := range []string{"announcement.txt", "announcement_external.txt"} {
		text := announcement("bin/pgraft", "/tmp/demo", nodes, s)
		golden(t, file, text)
		for _, n := range nodes {
			if !strings.Contains(text, "\n"+n.conninfo()+"\n") {
				t.Errorf("no line of its own for %s", n.name)
			}
			n.external = true
		}
	}
	announcement("bin/pgraft", "/tmp/demo", nodes[:1], &api.Status{})
}

func TestMissing(t *testing.T) {
	ready := func() *api.Status {
		s := &api.Status{ClusterID: "c", LeaderID: 1, HasQuorum: true, WorkerState: api.WorkerRunning,
			Postgres: api.PostgresStatus{Up: true, ExtensionVersion: "1.0"}}
		for range 3 {
			s.Nodes = append(s.Nodes, api.NodeStatus{Voter: true, Status: api.NodeAlive})
		}
		return s
	}
	if got := missing(ready(), 3); got != "" {
		t.Errorf("ready cluster lacks %q", got)
	}
	for want, spoil := range map[string]func(*api.Status){
		"no leader":             func(s *api.Status) { s.LeaderID = 0 },
		"2 of 3 nodes register": func(s *api.Status) { s.Nodes = s.Nodes[:2] },
		"2 of 3 nodes vote":     func(s *api.Status) { s.Nodes[0].Voter = false },
		"2 of 3 nodes alive":    func(s *api.Status) { s.Nodes[2].Status = api.NodeFailed },
		"no quorum":             func(s *api.Status) { s.HasQuorum = false },
		"not connected":         func(s *api.Status) { s.Postgres.Up = false },
		"no rights":             func(s *api.Status) { s.Postgres.Error = "no rights" },
		"extension":             func(s *api.Status) { s.Postgres.ExtensionVersion = "" },
		"RECOVERING":            func(s *api.Status) { s.WorkerState = api.WorkerRecovering },
	} {
		s := ready()
		spoil(s)
		if got := missing(s, 3); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Below the range from which the kernel takes ports for outgoing connections: those beside the taken one stay free.
	free := 20000 + os.Getpid()%10000
	taken, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(free+100)))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"no nodes":        {Config{Nodes: 0, BasePort: free}, "0 nodes"},
		"too many nodes":  {Config{Nodes: 10, BasePort: free}, "10 nodes"},
		"full directory":  {Config{Nodes: 1, BasePort: free, Dir: full}, "not empty"},
		"port taken":      {Config{Nodes: 1, BasePort: port - portGossip}, "port " + strconv.Itoa(port) + " is taken"},
		"ports too high":  {Config{Nodes: 3, BasePort: 65520}, "can't be used"},
		"privileged port": {Config{Nodes: 1, BasePort: 80}, "can't be used"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tt.cfg.Out, tt.cfg.Err = &out, &out
			err := Run(context.Background(), tt.cfg)
			var known *Error
			if !errors.As(err, &known) || !strings.Contains(err.Error(), tt.want) || known.Next == "" {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(full, "precious")); err != nil {
		t.Errorf("the demo removed what it refused: %v", err)
	}
}

// TestAwkwardDirectories is about places that PostgreSQL's user can't enter (a test's own directory is one, for root)
// and paths too long for a socket.
func TestAwkwardDirectories(t *testing.T) {
	for name, dir := range map[string]string{"private": "d", "long": strings.Repeat("d", 90)} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), dir)
			c := &cluster{cfg: Config{Nodes: 2, Dir: root, BasePort: 7400, Err: io.Discard}}
			if err := c.makeDirs(); err != nil {
				t.Fatal(err)
			}
			for _, n := range c.nodes {
				if path := filepath.Join(n.runDir, ".s.PGSQL.65535"); len(path) > maxSocketPath {
					t.Errorf("%s is %d bytes", path, len(path))
				}
				for _, needed := range []string{n.serverDir, n.runDir} {
					if err := checkReach(needed); err != nil {
						t.Error(err)
					}
				}
			}
			if err := c.removeDirs(); err != nil {
				t.Fatal(err)
			}
			for _, n := range c.nodes {
				for _, gone := range []string{n.dir, n.serverDir, n.runDir, root} {
					if _, err := os.Stat(gone); err == nil {
						t.Errorf("%s is left", gone)
					}
				}
			}
		})
	}
}

func TestLockHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.lock")
	if got := lockHolder(path); got != 0 {
		t.Errorf("no file: %d", got)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("4242\n"); err != nil {
		t.Fatal(err)
	}
	if got := lockHolder(path); got != 0 {
		t.Errorf("left over from a dead agent: %d", got)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if got := lockHolder(path); got != 4242 {
		t.Errorf("locked: %d, want 4242", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := lockHolder(path); got != 0 {
		t.Errorf("given free: %d", got)
	}
}
