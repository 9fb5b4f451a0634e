package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// Keys of the gossip, each as pgraft keygen makes them.
const (
	gossipKey  = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	gossipKey2 = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

// TestBadConfig checks that a wrong configuration is refused before anything starts, and that the message leads to the
// place.
func TestBadConfig(t *testing.T) {
	c := testcluster.Custom(t)
	const base = "node_name = \"a\"\ncluster_name = \"x\"\nbind_addr = \"127.0.0.1\"\n" // what follows begins in line 4
	const pg = "postgres {\n  dsn = \"host=/nowhere\"\n}\n"
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"UnknownKey", "data_dr = \"/x\"\nwitness = true\n", []string{":4:1:", "data_dr", "data_dir"}},
		{"UnknownBlock", "witness = true\nport {\n}\n", []string{":5:1:", "ports"}},
		{"WrongType", "witness = true\nbootstrap_expect = \"3\"\n", []string{":5:20:", "bootstrap_expect", "bootstrap_expect = 3"}},
		{"Syntax", "witness = true\nports {\n", []string{"agent.hcl:"}},
		{"BadKey", "witness = true\nencrypt = \"short\"\n", []string{":5:11:", "encrypt", "pgraft keygen"}},
		{"ACL", "witness = true\nacl {\n  enabled = true\n}\n", []string{":6:13:", "acl.enabled", "later release"}},
		{"Audit", "witness = true\naudit {\n  enabled = true\n}\n", []string{":6:13:", "audit.enabled", "later release"}},
		{"Managed", "postgres {\n  mode = \"managed\"\n}\n", []string{":5:10:", "postgres.mode", "external"}},
		{"NoPostgres", "", []string{"postgres", "witness"}},
		{"WitnessWithPostgres", pg + "witness = true\n", []string{":7:11:", "witness"}},
		{"Loopback", "witness = true\nadvertise_addr = \"127.0.0.1\"\nretry_join = [\"10.0.0.12\"]\n", []string{":5:18:", "advertise_addr", "10.0.0.12"}},
		{"TwoMistakes", "witnes = true\nlog_level = 7\n", []string{":4:1:", ":5:13:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(c.Dir, tt.name)
			n := &testcluster.Node{Name: tt.name, Config: filepath.Join(dir, "agent.hcl"), HTTP: "127.0.0.1:1"}
			dirs := fmt.Sprintf("data_dir = %q\nrun_dir = %q\n", filepath.Join(dir, "data"), filepath.Join(dir, "run"))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(n.Config, []byte(base+tt.config+dirs), 0o644); err != nil {
				t.Fatal(err)
			}
			out, code := c.RunAgent(n)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			wantText(t, "the message", out, append(tt.want, n.Config)...)
			for _, name := range []string{"data", "run"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					t.Errorf("%s was made although the configuration was refused", name)
				}
			}
		})
	}
}

// TestRefusedNode tries to start agents that must not run beside the one that is there, or not as what they are.
func TestRefusedNode(t *testing.T) {
	c := testcluster.Custom(t)
	first := c.Add(testcluster.Spec{Name: "first", Expect: 1, Config: "encrypt = \"" + gossipKey + "\"\n"})
	c.StartAll()
	mustPut(t, first, "kept", "v")
	before := statusOf(t, c, first)
	r := refusals{c, first}
	t.Run("SameName", r.sameName)
	t.Run("SameNameByRetryJoin", r.sameNameByRetryJoin)
	t.Run("HTTPPort", func(t *testing.T) { r.port(t, "ports.http", first.HTTP) })
	t.Run("RaftPort", func(t *testing.T) { r.port(t, "ports.raft", first.Raft) })
	t.Run("GossipPort", func(t *testing.T) { r.port(t, "gossip", first.Gossip) })
	t.Run("Locked", r.locked)
	t.Run("WrongKey", r.wrongKey)
	t.Run("NoKey", r.noKey)
	t.Run("OtherName", r.otherName)
	t.Run("OtherClusterSameName", r.otherCluster)
	t.Run("OtherClusterUnknownID", r.otherClusterUnknown)
	after := wantStatus(t, c, first, func(s api.Status) string {
		if !s.IsLeader || s.WorkerState != api.WorkerRunning {
			return fmt.Sprintf("leader %v, %s", s.IsLeader, s.WorkerState)
		}
		return ""
	})
	if after.Term != before.Term || len(after.Nodes) != 1 || after.StartedAt != before.StartedAt {
		t.Errorf("the first node was harmed: term %d then %d, nodes %+v, started %s then %s", before.Term, after.Term, after.Nodes, before.StartedAt, after.StartedAt)
	}
	wantKey(t, first, "kept", "v")
}

