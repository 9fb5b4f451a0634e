package managed

import (
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/postgres"
)

// ReplicationRole is the role that standbys, clones and rewinds log in with.
const ReplicationRole = "pgraft_replication"

// Target says how to reach another server for replication, cloning or rewinding.
type Target struct {
	Host    string
	Port    int
	Secret  string     // ReplicationRole's password
	AppName string     // see StandbyName; "" for a clone or rewind
	TLS     *ClientTLS // nil: without TLS
}

// ClientTLS are the files with which this server proves itself to the other one, and the other to it.
type ClientTLS struct {
	CAFile, CertFile, KeyFile string
	VerifyName                bool // the other's certificate must be for its host, too
}

// Conninfo returns libpq's form of t, for WriteConfig, Clone, Rewind and connections of our own. It holds the secret:
// postgres.Redact makes it fit for a log, and what PostgreSQL and its programs get of it names a password file instead.
func Conninfo(t Target) string {
	pairs := [][2]string{
		{"host", t.Host},
		{"port", strconv.Itoa(t.Port)},
		{"user", ReplicationRole},
		{"password", t.Secret},
		{"dbname", "postgres"}, // for a rewind; a walreceiver replaces it
		{"application_name", t.AppName},
		{"connect_timeout", "3"},
		// A dead peer's machine sends nothing: then these end the connection, before PostgreSQL's minute has passed.
		{"keepalives_idle", "3"},
		{"keepalives_interval", "1"},
		{"keepalives_count", "3"},
		{"gssencmode", "disable"}, // it costs a round trip and is never set up
	}
	pairs = append(pairs, t.TLS.pairs()...)
	var parts []string
	for _, p := range pairs {
		if p[1] != "" {
			parts = append(parts, p[0]+"="+postgres.QuoteConninfo(p[1]))
		}
	}
	return strings.Join(parts, " ")
}

func (t *ClientTLS) pairs() [][2]string {
	if t == nil {
		return [][2]string{{"sslmode", "disable"}}
	}
	mode := "require"
	switch {
	case t.CAFile != "" && t.VerifyName:
		mode = "verify-full"
	case t.CAFile != "":
		mode = "verify-ca"
	}
	return [][2]string{{"sslmode", mode}, {"sslrootcert", t.CAFile}, {"sslcert", t.CertFile}, {"sslkey", t.KeyFile}}
}
