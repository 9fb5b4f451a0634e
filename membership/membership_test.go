package membership_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/membership"
)

func TestJoinShowsEverybodyToEverybody(t *testing.T) {
	cfg := config(t, "a")
	cfg.Meta.Zone, cfg.Meta.Witness, cfg.Meta.NonVoting, cfg.Meta.Expect = "z1", true, true, 3
	a, b, c := open(t, cfg), open(t, config(t, "b")), open(t, config(t, "c"))
	join(t, b, a)
	join(t, c, b)
	eventually(t, all(sees(a, "a", "b", "c"), sees(b, "a", "b", "c"), sees(c, "a", "b", "c")))

	got, _ := find(c, "a")
	if got.Meta != a.Local().Meta || got.Meta.Zone != "z1" || !got.Meta.Witness || !got.Meta.NonVoting || got.Meta.Expect != 3 {
		t.Errorf("metadata of a at c: %+v, at a: %+v", got.Meta, a.Local().Meta)
	}
	if got.Address != a.Local().Address || got.Local || !a.Local().Local {
		t.Errorf("a at c: %+v", got)
	}
	out := got.API()
	if out.ServerID != cfg.ServerID || out.RaftAddress != "127.0.0.1:7401" || out.Status != api.NodeAlive || out.Meta["expect"] != "3" {
		t.Errorf("as API: %+v", out)
	}
	eventually(t, func() error {
		if m, _ := find(c, "a"); m.RTT == 0 || time.Since(m.LastSeen) > time.Second {
			return fmt.Errorf("a is not probed: RTT %s, last seen %s", m.RTT, m.LastSeen)
		}
		return nil
	})
}

func TestUpdatedMetadataSpreads(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	join(t, a, b)
	meta := a.Local().Meta
	meta.PostgresAddress = "10.0.0.1:5432"
	if err := a.UpdateMeta(meta); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if m, _ := find(b, "a"); m.Meta.PostgresAddress != "10.0.0.1:5432" {
			return fmt.Errorf("b has %+v", m.Meta)
		}
		return nil
	})
	meta.Zone = strings.Repeat("z", membership.MaxZoneLen+1)
	if err := a.UpdateMeta(meta); err == nil || !strings.Contains(err.Error(), "zone") {
		t.Errorf("too long a zone: %v", err)
	}
}

func TestLeaveIsNoFailure(t *testing.T) {
	a, b, c := open(t, config(t, "a")), open(t, config(t, "b")), open(t, config(t, "c"))
	join(t, b, a)
	join(t, c, a)
	eventually(t, all(sees(a, "a", "b", "c"), sees(b, "a", "b", "c"), sees(c, "a", "b", "c")))
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, b)
	stop(t, c)
	eventually(t, all(has(a, "b", api.NodeLeft), has(a, "c", api.NodeFailed)))
	if _, err := b.Join(t.Context(), []string{addr(a)}); err == nil {
		t.Error("a node that is closed joined")
	}
	if err := b.Leave(t.Context()); err == nil {
		t.Error("a node that is closed left")
	}
}

func TestGoodbyeReachesWhoWasCutOff(t *testing.T) {
	var cut atomic.Bool
	var cutAddr atomic.Pointer[string]
	blocked := func(addr string) bool {
		p := cutAddr.Load()
		return cut.Load() && p != nil && addr == *p
	}
	var others atomic.Pointer[string]
	a, b := open(t, membership.WithSeam(config(t, "a"), membership.Seam{Timers: quick, Blocked: blocked})),
		open(t, membership.WithSeam(config(t, "b"), membership.Seam{Timers: quick, Blocked: blocked}))
	c := open(t, membership.WithSeam(config(t, "c"), membership.Seam{Timers: quick, Blocked: func(addr string) bool {
		p := others.Load()
		return cut.Load() && p != nil && strings.Contains(*p, addr)
	}}))
	join(t, b, a)
	join(t, c, a)
	eventually(t, all(sees(a, "a", "b", "c"), sees(b, "a", "b", "c"), sees(c, "a", "b", "c")))
	cAddr, ab := addr(c), addr(a)+" "+addr(b)
	cutAddr.Store(&cAddr)
	others.Store(&ab)
	cut.Store(true)
	eventually(t, all(sees(a, "a", "b"), sees(b, "a", "b"), sees(c, "c")))
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, b)
	eventually(t, all(has(a, "b", api.NodeLeft), has(c, "b", api.NodeFailed)))
	cut.Store(false)
	eventually(t, all(sees(a, "a", "c"), sees(c, "a", "c"), has(c, "b", api.NodeLeft)))
}

