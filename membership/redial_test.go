package membership_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/membership"
)

func TestPlanRedial(t *testing.T) {
	at := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 7402)
	}
	self := membership.Member{Name: "self", Status: api.NodeAlive, Local: true}
	alive := membership.Member{Name: "alive", Status: api.NodeAlive, Address: at(1)}
	failed := membership.Member{Name: "failed", Status: api.NodeFailed, Address: at(2)}
	left := membership.Member{Name: "left", Status: api.NodeLeft, Address: at(3)}
	conf := []string{"pg1", "pg2"}
	cases := []struct {
		name    string
		members []membership.Member
		look    int
		dial    []netip.AddrPort
		join    []string
	}{
		{name: "Alone", members: []membership.Member{self}, look: 1, join: conf},
		{name: "AloneWithFailed", members: []membership.Member{self, failed, left}, look: 1, dial: []netip.AddrPort{at(2)}, join: conf},
		{name: "Together", members: []membership.Member{self, alive}, look: 1},
		{name: "OneFailed", members: []membership.Member{self, alive, failed}, look: 2, dial: []netip.AddrPort{at(2)}},
		{name: "NeverWhoLeft", members: []membership.Member{self, alive, left}, look: 3},
		{name: "NowAndThen", members: []membership.Member{self, alive}, look: 6, join: conf},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dial, join := membership.PlanRedial(c.members, conf, c.look)
			if !reflect.DeepEqual(dial, c.dial) || !reflect.DeepEqual(join, c.join) {
				t.Errorf("dials %v and %v, want %v and %v", dial, join, c.dial, c.join)
			}
		})
	}
	var many []membership.Member
	for n := range 40 {
		many = append(many, membership.Member{Name: fmt.Sprint(n), Status: api.NodeFailed, Address: at(n)})
	}
	tried := map[netip.AddrPort]bool{}
	for look := range 5 {
		dial, _ := membership.PlanRedial(many, nil, look)
		if len(dial) != 16 {
			t.Errorf("look %d dials %d", look, len(dial))
		}
		for _, addr := range dial {
			tried[addr] = true
		}
	}
	if len(tried) != len(many) {
		t.Errorf("%d of %d were ever tried", len(tried), len(many))
	}
}

func TestWhoLeftStaysLeftOverARestart(t *testing.T) {
	cfg := config(t, "a")
	cfg.DataDir = t.TempDir()
	a := open(t, cfg)
	bcfg := config(t, "b")
	bcfg.DataDir = t.TempDir()
	b := open(t, bcfg)
	join(t, b, a)
	eventually(t, all(sees(a, "a", "b"), func() error {
		_, err := os.Stat(filepath.Join(bcfg.DataDir, membership.PeerFileName))
		return err
	}))
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Join(t.Context(), []string{addr(a)}); !errors.Is(err, membership.ErrLeft) {
		t.Errorf("join after leave: %v", err)
	}
	stop(t, b)
	if _, err := os.Stat(filepath.Join(bcfg.DataDir, membership.PeerFileName)); !os.IsNotExist(err) {
		t.Errorf("who left kept its peers: %v", err)
	}
	eventually(t, has(a, "b", api.NodeLeft))
	stop(t, a)
	a = open(t, cfg)
	if err := has(a, "b", api.NodeLeft)(); err != nil {
		t.Error(err)
	}
	b = open(t, bcfg) // it may come back
	join(t, b, a)
	eventually(t, sees(a, "a", "b"))
}

func TestDamagedPeerFileCostsOnlyHints(t *testing.T) {
	cfg := config(t, "a")
	cfg.DataDir = t.TempDir()
	log, logged := newLog(t, "a")
	cfg.Logger = log
	if err := os.WriteFile(filepath.Join(cfg.DataDir, membership.PeerFileName), []byte(`{"version":1,"members":[{}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
	if logged.count("peer file is damaged") != 1 {
		t.Error("nothing was said")
	}
}

func TestRetryJoinWaitsForTheOthers(t *testing.T) {
	b := open(t, config(t, "b"))
	cfg := config(t, "b2")
	cfg.BindPort = port(b)
	stop(t, b)
	acfg := config(t, "a")
	acfg.RetryJoin = []string{fmt.Sprintf("127.0.0.1:%d", cfg.BindPort)}
	acfg.Join = acfg.RetryJoin // nobody there yet: no reason to fail
	a := open(t, acfg)
	if a.Joined() {
		t.Fatal("joined nobody")
	}
	late := open(t, cfg)
	eventually(t, all(sees(a, "a", "b2"), sees(late, "a", "b2")))
}

func TestClassifyLine(t *testing.T) {
	cases := []struct {
		line, text string
		level      hclog.Level
	}{
		{"[DEBUG] memberlist: Stream connection from=10.0.0.1:5", "Stream connection from=10.0.0.1:5", hclog.Trace},
		{"[INFO] memberlist: Suspect b has failed, no acks received", "Suspect b has failed, no acks received", hclog.Debug},
		{"[WARN] memberlist: Refuting an alive message for 'a' (10.0.0.1:7402) meta:([1 2] VS [3]), vsn:([1] VS [2])", "Refuting an alive message for 'a' (10.0.0.1:7402)", hclog.Debug},
		{"[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.9:7402", "Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.9:7402", hclog.Warn},
		{"[ERR] memberlist: Failed push/pull merge: node name taken: x from=10.0.0.9:1", "Failed push/pull merge: node name taken: x from=10.0.0.9:1", hclog.Debug},
		{"[ERR] memberlist: Error reading UDP packet: x", "Error reading UDP packet: x", hclog.Error},
		{"Err: Could not set the deadline: x", "Err: Could not set the deadline: x", hclog.Error},
		{"[", "[", hclog.Info},
		{"", "", hclog.Info},
	}
	for _, c := range cases {
		level, _, text := membership.ClassifyLine(c.line)
		if level != c.level || text != c.text {
			t.Errorf("%q: %s %q", c.line, level, text)
		}
	}
	_, one, _ := membership.ClassifyLine("[ERR] memberlist: Error reading UDP packet: from 10.0.0.1:1")
	_, two, _ := membership.ClassifyLine("[ERR] memberlist: Error reading UDP packet: from 10.0.0.2:2")
	if one != two {
		t.Errorf("two kinds: %q, %q", one, two)
	}
}

func TestExplainJoin(t *testing.T) {
	for text, want := range map[string]string{
		"failed to join 10.0.0.1:7402: EOF":                                                 `cluster_name than "prod"`,
		"failed to join 10.0.0.1:7402: dial tcp 10.0.0.1:7402: connect: connection refused": "join 10.0.0.1:7402: dial tcp 10.0.0.1:7402: connect: connection refused",
		"failed to join 10.0.0.1:7402: other cluster: node x":                               "join 10.0.0.1:7402: other cluster: node x",
	} {
		if got := membership.ExplainJoin("10.0.0.1:7402", "prod", errors.New(text)); !strings.Contains(got.Error(), want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestEventsNeverBlock(t *testing.T) {
	done := make(chan uint64)
	go func() { done <- membership.EmitMany(1000) }() // nobody takes them
	select {
	case dropped := <-done:
		if dropped == 0 || dropped >= 1000 {
			t.Errorf("%d dropped", dropped)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("blocked")
	}
}
