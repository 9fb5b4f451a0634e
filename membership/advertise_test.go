package membership_test

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/membership"
)

func TestSplitAddr(t *testing.T) {
	cases := []struct {
		text, host string
		port       uint16
		bad        bool
	}{
		{text: "pg1", host: "pg1", port: 7402},
		{text: " pg1.example:9 ", host: "pg1.example", port: 9},
		{text: "10.0.0.1", host: "10.0.0.1", port: 7402},
		{text: "10.0.0.1:65535", host: "10.0.0.1", port: 65535},
		{text: "fe80::1", host: "fe80::1", port: 7402},
		{text: "[fe80::1]", host: "fe80::1", port: 7402},
		{text: "[fe80::1]:1", host: "fe80::1", port: 1},
		{text: "", bad: true},
		{text: ":7402", bad: true},
		{text: "pg1:", bad: true},
		{text: "pg1:0", bad: true},
		{text: "pg1:65536", bad: true},
		{text: "pg1:x", bad: true},
		{text: "a:b:c", bad: true},
		{text: "name/10.0.0.1", bad: true},
	}
	for _, c := range cases {
		host, port, err := membership.SplitAddr(c.text)
		if (err != nil) != c.bad || host != c.host && !c.bad || port != c.port && !c.bad {
			t.Errorf("%q: %q %d %v", c.text, host, port, err)
		}
	}
}

func TestCheckAdvertise(t *testing.T) {
	cases := []struct {
		name, advertise string
		peers           []string
		want            string // "" = fine
	}{
		{name: "Private", advertise: "10.0.0.1", peers: []string{"10.0.0.2:7402", "127.0.0.1:7402"}},
		{name: "LoopbackAlone", advertise: "127.0.0.1"},
		{name: "LoopbackAmongLoopbacks", advertise: "127.0.0.1:7402", peers: []string{"127.0.0.2", "[::1]:7402"}},
		{name: "NamesAreCheckedLater", advertise: "127.0.0.1", peers: []string{"pg2", "pg3:7402"}},
		{name: "Loopback", advertise: "127.0.0.1", peers: []string{"127.0.0.2", "10.0.0.2"}, want: "10.0.0.2 can't reach"},
		{name: "Loopback6", advertise: "::1", peers: []string{"[fd00::2]:7402"}, want: "set advertise_addr"},
		{name: "MappedLoopback", advertise: "::ffff:127.0.0.1", peers: []string{"10.0.0.2"}, want: "loopback"},
		{name: "Any", advertise: "0.0.0.0", want: "no address that another node could reach"},
		{name: "Multicast", advertise: "224.0.0.1", want: "no address that another node could reach"},
		{name: "NoIP", advertise: "pg1", want: "must be an IP address"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := membership.CheckAdvertise(c.advertise, c.peers)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAdvertisedAddressIsChosen(t *testing.T) {
	cfg := config(t, "a")
	cfg.BindAddr = "0.0.0.0"
	m := open(t, membership.WithSeam(cfg, membership.Seam{Timers: quick, PrivateIP: func() (string, error) { return "127.0.0.9", nil }}))
	if got := m.Local().Address.Addr(); got != netip.MustParseAddr("127.0.0.9") {
		t.Errorf("advertises %s", got)
	}
	for name, private := range map[string]func() (string, error){
		"None":  func() (string, error) { return "", nil },
		"Error": func() (string, error) { return "", errors.New("no interfaces") },
	} {
		_, err := membership.Open(membership.WithSeam(cfg, membership.Seam{PrivateIP: private}))
		if err == nil || !strings.Contains(err.Error(), "set advertise_addr") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg.AdvertiseAddr, cfg.AdvertisePort = "127.0.0.8", 1234
	m = open(t, cfg)
	if got := m.Local().Address.String(); got != "127.0.0.8:1234" {
		t.Errorf("advertises %s", got)
	}
}

func TestLoopbackDoesNotJoinOthers(t *testing.T) {
	cfg := config(t, "a")
	cfg.RetryJoin = []string{"192.0.2.1"}
	if _, err := membership.Open(cfg); err == nil || !strings.Contains(err.Error(), "advertise_addr") {
		t.Errorf("open: %v", err)
	}
	m := open(t, config(t, "b"))
	if _, err := m.Join(t.Context(), []string{"192.0.2.1"}); err == nil || !strings.Contains(err.Error(), "advertise_addr") {
		t.Errorf("join: %v", err)
	}
	if _, err := m.Join(t.Context(), []string{addr(m)}); err == nil || !strings.Contains(err.Error(), "this node's own") {
		t.Errorf("join itself: %v", err)
	}
}

func TestLoopbackMemberIsRefusedByOthers(t *testing.T) {
	a := open(t, config(t, "a"))
	cfg := config(t, "b")
	cfg.AdvertiseAddr = "192.0.2.7"
	b := open(t, cfg)
	_, err := b.Join(t.Context(), []string{addr(a)})
	wantRefusal(t, err, membership.RefusedAddress, `"a"`, "127.0.0.1", "advertise_addr")
	if err := all(sees(a, "a"), sees(b, "b"))(); err != nil {
		t.Error(err)
	}
}

func TestPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	cfg := config(t, "a")
	cfg.BindPort = ln.Addr().(*net.TCPAddr).Port
	_, err = membership.Open(cfg)
	for _, want := range []string{"gossip port " + strconv.Itoa(cfg.BindPort), "in use", "ports { gossip"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	cfg.BindPort, cfg.BindAddr = 0, "192.0.2.1"
	if _, err := membership.Open(cfg); err == nil || !strings.Contains(err.Error(), "set bind_addr") {
		t.Errorf("foreign address: %v", err)
	}
}

func TestBadConfigIsRefusedWhole(t *testing.T) {
	cfg := config(t, strings.Repeat("n", membership.MaxNameLen+1))
	cfg.ClusterName, cfg.ServerID, cfg.BindAddr, cfg.BindPort = "my cluster", "x", "eth0", -1
	cfg.Meta.Zone = strings.Repeat("z", membership.MaxZoneLen+1)
	cfg.RetryJoin = []string{"a:b:c"}
	_, err := membership.Open(cfg)
	for _, want := range []string{"node_name is 129 bytes long", `cluster_name "my cluster"`, "server id", "bind_addr", "gossip port -1", "zone is 65", "retry_join"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	cfg = config(t, "")
	cfg.Profile = "moon"
	if _, err := membership.Open(cfg); err == nil || !strings.Contains(err.Error(), "node_name is empty") {
		t.Errorf("no name: %v", err)
	}
	if _, err := membership.ProfileTimers("moon"); err == nil || !strings.Contains(err.Error(), "wan (10 to 50 ms)") {
		t.Errorf("profile: %v", err)
	}
}
