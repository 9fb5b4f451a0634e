package testcluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NewFarNetwork makes a network of n hosts that are apart: this process carries every packet, and gives it the time
// that it takes. A kernel's netem would do the same where it is there; this needs /dev/net/tun and root only. Cables
// can't be pulled in it.
func NewFarNetwork(tb testing.TB, n int) *Distance {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("SKIPPED, NOT PASSED: network namespaces need root")
	}
	d := &Distance{Network: &Network{tb: tb}}
	for i := range n {
		h := &Host{Namespace: fmt.Sprintf("pgraft-%d-far-%d", os.Getpid(), i+1), IP: fmt.Sprintf("10.231.8.%d", i+1), network: d.Network, deaf: map[*Host]string{}}
		d.namespace(h.Namespace)
		wire, err := openWire(h.Namespace)
		if err != nil {
			tb.Skipf("SKIPPED, NOT PASSED: no TUN device: %v", err)
		}
		d.ip("-n", h.Namespace, "addr", "add", h.IP+"/24", "dev", wireName)
		d.ip("-n", h.Namespace, "link", "set", wireName, "up")
		d.Hosts, d.wires = append(d.Hosts, h), append(d.wires, wire)
		tb.Cleanup(func() { _ = wire.Close() })
	}
	for from := range d.wires {
		go d.carry(from)
	}
	return d
}

// Distance is a network whose hosts are apart.
type Distance struct {
	*Network
	wires  []*os.File
	oneWay atomic.Int64
	loss   atomic.Int64 // of a million packets
}

// Set changes how long a packet is under way, and which share of them is lost.
func (d *Distance) Set(oneWay time.Duration, loss float64) {
	d.oneWay.Store(int64(oneWay))
	d.loss.Store(int64(loss * 1e6))
}

const wireName = "eth0"

// openWire makes a network device in a namespace; what the host sends is read from the file, and what it is to receive
// is written to it.
func openWire(namespace string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is thrown away with its namespace
		file, err := openWireHere(namespace)
		done <- result{file, err}
	}()
	r := <-done
	return r.file, r.err
}

func openWireHere(namespace string) (*os.File, error) {
	ns, err := os.Open("/var/run/netns/" + namespace)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter namespace: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(wireName)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make device: %w", err)
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

type packet struct {
	due  time.Time
	data []byte
}

// carry takes what a host sends to the others, in order, until the wire is closed.
func (d *Distance) carry(from int) {
	const queue = 10000
	lines := make([]chan packet, len(d.wires))
	for to := range lines {
		lines[to] = make(chan packet, queue)
		go func() {
			for p := range lines[to] {
				time.Sleep(time.Until(p.due))
				_, _ = d.wires[to].Write(p.data) // a host that is gone gets nothing
			}
		}()
		defer close(lines[to])
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := d.wires[from].Read(buf)
		if err != nil {
			return
		}
		const destination = 19 // the last byte of an IPv4 packet's destination
		if n <= destination || buf[0]>>4 != 4 || rand.Int64N(1e6) < d.loss.Load() {
			continue
		}
		if to := int(buf[destination]) - 1; to >= 0 && to < len(lines) && to != from {
			select {
			case lines[to] <- packet{time.Now().Add(time.Duration(d.oneWay.Load())), append([]byte(nil), buf[:n]...)}:
			default: // the line is full: lost
			}
		}
	}
}