func TestNameOfLiveNodeIsRefused(t *testing.T) {
	start := func(name string) *membership.Membership {
		return open(t, membership.WithSeam(config(t, name), membership.Seam{Timers: patient}))
	}
	a, b := start("a"), start("b")
	join(t, b, a)
	owner := b.Local()

	thief := start("b")
	_, err := thief.Join(t.Context(), []string{addr(a)})
	wantRefusal(t, err, membership.RefusedName, `"b"`, owner.Address.String(), owner.Meta.ServerID, "node_name")
	_, err = thief.Join(t.Context(), []string{addr(b)})
	wantRefusal(t, err, membership.RefusedName, owner.Address.String())

	if m, _ := find(a, "b"); m.Meta.ServerID != owner.Meta.ServerID || m.Address != owner.Address || m.Status != api.NodeAlive {
		t.Errorf("the owner of the name was harmed: %+v", m)
	}
	if err := all(sees(b, "a", "b"), sees(thief, "b"))(); err != nil {
		t.Error(err)
	}
	cfg := config(t, "b")
	cfg.Join = []string{addr(a)}
	m, err := membership.Open(cfg)
	wantRefusal(t, err, membership.RefusedName)
	if m != nil {
		t.Error("a refused node was opened")
	}
	eventually(t, func() error {
		select {
		case e := <-a.Events():
			if e.Type == membership.EventConflict && e.Member.Address == owner.Address {
				return nil
			}
			return fmt.Errorf("event %+v", e)
		default:
			return fmt.Errorf("no event")
		}
	})
}

func TestNameOfFailedNodeIsKept(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	join(t, b, a)
	owner := b.Local()
	stop(t, b)
	eventually(t, has(a, "b", api.NodeFailed))

	cfg := config(t, "b")
	cfg.Join = []string{addr(a)}
	other := open(t, cfg) // a reason to wait, none to give up
	eventually(t, func() error {
		r := other.Refusal()
		switch {
		case r == nil:
			return errors.New("not refused")
		case r.Kind != membership.RefusedKept:
			return r
		}
		return nil
	})
	_, err := other.Join(t.Context(), []string{addr(a)})
	wantRefusal(t, err, membership.RefusedKept, owner.Address.String(), owner.Meta.ServerID, "wait")
	if m, _ := find(a, "b"); m.Meta.ServerID != owner.Meta.ServerID {
		t.Errorf("the name was taken: %+v", m)
	}
}

func TestNameOfNodeThatFailedLongAgoIsFree(t *testing.T) {
	a := open(t, membership.WithSeam(config(t, "a"), membership.Seam{Timers: func(timers *membership.Timers) {
		quick(timers)
		timers.ReclaimAfter = time.Millisecond
	}}))
	b := open(t, config(t, "b"))
	join(t, b, a)
	stop(t, b)
	eventually(t, has(a, "b", api.NodeFailed))
	join(t, open(t, config(t, "b")), a)
}

func TestWipedNodeTakesItsNameBack(t *testing.T) {
	seam := membership.Seam{Timers: func(timers *membership.Timers) {
		quick(timers)
		timers.ReclaimAfter = 500 * time.Millisecond
	}}
	a := open(t, membership.WithSeam(config(t, "a"), seam))
	b := open(t, config(t, "b"))
	join(t, b, a)
	stop(t, b)
	cfg := config(t, "b")
	cfg.RetryJoin = []string{addr(a)}
	wiped := open(t, membership.WithSeam(cfg, seam))
	eventually(t, func() error {
		if m, _ := find(a, "b"); m.Meta.ServerID != cfg.ServerID || m.Status != api.NodeAlive {
			return fmt.Errorf("a has %+v", m)
		}
		return sees(wiped, "a", "b")()
	})
}

