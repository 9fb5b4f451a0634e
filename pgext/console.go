package pgext

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const (
	defaultMaxClients = 64
	// defaultStatementTimeout is shorter than the patience of pgraft.command in the SQL script, so that it is the agent
	// that says what became of a change.
	defaultStatementTimeout = 10 * time.Second
	startupTimeout          = 5 * time.Second
	idleTimeout             = time.Hour
	writeTimeout            = 30 * time.Second
	// maxMessage is a value of the greatest size with every byte quoted, and some room.
	maxMessage    = 2<<20 + 64<<10
	maxDrain      = 64 << 20
	maxSocketPath = 107 // of sockaddr_un
)

// ConsoleConfig says how a Console is to be. Backend, RunDir and Port must be given.
type ConsoleConfig struct {
	Backend Backend
	RunDir  string // the socket is RunDir/.s.PGSQL.PORT, where libpq looks for it
	Port    int
	// AllowUIDs are operating system users that may connect, beside root and the agent's own: PostgreSQL's.
	AllowUIDs        []uint32
	MaxClients       int           // default 64
	StatementTimeout time.Duration // default 10s
	Logger           hclog.Logger
}

// Console is the agent's endpoint of PostgreSQL's protocol. Open starts one goroutine that accepts; each connection
// has one that answers and one that reads ahead, to notice a client that goes away. Close awaits them all.
type Console struct {
	cfg      ConsoleConfig
	commands []command

	listener *net.UnixListener
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex // guards the fields below; never held across a read or a write
	sessions map[uint32]*session
	nextID   uint32
}

// NewConsole returns a Console that is not open yet.
func NewConsole(cfg ConsoleConfig) *Console {
	if cfg.MaxClients == 0 {
		cfg.MaxClients = defaultMaxClients
	}
	if cfg.StatementTimeout == 0 {
		cfg.StatementTimeout = defaultStatementTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Console{cfg: cfg, commands: commands(), sessions: map[uint32]*session{}}
}

// SocketPath returns the place of the console's socket.
func SocketPath(runDir string, port int) string {
	return filepath.Join(runDir, ".s.PGSQL."+strconv.Itoa(port))
}

// Open listens and starts to serve. A socket that nobody listens on any more is replaced.
func (c *Console) Open() error {
	path := SocketPath(c.cfg.RunDir, c.cfg.Port)
	if len(path) > maxSocketPath {
		return fmt.Errorf("open console: path of the socket %s is longer than %d bytes: choose a shorter run_dir", path, maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	// Whoever may connect is decided by his user id, which the kernel vouches for, not by the socket's mode.
	if err := os.Chmod(path, 0o777); err != nil {
		_ = listener.Close()
		return fmt.Errorf("open console: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.listener, c.cancel = listener, cancel
	c.wg.Go(func() { c.runAccept(ctx) })
	return nil
}

// removeStale takes a dead agent's socket away and leaves a live one's alone.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for an old console socket: %w", err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("open console: %s is there and is no socket: remove it or choose another run_dir", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("open console: another agent serves %s: choose another run_dir or ports.console", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("open console: socket %s is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old console socket: %w", err)
	}
	return nil
}

// Close stops listening, ends the statements under way and waits for all connections to end.
func (c *Console) Close() error {
	if c.listener == nil {
		return nil
	}
	err := c.listener.Close()
	c.cancel()
	c.wg.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close console: %w", err)
	}
	return nil
}

func (c *Console) runAccept(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := c.listener.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors, most likely: give them time to come back
			c.cfg.Logger.Warn("cannot accept console connection", "error", err)
			wait(ctx, 100*time.Millisecond)
			continue
		}
		refusal := c.admit(conn)
		c.wg.Go(func() { c.serve(ctx, conn, refusal) })
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// admit returns why the peer may not connect, nil if it may.
func (c *Console) admit(conn *net.UnixConn) *sqlError {
	uid, err := peerUID(conn)
	if err != nil {
		c.cfg.Logger.Warn("cannot tell who connects to the console", "error", err)
		return &sqlError{code: stateBadPeer, message: "cannot tell who you are"}
	}
	if c.allowed(uid) {
		return nil
	}
	c.cfg.Logger.Warn("refused console connection", "uid", uid)
	return &sqlError{
		code: stateBadPeer, message: fmt.Sprintf("operating system user with id %d may not use the console", uid),
		hint: "connect as root, as the agent's user or as PostgreSQL's",
	}
}

func (c *Console) allowed(uid uint32) bool {
	if uid == 0 || int(uid) == os.Geteuid() {
		return true
	}
	for _, u := range c.cfg.AllowUIDs {
		if u == uid {
			return true
		}
	}
	return false
}

func peerUID(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("get socket: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, fmt.Errorf("control socket: %w", err)
	}
	if credErr != nil {
		return 0, fmt.Errorf("get peer's credentials: %w", credErr)
	}
	return cred.Uid, nil
}

// register gives a session its id and its cancel key, or tells that there are too many.
func (c *Console) register(s *session) *sqlError {
	secret := make([]byte, 4) // what protocol 3.0 has room for
	_, _ = rand.Read(secret)  // never fails
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= c.cfg.MaxClients {
		return &sqlError{
			code: stateTooManyClients, message: fmt.Sprintf("the console has its %d clients already", c.cfg.MaxClients),
			hint: "close one or try again later",
		}
	}
	for c.nextID++; c.nextID == 0 || c.sessions[c.nextID] != nil; c.nextID++ {
	}
	s.id, s.secret = c.nextID, secret
	c.sessions[s.id] = s
	return nil
}

func (c *Console) unregister(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s.id)
}

// cancelStatement does what a CancelRequest asks for, if it has the right key.
func (c *Console) cancelStatement(id uint32, secret []byte) {
	c.mu.Lock()
	s := c.sessions[id]
	c.mu.Unlock()
	if s != nil && subtle.ConstantTimeCompare(s.secret, secret) == 1 {
		s.cancelStatement()
	}
}
