package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Config describes a PostgreSQL server that pgraft runs itself: one of the demo's or a test's.
type Config struct {
	BinDir  string // see FindBinDir
	DataDir string // required
	// Host is the address to listen on with TCP, "" for none, and SocketDir the directory of the Unix socket, "" for
	// none. At least one is needed. Without a Password, Host must be a loopback address: anyone who reaches it is let in.
	Host      string
	SocketDir string
	Port      int // required
	// Superuser is the bootstrap role, default postgres. With Password it logs in by SCRAM, else by trust.
	Superuser string
	Password  string
	Params    map[string]string // for postgresql.conf; they win over what pgraft would set itself
	RunAs     string            // operating system user when this process is root, which the server refuses; default postgres
	LogFile   string            // default: DataDir with ".log" appended
	// NoSync gives up durability for speed, initdb's and the server's (fsync = off): for tests.
	NoSync bool
}

// Instance is one such server. Its methods may be called from any goroutine; Init, Start, Stop and Kill exclude each
// other. An Instance keeps nothing that a second one for the same data directory could not find out.
type Instance struct {
	cfg Config
	pm  Postmaster

	mu sync.Mutex // held through each of Init, Start, Stop and Kill
}

// New checks cfg, looks for the server's programs and returns an Instance. It starts nothing.
func New(cfg Config) (*Instance, error) {
	binDir, err := FindBinDir(cfg.BinDir)
	if err != nil {
		return nil, err
	}
	cfg.BinDir = binDir
	setDefaults(&cfg)
	if err := validate(cfg); err != nil {
		return nil, err
	}
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("find data directory: %w", err)
	}
	owner, err := FindOwner(cfg.RunAs)
	if err != nil {
		return nil, err
	}
	pm := Postmaster{BinDir: cfg.BinDir, DataDir: cfg.DataDir, LogFile: cfg.LogFile, Owner: owner}
	return &Instance{cfg: cfg, pm: pm}, nil
}

func setDefaults(cfg *Config) {
	if cfg.Superuser == "" {
		cfg.Superuser = "postgres"
	}
	if cfg.RunAs == "" {
		cfg.RunAs = "postgres"
	}
	if cfg.LogFile == "" && cfg.DataDir != "" {
		cfg.LogFile = strings.TrimRight(cfg.DataDir, "/") + ".log"
	}
}

func validate(cfg Config) error {
	var errs []error
	if cfg.DataDir == "" {
		errs = append(errs, errors.New("no data directory given"))
	}
	if cfg.Port < 1 || cfg.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d is not between 1 and 65535", cfg.Port))
	}
	if cfg.Host == "" && cfg.SocketDir == "" {
		errs = append(errs, errors.New("neither a host nor a socket directory to listen on given"))
	}
	if cfg.Host != "" && cfg.Password == "" && !isLoopback(cfg.Host) {
		errs = append(errs, fmt.Errorf("host %q is no loopback address and there is no password: anyone could log in", cfg.Host))
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Init creates the data directory (UTF8, collation C) unless it holds a server's data already.
func (i *Instance) Init(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, err := os.Stat(filepath.Join(i.cfg.DataDir, "PG_VERSION")); err == nil {
		return nil
	}
	if err := i.pm.Owner.MakeDir(i.cfg.DataDir, 0o700); err != nil {
		return err
	}
	if err := i.initdb(ctx); err != nil {
		return err
	}
	return i.includeOwnFile()
}

func (i *Instance) initdb(ctx context.Context) error {
	args := []string{"-D", i.cfg.DataDir, "-U", i.cfg.Superuser, "-E", "UTF8", "--locale=C", "-A", "trust"}
	if i.cfg.NoSync {
		args = append(args, "--no-sync")
	}
	if i.cfg.Password != "" {
		pwFile, err := i.passwordFile()
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(pwFile) }() // nothing is left to do about it
		args = append(args, "-A", "scram-sha-256", "--pwfile", pwFile)
	}
	cmd := i.pm.Owner.Command(ctx, "/", filepath.Join(i.cfg.BinDir, "initdb"), args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb for %s: %w: %s", i.cfg.DataDir, err, LastLines(out, 5))
	}
	return nil
}

// passwordFile hands the password to initdb: an argument would show it to every user of the machine.
func (i *Instance) passwordFile() (string, error) {
	f, err := os.CreateTemp("", "pgraft-pw-")
	if err != nil {
		return "", fmt.Errorf("create password file: %w", err)
	}
	_, err = f.WriteString(i.cfg.Password + "\n")
	if err := errors.Join(err, f.Close(), i.pm.Owner.Own(f.Name())); err != nil {
		_ = os.Remove(f.Name()) // the first error says more
		return "", fmt.Errorf("write password file: %w", err)
	}
	return f.Name(), nil
}

// Start starts the server detached, so that it outlives this process, and returns when it takes connections. A running
// one is left as it is. When ctx ends first, the server that was started is left to go on starting.
func (i *Instance) Start(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if pid := i.PID(); pid != 0 {
		return i.pm.WaitReady(ctx, pid, nil)
	}
	if err := i.writeOwnFile(); err != nil {
		return err
	}
	for _, dir := range []string{i.cfg.SocketDir, filepath.Dir(i.cfg.LogFile)} {
		if err := i.pm.Owner.MakeDir(dir, 0o700); err != nil {
			return err
		}
	}
	pid, exited, err := i.pm.Launch(ctx)
	if err != nil {
		return err
	}
	return i.pm.WaitReady(ctx, pid, exited)
}
