package membership

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

// Config says who the local node is and how it finds the others.
type Config struct {
	NodeName    string
	ServerID    string // a UUID, kept in data_dir: a wiped node is another server
	ClusterName string
	// ClusterID gives the cluster's id as far as it is known, else "". It is called now and then, and must not block.
	ClusterID func() string

	BindAddr      string // an IP address; default 0.0.0.0
	BindPort      int    // default 0: any free port
	AdvertiseAddr string // default: BindAddr, or this machine's private address
	AdvertisePort int    // default: the port bound to
	Profile       string // lan (default), wan, local

	Join          []string      // host[:port], tried once when opened
	RetryJoin     []string      // host[:port], tried until joined and again whenever alone; names are resolved each time
	RetryInterval time.Duration // between two looks for absent members; default 5s

	DataDir string // of the peer file and the keyring file; empty: neither is kept
	Encrypt string // base64 of a key of 16, 24 or 32 bytes; empty: the keyring file's, or no encryption
	Meta    Meta
	Logger  hclog.Logger

	tune tuning
}

// tuning holds what only tests change.
type tuning struct {
	timers    func(*Timers)
	lookup    lookupFunc
	privateIP func() (string, error)
	blocked   func(addr string) bool // an address that nothing can be sent to
}

// withDefaults fills in what the caller left open and refuses what can't work, naming all of it.
func (c Config) withDefaults() (Config, error) {
	if c.BindAddr == "" {
		c.BindAddr = "0.0.0.0"
	}
	if c.RetryInterval == 0 {
		c.RetryInterval = 5 * time.Second
	}
	if c.ClusterID == nil {
		c.ClusterID = func() string { return "" }
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.tune.lookup == nil {
		c.tune.lookup = systemLookup
	}
	if c.tune.privateIP == nil {
		c.tune.privateIP = systemPrivateIP
	}
	return c, c.validate()
}

func (c Config) validate() error {
	errs := []error{
		checkWord("node_name", c.NodeName, MaxNameLen),
		checkWord("cluster_name", c.ClusterName, MaxClusterName),
		c.Meta.validate(),
	}
	if _, err := parseID("server id", c.ServerID, false); err != nil {
		errs = append(errs, err)
	}
	if _, err := netip.ParseAddr(c.BindAddr); err != nil {
		errs = append(errs, fmt.Errorf("bind_addr %q: it must be an IP address of this machine, or 0.0.0.0 for all of them", c.BindAddr))
	}
	for what, port := range map[string]int{"gossip port": c.BindPort, "advertised gossip port": c.AdvertisePort} {
		if port < 0 || port > 65535 {
			errs = append(errs, fmt.Errorf("%s %d: it must be between 1 and 65535", what, port))
		}
	}
	if c.RetryInterval < 0 {
		errs = append(errs, fmt.Errorf("retry_interval %s: it must be positive", c.RetryInterval))
	}
	for _, addr := range append(append([]string(nil), c.Join...), c.RetryJoin...) {
		if _, _, err := SplitAddr(addr); err != nil {
			errs = append(errs, fmt.Errorf("retry_join: %w", err))
		}
	}
	return errors.Join(errs...)
}

// checkWord refuses what would not survive in addresses, SQL and tables on a terminal.
func checkWord(what, value string, limit int) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is empty: set it", what)
	case len(value) > limit:
		return fmt.Errorf("%s is %d bytes long, the limit is %d: %.40q…", what, len(value), limit, value)
	case !utf8.ValidString(value), strings.ContainsFunc(value, badInWord):
		return fmt.Errorf("%s %q: it must be text without blanks, slashes and control characters", what, value)
	}
	return nil
}

func badInWord(r rune) bool { return r == '/' || !unicode.IsPrint(r) || unicode.IsSpace(r) }