type refusals struct {
	c     *testcluster.Cluster
	first *testcluster.Node
}

// add describes another node, which is not counted among the cluster's.
func (r refusals) add(t *testing.T, spec testcluster.Spec) *testcluster.Node {
	t.Helper()
	n := r.c.Add(spec)
	r.c.Nodes = r.c.Nodes[:1]
	return n
}

func (r refusals) want(t *testing.T, n *testcluster.Node, args []string, words ...string) {
	t.Helper()
	out, code := r.c.RunAgent(n, args...)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	wantText(t, "the refused agent", lastLines(out, 4), words...)
}

// lastLines is where an operator looks first.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

const encrypted = "encrypt = \"" + gossipKey + "\"\n"

func (r refusals) sameName(t *testing.T) {
	r.c.In(t)
	n := r.add(t, testcluster.Spec{Name: "same", Config: "node_name = \"first\"\n" + encrypted})
	r.want(t, n, []string{"-join=" + r.first.Gossip}, `"first"`, r.first.Gossip, "another node_name")
}

// sameNameByRetryJoin does not end, since whom retry_join names may be wrong for the moment: it has to say why it is
// no member.
func (r refusals) sameNameByRetryJoin(t *testing.T) {
	r.c.In(t)
	n := r.add(t, testcluster.Spec{Name: "retry", Join: []*testcluster.Node{r.first}, Config: "node_name = \"first\"\n" + encrypted})
	r.c.StartAgent(n)
	s := wantStatus(t, r.c, n, func(s api.Status) string {
		if s.WorkerState != api.WorkerError {
			return fmt.Sprintf("worker is %s (%s)", s.WorkerState, s.WorkerMessage)
		}
		return ""
	})
	wantText(t, "the worker's message", s.WorkerMessage, `"first"`, "node_name")
	wantText(t, "the log", r.c.LogOf(n), r.first.Gossip, "another node_name")
	r.c.TerminateAgent(n)
}

func (r refusals) port(t *testing.T, key, taken string) {
	t.Helper()
	r.c.In(t)
	block := strings.TrimPrefix(key, "ports.")
	n := r.add(t, testcluster.Spec{Name: "port-" + block, Expect: 1, Config: encrypted})
	raw, err := os.ReadFile(n.Config)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]string{"http": n.HTTP, "raft": n.Raft, "gossip": n.Gossip}[block]
	port := strconv.Itoa(testcluster.Port(taken))
	config := strings.Replace(string(raw), fmt.Sprintf("%s = %d", block, testcluster.Port(own)), block+" = "+port, 1)
	if err := os.WriteFile(n.Config, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	r.want(t, n, nil, port, "in use", key)
	if l, err := net.Listen("tcp", n.HTTP); err != nil && own != n.HTTP {
		t.Errorf("the refused agent left a port behind: %v", err)
	} else if err == nil {
		_ = l.Close()
	}
}

func (r refusals) locked(t *testing.T) {
	r.c.In(t)
	r.want(t, r.first, nil, r.first.DataDir, "in use", strconv.Itoa(r.first.AgentPID))
}

func (r refusals) wrongKey(t *testing.T) {
	r.c.In(t)
	n := r.add(t, testcluster.Spec{Name: "wrong-key", Config: "encrypt = \"" + gossipKey2 + "\"\n"})
	r.want(t, n, []string{"-join=" + r.first.Gossip}, "key", "encrypt", r.first.Gossip)
}

func (r refusals) noKey(t *testing.T) {
	r.c.In(t)
	n := r.add(t, testcluster.Spec{Name: "no-key"})
	r.want(t, n, []string{"-join=" + r.first.Gossip}, "encrypt", r.first.Gossip)
}