func TestWipedNodeAtItsOldAddressIsTakenAtOnce(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	join(t, b, a)
	cfg := config(t, "b")
	cfg.BindPort = port(b)
	stop(t, b)
	wiped := open(t, cfg)
	join(t, wiped, a)
	eventually(t, func() error {
		if m, _ := find(a, "b"); m.Meta.ServerID != cfg.ServerID || m.Status != api.NodeAlive {
			return fmt.Errorf("a has %+v", m)
		}
		return nil
	})
}

func TestNodeComesBackAtNewAddress(t *testing.T) {
	seldom := membership.Seam{Timers: func(timers *membership.Timers) {
		quick(timers)
		timers.PushPull = time.Hour // nothing but the node itself corrects the others
	}}
	a, c := open(t, membership.WithSeam(config(t, "a"), seldom)), open(t, membership.WithSeam(config(t, "c"), seldom))
	cfg := membership.WithSeam(config(t, "b"), seldom)
	b := open(t, cfg)
	join(t, b, a)
	join(t, c, a)
	eventually(t, all(sees(a, "a", "b", "c"), sees(c, "a", "b", "c")))
	stop(t, b)
	moved := open(t, cfg) // any port
	join(t, moved, a)     // before anybody has noticed that it was away
	at := func(m *membership.Membership) func() error {
		return func() error {
			if got, _ := find(m, "b"); got.Address != moved.Local().Address || got.Status != api.NodeAlive {
				return fmt.Errorf("%s has %+v", m.Local().Name, got)
			}
			return nil
		}
	}
	eventually(t, all(at(a), at(c), sees(moved, "a", "b", "c")))
}

func TestCopiedDataDirIsRefused(t *testing.T) {
	a := open(t, config(t, "a"))
	cfg := config(t, "b")
	b := open(t, cfg)
	join(t, b, a)
	cfg.NodeName = "copy"
	copied := open(t, cfg)
	_, err := copied.Join(t.Context(), []string{addr(a)})
	wantRefusal(t, err, membership.RefusedServerID, `"b"`, addr(b), "data_dir")
	if err := all(sees(a, "a", "b"), sees(b, "a", "b"))(); err != nil {
		t.Error(err)
	}
}

func TestOtherClusterNameIsRefused(t *testing.T) {
	log, logged := newLog(t, "a")
	cfg := config(t, "a")
	cfg.Logger = log
	a := open(t, cfg)
	cfg = config(t, "b")
	cfg.ClusterName = "prod"
	b := open(t, cfg)
	_, err := b.Join(t.Context(), []string{addr(a)})
	wantRefusal(t, err, membership.RefusedCluster, addr(a), `cluster_name than "prod"`)
	eventually(t, func() error {
		if logged.count(`unacceptable label \"prod\"`)+logged.count(`unacceptable label "prod"`) == 0 {
			return fmt.Errorf("a does not say whom it refused")
		}
		return sees(a, "a")()
	})
}

func TestOtherClusterIDIsRefused(t *testing.T) {
	withID := func(name, id string) membership.Config {
		cfg := config(t, name)
		cfg.ClusterID = func() string { return id }
		return cfg
	}
	one, two := uuid.NewString(), uuid.NewString()
	a, b := open(t, withID("a", one)), open(t, withID("b", two))
	_, err := b.Join(t.Context(), []string{addr(a)})
	wantRefusal(t, err, membership.RefusedCluster, one, two, addr(a))
	if err := all(sees(a, "a"), sees(b, "b"))(); err != nil {
		t.Error(err)
	}
	c := open(t, withID("c", strings.ToUpper(one)))
	join(t, c, a)
	eventually(t, all(sees(a, "a", "c"), sees(c, "a", "c")))
}

