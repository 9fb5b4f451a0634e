package consensus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// mux shares one port between Raft and the internal HTTP server. Each accepted connection is judged by its preamble in
// a goroutine of its own and then handed to one of the two.
type mux struct {
	listener  net.Listener
	tls       *tls.Config
	judge     func(preamble) welcome
	refused   func(string)
	maxPerIP  int
	logger    hclog.Logger
	raft      *branch
	http      *branch
	closing   chan struct{}
	closeOnce sync.Once
	wg        sync.WaitGroup

	mu    sync.Mutex // guards conns and perIP; never held across I/O
	conns map[net.Conn]struct{}
	perIP map[string]int
}

func newMux(listener net.Listener, addr net.Addr, logger hclog.Logger) *mux {
	m := &mux{
		listener: listener, logger: logger, closing: make(chan struct{}),
		conns: make(map[net.Conn]struct{}), perIP: make(map[string]int),
		judge: func(preamble) welcome { return welcome{} }, refused: func(string) {},
	}
	m.raft = &branch{mux: m, addr: addr, accepted: make(chan net.Conn)}
	m.http = &branch{mux: m, addr: addr, accepted: make(chan net.Conn)}
	return m
}

func (m *mux) start() { m.wg.Go(m.runAccept) }

func (m *mux) runAccept() {
	for delay := time.Duration(0); ; {
		conn, err := m.listener.Accept()
		if err == nil {
			delay = 0
			m.wg.Go(func() { m.handle(conn) })
			continue
		}
		if m.closed() || errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of file descriptors, most likely: wait for some to come free.
		delay = min(delay*2+5*time.Millisecond, time.Second)
		m.logger.Error("cannot accept a connection", "error", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-m.closing:
			return
		}
	}
}

func (m *mux) closed() bool {
	select {
	case <-m.closing:
		return true
	default:
		return false
	}
}

func (m *mux) handle(conn net.Conn) {
	tracked, err := m.track(conn)
	if err != nil {
		m.refuse(conn, err)
		return
	}
	p, err := m.handshake(tracked)
	if err != nil {
		tracked.Close()
		if !m.closed() {
			m.refuse(conn, err)
		}
		return
	}
	m.branchOf(p.Kind).deliver(tracked)
}

func (m *mux) refuse(conn net.Conn, err error) {
	conn.Close()
	m.refused(err.Error())
	m.logger.Warn("refused a connection", "remote", conn.RemoteAddr(), "reason", err)
}

func (m *mux) branchOf(kind byte) *branch {
	if kind == kindRaft {
		return m.raft
	}
	return m.http
}

// handshake judges the preamble and tells the dialler the outcome, all before the deadline.
func (m *mux) handshake(conn *muxConn) (preamble, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return preamble{}, err
	}
	if m.tls != nil {
		secure := tls.Server(conn.Conn, m.tls)
		if err := secure.Handshake(); err != nil {
			return preamble{}, fmt.Errorf("TLS handshake: %w", err)
		}
		conn.Conn = secure
	}
	p, err := readPreamble(conn.Conn)
	if err != nil {
		_ = writeWelcome(conn.Conn, welcome{Refused: err.Error()}) // a courtesy to whoever can read it
		return preamble{}, err
	}
	answer := m.judge(p)
	if err := writeWelcome(conn.Conn, answer); err != nil {
		return preamble{}, fmt.Errorf("answer preamble: %w", err)
	}
	if answer.Refused != "" {
		return preamble{}, fmt.Errorf("from node %q: %s", p.FromName, answer.Refused)
	}
	return p, conn.SetDeadline(time.Time{})
}

func (m *mux) track(conn net.Conn) (*muxConn, error) {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		host = conn.RemoteAddr().String()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed() {
		return nil, net.ErrClosed
	}
	if m.maxPerIP > 0 && m.perIP[host] >= m.maxPerIP {
		return nil, fmt.Errorf("%s has %d connections already", host, m.perIP[host])
	}
	m.perIP[host]++
	m.conns[conn] = struct{}{}
	return &muxConn{Conn: conn, forget: sync.OnceFunc(func() { m.forget(conn, host) })}, nil
}

func (m *mux) forget(conn net.Conn, host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, conn)
	if m.perIP[host]--; m.perIP[host] <= 0 {
		delete(m.perIP, host)
	}
}

// close ends the port and every connection that came in by it.
func (m *mux) close() {
	m.closeOnce.Do(func() {
		m.mu.Lock()
		close(m.closing)
		conns := make([]net.Conn, 0, len(m.conns))
		for conn := range m.conns {
			conns = append(conns, conn)
		}
		m.mu.Unlock()
		m.listener.Close()
		for _, conn := range conns {
			conn.Close()
		}
	})
	m.wg.Wait()
}

// muxConn is an accepted connection, which its mux forgets when it is closed.
type muxConn struct {
	net.Conn
	forget func()
}

// Close closes the connection.
func (c *muxConn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// branch is one of the two listeners behind the port.
type branch struct {
	mux      *mux
	addr     net.Addr
	accepted chan net.Conn
}

func (b *branch) deliver(conn net.Conn) {
	select {
	case b.accepted <- conn:
	case <-b.mux.closing:
		conn.Close()
	}
}

// Accept returns the next connection that was meant for this branch.
func (b *branch) Accept() (net.Conn, error) {
	select {
	case conn := <-b.accepted:
		return conn, nil
	case <-b.mux.closing:
		return nil, net.ErrClosed
	}
}

// Close does nothing: the branches live and die with their port, which Node.Close closes in its order.
func (b *branch) Close() error { return nil }

// Addr returns the advertised address.
func (b *branch) Addr() net.Addr { return b.addr }

// hostPort is an address that may be a name.
type hostPort string

// Network returns tcp.
func (hostPort) Network() string { return "tcp" }

// String returns the address.
func (a hostPort) String() string { return string(a) }

func listen(cfg *Config) (net.Listener, error) {
	if cfg.Listener != nil {
		return cfg.Listener, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.BindAddr)
	if err != nil {
		return nil, fmt.Errorf("listen for raft on %s: %w: stop what uses the port, or set another ports.raft", cfg.BindAddr, err)
	}
	return listener, nil
}
