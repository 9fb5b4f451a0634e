package consensus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// dialer opens connections to other agents. It keeps hold of those that it opened for Raft, which has no way to end a
// call that hangs other than to cut its connection.
type dialer struct {
	hello   func(kind byte, to raft.ServerID) preamble
	network func(ctx context.Context, address string) (net.Conn, error)
	tls     *tls.Config
	timeout time.Duration
	// learned is told what each server answered.
	learned func(raft.ServerID, welcome)

	mu     sync.Mutex // guards conns and closed; never held across I/O
	conns  map[net.Conn]struct{}
	closed bool
}

// errRefused marks a connection that the other side understood and turned away.
var errRefused = errors.New("connection refused by the peer")

func dialNetwork(ctx context.Context, address string) (net.Conn, error) {
	// A name is resolved at each call, so that servers may move.
	return (&net.Dialer{KeepAlive: 5 * time.Second}).DialContext(ctx, "tcp", address)
}

func (d *dialer) dial(ctx context.Context, kind byte, to raft.ServerID, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.network(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	secure, err := d.greet(ctx, conn, kind, to, address)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("greet server at %s: %w", address, err)
	}
	return d.keep(secure)
}

func (d *dialer) greet(ctx context.Context, conn net.Conn, kind byte, to raft.ServerID, address string) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if d.tls != nil {
		secure := tls.Client(conn, tlsFor(d.tls, address))
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS handshake (do both agents have the same tls block?): %w", err)
		}
		conn = secure
	}
	if err := writePreamble(conn, d.hello(kind, to)); err != nil {
		return nil, fmt.Errorf("write preamble: %w", err)
	}
	answer, err := readWelcome(conn)
	if err != nil {
		return nil, err
	}
	if answer.Refused != "" {
		return nil, fmt.Errorf("%w: %s", errRefused, answer.Refused)
	}
	if to != "" {
		d.learned(to, answer)
	}
	return conn, conn.SetDeadline(time.Time{})
}

// tlsFor verifies the host name that is dialled unless the configuration names another.
func tlsFor(config *tls.Config, address string) *tls.Config {
	if config.ServerName != "" {
		return config
	}
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(address)
	return config
}

func (d *dialer) keep(conn net.Conn) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		conn.Close()
		return nil, ErrClosed
	}
	d.conns[conn] = struct{}{}
	return &dialedConn{Conn: conn, forget: func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, conn)
	}}, nil
}

// close cuts every connection that is still open.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	conns := make([]net.Conn, 0, len(d.conns))
	for conn := range d.conns {
		conns = append(conns, conn)
	}
	d.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
}

type dialedConn struct {
	net.Conn
	forget func()
}

// Close closes the connection.
func (c *dialedConn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// streamLayer is how Raft's transport listens and dials. It implements raft.StreamLayer.
type streamLayer struct {
	*branch
	dialer *dialer
}

// Dial connects to a server named as ServerAddr names it.
func (s *streamLayer) Dial(target raft.ServerAddress, _ time.Duration) (net.Conn, error) {
	id, address, err := splitServerID(target)
	if err != nil {
		return nil, err
	}
	return s.dialer.dial(context.Background(), kindRaft, id, address)
}