func TestClusterIDIsLearntLater(t *testing.T) {
	var id atomic.Pointer[string]
	id.Store(new(string))
	cfg := config(t, "a")
	cfg.ClusterID = func() string { return *id.Load() }
	a, b := open(t, cfg), open(t, config(t, "b"))
	join(t, b, a)
	want := uuid.NewString()
	id.Store(&want)
	eventually(t, func() error {
		if m, _ := find(b, "a"); m.Meta.ClusterID != want {
			return fmt.Errorf("b has cluster id %q of a", m.Meta.ClusterID)
		}
		return nil
	})
}

func TestRejoinAfterAllRestarted(t *testing.T) {
	names := []string{"a", "b", "c"}
	configs := map[string]membership.Config{}
	nodes := map[string]*membership.Membership{}
	for _, name := range names {
		cfg := config(t, name)
		cfg.DataDir = t.TempDir()
		configs[name], nodes[name] = cfg, open(t, cfg)
	}
	join(t, nodes["b"], nodes["a"])
	join(t, nodes["c"], nodes["a"])
	together := func() error {
		return all(sees(nodes["a"], names...), sees(nodes["b"], names...), sees(nodes["c"], names...))()
	}
	eventually(t, together)
	keep := port(nodes["a"])
	for _, name := range names {
		stop(t, nodes[name])
	}
	// One comes back where it was, the others somewhere else; only the peer files connect them.
	for _, name := range names {
		cfg := configs[name]
		if name == "a" {
			cfg.BindPort = keep
		}
		nodes[name] = open(t, cfg)
		if m, ok := find(nodes[name], "b"); name != "b" && (!ok || m.Meta.ServerID != configs["b"].ServerID) {
			t.Errorf("%s does not remember b", name)
		}
	}
	eventually(t, together)
}

func TestAllComeBackAtNewAddresses(t *testing.T) {
	// retry_join holds names. What they resolve to changes when all nodes have moved.
	var table atomic.Pointer[map[string]*membership.Membership]
	lookup := func(_ context.Context, host string) ([]netip.Addr, error) {
		if m := (*table.Load())[host]; m != nil {
			return []netip.Addr{m.Local().Address.Addr()}, nil
		}
		return nil, fmt.Errorf("no such host %s", host)
	}
	table.Store(&map[string]*membership.Membership{})
	dir := map[string]string{"a": t.TempDir(), "b": t.TempDir()}
	id := map[string]string{"a": uuid.NewString(), "b": uuid.NewString()}
	start := func(name, ip string, peers ...string) *membership.Membership {
		cfg := config(t, name)
		cfg.DataDir, cfg.ServerID, cfg.BindAddr = dir[name], id[name], ip
		cfg.RetryJoin = peers
		return open(t, membership.WithSeam(cfg, membership.Seam{Timers: quick, Lookup: lookup}))
	}
	a := start("a", "127.0.0.1")
	peer := "a.example:" + strconv.Itoa(port(a))
	table.Store(&map[string]*membership.Membership{"a.example": a})
	b := start("b", "127.0.0.2", peer)
	eventually(t, all(sees(a, "a", "b"), sees(b, "a", "b")))
	stop(t, a)
	stop(t, b)

	table.Store(&map[string]*membership.Membership{})
	a = start("a", "127.0.0.3")
	peer = "a.example:" + strconv.Itoa(port(a))
	b = start("b", "127.0.0.4", peer)
	if err := sees(b, "b")(); err != nil {
		t.Error(err)
	}
	table.Store(&map[string]*membership.Membership{"a.example": a}) // the name service catches up
	eventually(t, all(sees(a, "a", "b"), sees(b, "a", "b")))
}

