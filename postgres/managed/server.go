package managed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
)

// minMajor is the oldest major version that pgraft runs.
const minMajor = postgres.MinVersion / 10000

// Config describes a server. What must be the same on all servers of the cluster is not here but in Settings.
type Config struct {
	BinDir  string // see postgres.FindBinDir
	DataDir string // required
	// StateDir is the agent's own directory: what pg_rewind must not remove is noted there. Default: DataDir's parent.
	StateDir string
	// ListenHost is PostgreSQL's listen_addresses, "" for none.
	ListenHost string
	Port       int    // required
	SocketDir  string // required; made if it is missing. The agent itself logs in here, without a password.
	Superuser  string // the role that it logs in as, default postgres
	RunAs      string // operating system user when this process is root, which the server refuses; default postgres
	LogFile    string // default: DataDir with ".log" appended
	NodeParams map[string]string
	HBA        []string  // lines for pg_hba.conf, before those that are there
	TLS        *TLSFiles // nil: without TLS
	// NoSync gives up durability for speed, of all programs and of the server (fsync = off): for tests.
	NoSync bool
	Logger hclog.Logger
}

// Server is one PostgreSQL server. Its methods may be called from any goroutine.
type Server struct {
	cfg   Config
	pm    postgres.Postmaster
	log   hclog.Logger
	major int      // of the programs
	peers []string // operating system users that log in as the superuser over the socket
	watch watcher
	live  liveConns
	etc   string // where Debian keeps the configuration

	launched atomic.Pointer[launched]

	// mu is held by what starts a postmaster or works on the data directory while there is none.
	mu sync.Mutex
	// filesMu is held while configuration files are written. It is taken after mu.
	filesMu    sync.Mutex
	configured bool   // guarded by filesMu: WriteConfig has run for the data directory as it is
	passLine   string // guarded by filesMu: what the password file holds, "" = no password was given yet
}

// New checks cfg and looks for PostgreSQL's programs. It starts nothing and changes nothing.
func New(cfg Config) (*Server, error) {
	if err := setDefaults(&cfg); err != nil {
		return nil, err
	}
	binDir, err := findPrograms(cfg.BinDir)
	if err != nil {
		return nil, err
	}
	major, err := programsMajor(binDir)
	if err != nil {
		return nil, err
	}
	owner, err := postgres.FindOwner(cfg.RunAs)
	if err != nil {
		return nil, err
	}
	peers, err := socketUsers(owner)
	if err != nil {
		return nil, err
	}
	cfg.BinDir = binDir
	return &Server{
		cfg: cfg, log: cfg.Logger, major: major, peers: peers, etc: debianConfigs,
		pm: postgres.Postmaster{BinDir: binDir, DataDir: cfg.DataDir, LogFile: cfg.LogFile, Owner: owner},
	}, nil
}

func setDefaults(cfg *Config) error {
	var errs []error
	if cfg.DataDir == "" {
		errs = append(errs, errors.New("no data directory given: set postgres.data_dir"))
	}
	if cfg.Port < 1 || cfg.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d is not between 1 and 65535", cfg.Port))
	}
	if cfg.SocketDir == "" || strings.ContainsAny(cfg.SocketDir, ",\"") {
		errs = append(errs, fmt.Errorf("socket directory %q can't be one: it is needed, and without commas and quotes", cfg.SocketDir))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, path := range []*string{&cfg.DataDir, &cfg.SocketDir} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("find directory %s: %w", *path, err)
		}
		*path = abs
	}
	setDefault(&cfg.StateDir, filepath.Dir(cfg.DataDir))
	setDefault(&cfg.Superuser, "postgres")
	setDefault(&cfg.RunAs, "postgres")
	setDefault(&cfg.LogFile, cfg.DataDir+".log")
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func findPrograms(configured string) (string, error) {
	binDir, err := postgres.FindBinDir(configured)
	if err != nil {
		return "", err
	}
	for _, program := range []string{"pg_basebackup", "pg_rewind", "pg_controldata"} {
		if _, err := exec.LookPath(filepath.Join(binDir, program)); err != nil {
			return "", &Problem{
				What: fmt.Sprintf("there is no program %s in %s", program, binDir),
				Hint: "install the whole of PostgreSQL's server package, or set postgres.bin_dir to where it is",
			}
		}
	}
	return binDir, nil
}

var versionNumber = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func programsMajor(binDir string) (int, error) {
	out, err := exec.Command(filepath.Join(binDir, "postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask PostgreSQL in %s for its version: %w", binDir, err)
	}
	m := versionNumber.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("ask PostgreSQL in %s for its version: it says %q", binDir, out)
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil || major < minMajor {
		return 0, &Problem{
			What: fmt.Sprintf("PostgreSQL in %s is of version %s", binDir, m[1]),
			Hint: fmt.Sprintf("pgraft needs %d or later: install one, or set postgres.bin_dir to where it is", minMajor),
		}
	}
	return major, nil
}

// socketUsers returns the users that may be the superuser over the socket: the agent's, root or not, and the server's.
func socketUsers(owner postgres.Owner) ([]string, error) {
	me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return nil, fmt.Errorf("look up this process's user: %w", err)
	}
	if me.Username == owner.Name {
		return []string{owner.Name}, nil
	}
	return []string{me.Username, owner.Name}, nil
}

// Major returns the major version of PostgreSQL's programs.
func (s *Server) Major() int { return s.major }

// DataDir returns the data directory.
func (s *Server) DataDir() string { return s.cfg.DataDir }

// SocketDir and Port say where the server is, or will be, reached on this machine.
func (s *Server) SocketDir() string { return s.cfg.SocketDir }

// Port returns the TCP port, which is in the socket's name, too.
func (s *Server) Port() int { return s.cfg.Port }

// Close ends what this process has running about the server. PostgreSQL itself runs on.
func (s *Server) Close() {
	s.watch.close()
	s.Disconnect()
}

// connectTimeout bounds a connection's beginning: the socket is on this machine.
const connectTimeout = 5 * time.Second

// connect returns a connection as superuser over the Unix socket. It is fit for use by a superuser in a database that
// others write to: nothing that a role, a database or a user's schema says changes what a query means.
func (s *Server) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	dir, port := s.Socket()
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable target_session_attrs=any",
		postgres.QuoteConninfo(dir), port, postgres.QuoteConninfo(s.cfg.Superuser), postgres.QuoteConninfo(database)))
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams = map[string]string{
		"application_name":              "pgraft",
		"search_path":                   "pg_catalog",
		"synchronous_commit":            "local", // ours must get through where commits wait for standbys
		"default_transaction_read_only": "off",
		"statement_timeout":             "0",
		"lock_timeout":                  "0",
		"idle_session_timeout":          "0",
		"client_encoding":               "UTF8",
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return conn, nil
}

// Socket returns where the server is: one that runs may have been started with another configuration.
func (s *Server) Socket() (dir string, port int) {
	lock, err := postgres.ReadLockFile(s.cfg.DataDir)
	if err != nil || lock.SocketDir == "" || lock.Port == 0 || s.PID() == 0 {
		return s.cfg.SocketDir, s.cfg.Port
	}
	// It names the first of its directories only, which is ours in what WriteConfig writes.
	return lock.SocketDir, lock.Port
}