// otherName starts a data_dir of cluster "other" as a member of "test".
func (r refusals) otherName(t *testing.T) {
	r.c.In(t)
	n := r.add(t, testcluster.Spec{Name: "other-name", Cluster: "other", Expect: 1, Config: encrypted})
	id := r.found(t, n)
	config, err := os.ReadFile(n.Config)
	if err != nil {
		t.Fatal(err)
	}
	renamed := strings.Replace(string(config), `"other"`, `"test"`, 1)
	if err := os.WriteFile(n.Config, []byte(renamed), 0o644); err != nil {
		t.Fatal(err)
	}
	r.want(t, n, []string{"-join=" + r.first.Gossip}, n.DataDir, `"other"`, id, `"test"`, "data_dir")
	if err := os.WriteFile(n.Config, config, 0o644); err != nil {
		t.Fatal(err)
	}
	r.unharmed(t, n)
}

// otherCluster joins a node of a second cluster that has the same name.
func (r refusals) otherCluster(t *testing.T) {
	r.c.In(t)
	n := r.add(t, testcluster.Spec{Name: "other-cluster", Expect: 1, Config: encrypted})
	id := r.found(t, n)
	r.want(t, n, []string{"-join=" + r.first.Gossip}, id, "cluster", "data_dir")
	r.unharmed(t, n)
}

// otherClusterUnknown is a node that was killed before it could write down which cluster it had founded. It must not be
// taken for a new one: another cluster's log would be written over its own.
func (r refusals) otherClusterUnknown(t *testing.T) {
	r.c.In(t)
	n := r.add(t, testcluster.Spec{Name: "unknown-id", Expect: 1, Config: encrypted})
	r.found(t, n)
	if err := os.Remove(filepath.Join(n.DataDir, "cluster.json")); err != nil {
		t.Fatal(err)
	}
	r.c.StartAgent(n, "-join="+r.first.Gossip)
	time.Sleep(3 * time.Second) // it may end at once or live on alone
	_ = syscall.Kill(n.AgentPID, syscall.SIGKILL)
	r.c.Reap(n)
	r.unharmed(t, n)
	if s := statusOf(t, r.c, r.first); len(s.Nodes) != 1 || len(s.Peers) != 0 {
		t.Errorf("the first cluster took a server of another one in: %+v %+v", s.Nodes, s.Peers)
	}
}

// found makes a cluster of one node with a key in it, stops it, and returns its id.
func (r refusals) found(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	r.c.StartAgent(n)
	mustPut(t, n, "own", n.Name)
	s := wantStatus(t, r.c, n, func(s api.Status) string {
		if s.ClusterID == "" {
			return "knows no cluster id"
		}
		return ""
	})
	r.c.TerminateAgent(n)
	return s.ClusterID
}

func (r refusals) unharmed(t *testing.T, n *testcluster.Node) {
	t.Helper()
	r.c.StartAgent(n)
	wantKey(t, n, "own", n.Name)
	if a, err := ask(t.Context(), n, "GET", "/v1/kv/kept?stale", ""); err != nil || a.code != 404 {
		t.Errorf("%s got a key of the other cluster: %v %d %s", n.Name, err, a.code, a.body)
	}
	r.c.TerminateAgent(n)
}

// TestLoopbackInNetwork gives a node of a cluster of several hosts an address that only it can call.
func TestLoopbackInNetwork(t *testing.T) {
	network := testcluster.NewNetwork(t, 2)
	c := testcluster.Custom(t)
	first := c.Add(testcluster.Spec{Name: "first", Host: network.Hosts[0], Expect: 1})
	c.StartAll()
	config := "advertise_addr = \"127.0.0.1\"\nbind_addr = \"0.0.0.0\"\n"
	second := c.Add(testcluster.Spec{Name: "second", Host: network.Hosts[1], Config: config})
	c.Nodes = c.Nodes[:1]
	out, code := c.RunAgent(second, "-join="+network.Hosts[0].IP)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	wantText(t, "the refused agent", lastLines(out, 4), "127.0.0.1", network.Hosts[0].IP, "advertise_addr")
	if s := statusOf(t, c, first); len(s.Nodes) != 1 || !s.IsLeader {
		t.Errorf("the first node was harmed: %+v", s.Nodes)
	}
}