func TestPartitionHealsAfterTheDeadAreForgotten(t *testing.T) {
	var cut atomic.Bool
	side := map[string]*atomic.Pointer[string]{"a": {}, "b": {}}
	start := func(name string) *membership.Membership {
		return open(t, membership.WithSeam(config(t, name), membership.Seam{
			Timers: func(timers *membership.Timers) {
				quick(timers)
				timers.GossipToTheDead = 50 * time.Millisecond
			},
			Blocked: func(to string) bool {
				other := side[name].Load()
				return cut.Load() && other != nil && to == *other
			},
		}))
	}
	a, b := start("a"), start("b")
	aAddr, bAddr := addr(a), addr(b)
	side["a"].Store(&bAddr)
	side["b"].Store(&aAddr)
	join(t, a, b)
	cut.Store(true)
	eventually(t, all(has(a, "b", api.NodeFailed), has(b, "a", api.NodeFailed), func() error {
		if !membership.Forgotten(a) || !membership.Forgotten(b) {
			return fmt.Errorf("memberlist still remembers")
		}
		return nil
	}))
	cut.Store(false)
	eventually(t, all(sees(a, "a", "b"), sees(b, "a", "b")))
}

func TestForceLeave(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	cfg := config(t, "c")
	c := open(t, cfg)
	join(t, b, a)
	join(t, c, a)
	eventually(t, all(sees(a, "a", "b", "c"), sees(b, "a", "b", "c")))
	if err := a.ForceLeave("c"); err == nil || !strings.Contains(err.Error(), "alive") {
		t.Errorf("force-leave of a living member: %v", err)
	}
	if err := a.ForceLeave("nobody"); err == nil {
		t.Error("force-leave of nobody")
	}
	stop(t, c)
	eventually(t, all(has(a, "c", api.NodeFailed), has(b, "c", api.NodeFailed)))
	if err := a.ForceLeave("c"); err != nil {
		t.Fatal(err)
	}
	eventually(t, all(has(a, "c", api.NodeLeft), has(b, "c", api.NodeLeft)))
	back := open(t, cfg)
	join(t, back, a)
	eventually(t, all(sees(a, "a", "b", "c"), sees(b, "a", "b", "c")))
}

func TestDeadNodeIsNoticedInTime(t *testing.T) {
	start := func(name string) *membership.Membership {
		return open(t, membership.WithSeam(config(t, name), membership.Seam{})) // lan as it is
	}
	a, b, c := start("a"), start("b"), start("c")
	join(t, b, a)
	join(t, c, a)
	eventually(t, all(sees(a, "a", "b", "c"), sees(b, "a", "b", "c"), sees(c, "a", "b", "c")))
	stop(t, c)
	died := time.Now()
	eventually(t, all(has(a, "c", api.NodeFailed), has(b, "c", api.NodeFailed)))
	took := time.Since(died)
	t.Logf("both survivors noticed after %s", took)
	if took > 4*time.Second { // 1 to 2 s on an idle machine
		t.Errorf("took %s", took)
	}
}

func TestStrangersAreIgnored(t *testing.T) {
	log, logged := newLog(t, "a")
	cfg := config(t, "a")
	cfg.Logger = log
	a, b := open(t, cfg), open(t, config(t, "b"))
	join(t, b, a)
	for name, reason := range map[string]string{"no-metadata": "not a pgraft node", "no\nname": "node name"} {
		conf := memberlist.DefaultLocalConfig()
		conf.Name, conf.Label, conf.BindAddr, conf.BindPort, conf.LogOutput = name, "test", "127.0.0.1", 0, io.Discard
		stranger, err := memberlist.Create(conf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stranger.Shutdown() })
		if _, err := stranger.Join([]string{addr(a)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if logged.count(reason) == 0 {
				return fmt.Errorf("a does not say that it ignores %q", name)
			}
			return sees(a, "a", "b")()
		})
	}
}

func TestSetRetryJoin(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	b.SetRetryJoin([]string{addr(a)}, 0)
	eventually(t, all(sees(a, "a", "b"), sees(b, "a", "b")))
}

func TestRefusalIsRemembered(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	join(t, b, a)
	again := config(t, "a")
	again.RetryJoin = []string{addr(b)}
	intruder := open(t, again)
	eventually(t, func() error {
		switch r := intruder.Refusal(); {
		case r == nil:
			return errors.New("not refused")
		case r.Kind != membership.RefusedName:
			return fmt.Errorf("refused for another reason than the name: %w", r)
		}
		return nil
	})
	if r := b.Refusal(); r != nil {
		t.Errorf("a member says that it is refused: %v", r)
	}
}
