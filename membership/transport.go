package membership

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's own, with dials that end when it is shut down, so that a stop never waits for the
// timeout of an address that does not answer.
type transport struct {
	*memberlist.NetTransport
	ctx     context.Context
	cancel  context.CancelFunc
	blocked func(addr string) bool

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport binds the gossip port, for TCP and UDP.
func newTransport(cfg Config, logger *log.Logger) (*transport, error) {
	// A port that is free for TCP may be taken for UDP; when any will do, the next one may be free for both.
	tries := 1
	if cfg.BindPort == 0 {
		tries = 10
	}
	var nt *memberlist.NetTransport
	var err error
	for range tries {
		nt, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{cfg.BindAddr}, BindPort: cfg.BindPort, Logger: logger,
		})
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, explainBind(cfg, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &transport{
		NetTransport: nt, ctx: ctx, cancel: cancel, blocked: cfg.tune.blocked, conns: map[net.Conn]struct{}{},
	}, nil
}

func explainBind(cfg Config, err error) error {
	where := fmt.Sprintf("bind gossip port %d on %s", cfg.BindPort, cfg.BindAddr)
	switch text := err.Error(); {
	case strings.Contains(text, "address already in use"):
		return fmt.Errorf("%s (TCP and UDP): the port is in use: stop the process that has it, perhaps another pgraft agent, or set ports { gossip = … }: %w", where, err)
	case strings.Contains(text, "cannot assign requested address"):
		return fmt.Errorf("%s: this machine does not have that address: set bind_addr to one that it has, or to 0.0.0.0: %w", where, err)
	case strings.Contains(text, "permission denied"):
		return fmt.Errorf("%s: not permitted: use a port from 1024 up: %w", where, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// WriteToAddress sends a packet.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if t.blocked != nil && t.blocked(a.Addr) {
		return time.Now(), nil
	}
	return t.NetTransport.WriteToAddress(b, a)
}

// DialAddressTimeout opens a stream.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if t.blocked != nil && t.blocked(a.Addr) {
		return nil, errors.New("dial " + a.Addr + ": blocked")
	}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(t.ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{Conn: conn, t: t}
	t.mu.Lock()
	t.conns[tracked] = struct{}{}
	t.mu.Unlock()
	if err := t.ctx.Err(); err != nil { // shut down meanwhile, perhaps too early to have seen this connection
		_ = tracked.Close()
		return nil, err
	}
	return tracked, nil
}

// Shutdown ends all outgoing streams and closes the port.
func (t *transport) Shutdown() error {
	t.cancel()
	t.mu.Lock()
	conns := t.conns
	t.conns = map[net.Conn]struct{}{}
	t.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
	return t.NetTransport.Shutdown()
}

type trackedConn struct {
	net.Conn
	t *transport
}

// Close closes the connection and lets go of it.
func (c *trackedConn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c)
	c.t.mu.Unlock()
	return c.Conn.Close()
}
