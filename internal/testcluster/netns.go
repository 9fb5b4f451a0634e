package testcluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a few hosts of the test's own: network namespaces on one bridge, which stands in a namespace too, so that
// nothing of it is visible to the machine. It needs root.
type Network struct {
	tb    testing.TB
	hub   string
	Hosts []*Host
}

// Host is one network namespace with an address of its own.
type Host struct {
	Namespace string
	IP        string
	port      string // the hub's end of its cable
	network   *Network
	deaf      map[*Host]string // whom nothing is sent to, and at which address
}

// NewNetwork makes a network of n hosts, which goes with the test.
func NewNetwork(tb testing.TB, n int) *Network {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("SKIPPED, NOT PASSED: network namespaces need root")
	}
	nw := &Network{tb: tb, hub: fmt.Sprintf("pgraft-%d-hub", os.Getpid())}
	nw.namespace(nw.hub)
	nw.ip("-n", nw.hub, "link", "add", "br0", "type", "bridge")
	nw.ip("-n", nw.hub, "link", "set", "br0", "up")
	for i := range n {
		nw.Hosts = append(nw.Hosts, nw.host(i+1))
	}
	return nw
}

func (nw *Network) namespace(name string) {
	nw.tb.Helper()
	nw.ip("netns", "add", name)
	nw.tb.Cleanup(func() { nw.ip("netns", "del", name) })
	nw.ip("-n", name, "link", "set", "lo", "up")
}

func (nw *Network) host(i int) *Host {
	nw.tb.Helper()
	h := &Host{
		Namespace: fmt.Sprintf("pgraft-%d-%d", os.Getpid(), i), IP: fmt.Sprintf("10.231.7.%d", i),
		port: fmt.Sprintf("p%d", i), network: nw, deaf: make(map[*Host]string),
	}
	nw.namespace(h.Namespace)
	nw.ip("-n", nw.hub, "link", "add", h.port, "type", "veth", "peer", "name", "eth0", "netns", h.Namespace)
	nw.ip("-n", nw.hub, "link", "set", h.port, "master", "br0", "up")
	nw.ip("-n", h.Namespace, "addr", "add", h.IP+"/24", "dev", "eth0")
	nw.ip("-n", h.Namespace, "link", "set", "eth0", "up")
	return h
}

func (nw *Network) ip(args ...string) {
	nw.tb.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		nw.tb.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Cut pulls the host's cable; Mend puts it back.
func (h *Host) Cut() { h.network.ip("-n", h.network.hub, "link", "set", h.port, "down") }

// Mend puts back the cable that Cut pulled.
func (h *Host) Mend() { h.network.ip("-n", h.network.hub, "link", "set", h.port, "up") }

// nobody is a hardware address that no host has.
const nobody = "02:00:00:00:00:01"

// Block loses whatever this host sends to another one from now on. What that one sends arrives. It needs no packet
// filter: the frames go to a hardware address that nobody has.
func (h *Host) Block(to *Host) {
	h.network.ip("-n", h.Namespace, "neigh", "replace", to.IP, "lladdr", nobody, "dev", "eth0", "nud", "permanent")
	h.deaf[to] = to.IP
}

// Unblock ends what Block began.
func (h *Host) Unblock(to *Host) {
	if ip, ok := h.deaf[to]; ok {
		h.network.ip("-n", h.Namespace, "neigh", "del", ip, "dev", "eth0")
		delete(h.deaf, to)
	}
}

// Part loses everything between two hosts, and Join ends that.
func (h *Host) Part(from *Host) { h.Block(from); from.Block(h) }

// Join ends what Part began.
func (h *Host) Join(with *Host) { h.Unblock(with); with.Unblock(h) }

// Move gives the host another address.
func (h *Host) Move(ip string) {
	h.network.ip("-n", h.Namespace, "addr", "flush", "dev", "eth0", "scope", "global")
	h.network.ip("-n", h.Namespace, "addr", "add", ip+"/24", "dev", "eth0")
	h.IP = ip
}

// HTTPClient returns a client whose connections begin on the host.
func (h *Host) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}}
}

// Dial opens a connection from within the host's namespace. The socket stays there; the thread goes back, or ends with
// its goroutine if it can't.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is thrown away with its namespace
		conn, err := h.dialHere(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

func (h *Host) dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	ns, err := os.Open("/var/run/netns/" + h.Namespace)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter namespace: %w", err)
	}
	return (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
}
