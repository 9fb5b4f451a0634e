package managed

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// What the tests, which are outside, look at.
var (
	ParseControlData = parseControlData
	ParseConfLine    = parseConfLine
	WithInclude      = withInclude
	WithBlock        = withBlock
	WithoutBlock     = withoutBlock
	HBALines         = hbaLines
	IdentLines       = identLines
	ParseProgress    = parseProgress
)

// RenderConf returns the text of pgraft.conf.
func RenderConf(cfg Config, settings Settings, major int, base map[string]string) string {
	c := conf{cfg: cfg, settings: settings, major: major, base: base}
	c.tls = (&Server{cfg: cfg}).TLS()
	return c.render()
}

// SetDebianConfigs says where Debian keeps configurations.
func (s *Server) SetDebianConfigs(dir string) { s.etc = dir }

// Connect returns a connection as the server's other methods use it.
func (s *Server) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return s.connect(ctx, database)
}

// BeginRewind notes that a rewind is under way.
func (s *Server) BeginRewind() error { return s.beginRewind() }
