package consensustest

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Network dials between the servers of a Cluster and can cut them off from each other.
type Network struct {
	mu    sync.Mutex // guards all below
	names map[string]int
	cut   map[int]bool
	conns map[*conn]struct{}
}

func newNetwork() *Network {
	return &Network{names: make(map[string]int), cut: make(map[int]bool), conns: make(map[*conn]struct{})}
}

func (n *Network) register(server int, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[address] = server
}

// dialer returns how a server dials.
func (n *Network) dialer(from int) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		to, err := n.reach(from, address)
		if err != nil {
			return nil, err
		}
		inner, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, network: n, from: from, to: to}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.cut[from] != n.cut[to] {
			inner.Close()
			return nil, fmt.Errorf("network is cut")
		}
		n.conns[c] = struct{}{}
		return c, nil
	}
}

func (n *Network) reach(from int, address string) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	to, ok := n.names[address]
	if !ok {
		return 0, fmt.Errorf("no server at %s", address)
	}
	if n.cut[from] != n.cut[to] {
		return 0, fmt.Errorf("network between servers %d and %d is cut", from, to)
	}
	return to, nil
}

// Isolate cuts servers off from those that are not isolated. They can talk among themselves.
func (n *Network) Isolate(servers ...int) {
	n.mu.Lock()
	var broken []*conn
	for _, server := range servers {
		n.cut[server] = true
	}
	for c := range n.conns {
		if n.cut[c.from] != n.cut[c.to] {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.Close()
	}
}

// Heal ends all isolation.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

type conn struct {
	net.Conn
	network  *Network
	from, to int
}

// Close closes the connection.
func (c *conn) Close() error {
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}
