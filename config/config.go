package config

import "time"

// Config is everything an agent can be told, checked and with all derived values filled in.
type Config struct {
	NodeName         string
	DataDir          string // absolute
	RunDir           string // absolute
	ClusterName      string
	BindAddr         string // an IP address: templates are resolved
	AdvertiseAddr    string // an IP address or a DNS name: templates are resolved, the default is filled in
	BootstrapExpect  int    // 0: this node never founds a cluster, it joins one
	RetryJoin        []string
	RetryInterval    time.Duration
	Encrypt          string // base64 of 16, 24 or 32 bytes, or empty
	NonVoting        bool
	Zone             string // "" = not known
	Witness          bool
	LeaveOnTerminate bool
	LogLevel         string
	LogJSON          bool

	Ports     Ports
	Postgres  Postgres
	Raft      Raft
	Gossip    Gossip
	Autopilot Autopilot
	TLS       TLS
	HTTP      HTTP
	ACL       ACL
	Telemetry Telemetry
	Audit     Audit

	// Join holds what -join named: addresses to join at start, beside RetryJoin. Not a key of the files.
	Join []string
	// Dev is set by -dev: one throwaway node on the loopback address.
	Dev bool
	// DevDir is the directory that -dev made up for data and sockets, empty where both were named. The agent creates
	// it (and must refuse one that exists), and removes it when it stops.
	DevDir string

	sources map[string]Source // by key path; a key without an entry has its default
	files   []Source          // where each file that was read ends, for problems about what is missing
}

// Ports are the ports of one node.
type Ports struct {
	HTTP    int
	Raft    int // Raft and the agents' internal calls share it
	Gossip  int // TCP and UDP
	Console int // the number in the Unix socket's name, as psql -p wants it
}

// Modes of the PostgreSQL beside an agent.
const (
	ModeManaged  = "managed"
	ModeExternal = "external"
)

// When a managed PostgreSQL acknowledges a commit.
const (
	SyncQuorum = "quorum" // when a majority has it
	SyncAsync  = "async"  // at once
)

// Postgres describes the PostgreSQL beside the agent.
type Postgres struct {
	Enabled        bool   // there is one: the block or a flag for it was given
	Mode           string // ModeExternal or ModeManaged, never empty when Enabled
	DataDir        string // managed: absolute
	BinDir         string
	Listen         string // managed: address:port
	Advertise      string // host:port for clients, or empty: see Config.PostgresAdvertise
	DSN            string
	Database       string // where schema pgraft lives; wins over the database in DSN
	Parameters     map[string]string
	HBA            []string
	Synchronous    string // SyncQuorum or SyncAsync
	Priority       int
	HealthInterval time.Duration
}

// Raft tunes consensus. The three timeouts are 0 where the profile decides: use Config.RaftTimers for what is in force.
type Raft struct {
	HeartbeatTimeout   time.Duration
	ElectionTimeout    time.Duration
	LeaderLeaseTimeout time.Duration
	BatchSize          int
	MaxBatchDelay      time.Duration
	SnapshotInterval   time.Duration
	SnapshotThreshold  uint64
	TrailingLogs       uint64
}

// Gossip tunes membership.
type Gossip struct {
	Profile string // ProfileLAN, ProfileWAN or ProfileLocal
}

// Autopilot steers what the leader does with servers on its own.
type Autopilot struct {
	CleanupDeadServers      bool
	MinQuorum               int
	DeadServerThreshold     time.Duration
	ServerStabilizationTime time.Duration
	MaxTrailingLogs         uint64
	LastContactThreshold    time.Duration
}

// TLS secures Raft, forwarding and, with HTTP.TLS, the HTTP API. It is on when CertFile is set.
type TLS struct {
	CAFile           string
	CertFile         string
	KeyFile          string
	VerifyIncoming   bool
	VerifyServerName string
}

// HTTP says where the HTTP API listens.
type HTTP struct {
	Addr string // an IP address: templates are resolved
	TLS  bool
}

// ACL is refused when enabled: access control comes in a later release.
type ACL struct {
	Enabled   bool
	TokenFile string
}

// Telemetry says where metrics are offered beside the HTTP API's /metrics.
type Telemetry struct {
	PrometheusAddr string // host:port, or empty
}

// Audit is refused when enabled: the audit log comes in a later release.
type Audit struct {
	Enabled bool
	Path    string
}
