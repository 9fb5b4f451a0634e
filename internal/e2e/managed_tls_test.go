package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedTLS runs PostgreSQL's replication with the agents' certificates, through a failover and a rotation.
func TestManagedTLS(t *testing.T) {
	c := testcluster.Custom(t)
	x := tlsTest{c: c, ca: newAuthority(t, c, "ca"), certs: make(map[string]string)}
	var nodes []*testcluster.Node
	for _, name := range []string{"a", "b", "c"} {
		x.certs[name] = x.ca.cert(t, name)
		nodes = append(nodes, c.AddManaged(testcluster.Spec{
			Name: name, Expect: 3, Join: nodes, Config: x.ca.block(x.certs[name], name),
		}, testcluster.PostgresSpec{}))
	}
	x.admin = x.ca.cert(t, "admin")
	c.StartAll()
	waitManaged(t, c)
	t.Run("Replication", x.replication)
	t.Run("Strangers", x.replicationStrangers)
	t.Run("Failover", x.failover)
	t.Run("Rotation", x.replicationRotation)
}

// replication looks at how the standbys stream: encrypted, with a certificate and a password on one side, and a
// certificate that is verified on the other.
func (x tlsTest) replication(t *testing.T) {
	x.c.In(t)
	primary := x.c.Primary()
	wantRow(t, primary, `SELECT count(*), bool_and(ssl), bool_and(usename = 'pgraft_replication'), string_agg(client_dn, ' ' ORDER BY client_dn) ~ 'CN='
		FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)`, "2|t|t|t")
	for _, n := range x.c.Others(primary) {
		conninfo := psql(t, n, "SELECT conninfo FROM pg_stat_wal_receiver")
		wantText(t, "the stream of "+n.Name, conninfo, "sslmode=verify-ca", "sslrootcert=", "sslcert=", "sslkey=")
		if got := psql(t, n, "SELECT passwd LIKE 'SCRAM-SHA-256$%' FROM pg_shadow WHERE usename = 'pgraft_replication'"); got != "t" {
			t.Errorf("the replication role's password: %q, want SCRAM", got)
		}
	}
}

// replicationStrangers lack the one or the other of what a standby has.
func (x tlsTest) replicationStrangers(t *testing.T) {
	x.c.In(t)
	primary := x.c.Primary()
	other := newAuthority(t, x.c, "other-ca")
	foreign := other.cert(t, "foreign")
	base := fmt.Sprintf("host=%s port=%d dbname=postgres user=pgraft_replication password=guessed ", primary.Postgres.Host, primary.Postgres.Port)
	for name, test := range map[string]struct{ conninfo, word string }{
		"no TLS":             {"sslmode=disable", "pg_hba.conf rejects"},
		"no certificate":     {"sslmode=require sslcert=/nowhere sslkey=/nowhere", "valid client certificate"},
		"foreign":            {fmt.Sprintf("sslmode=require sslcert=%s sslkey=%s", certFile(foreign, "foreign"), keyFile(foreign, "foreign")), "unknown ca"},
		"wrong password":     {fmt.Sprintf("sslmode=require sslcert=%s sslkey=%s", certFile(x.admin, "admin"), keyFile(x.admin, "admin")), "password authentication failed"},
		"primary unverified": {"sslmode=verify-ca sslrootcert=" + other.ca(), "certificate verify failed"},
	} {
		for _, replication := range []string{"", " replication=true"} {
			out, err := runPsql(t, base+test.conninfo+replication, "SELECT 1")
			if err == nil {
				t.Errorf("%s%s: let in", name, replication)
			}
			wantText(t, name+replication, out, test.word)
		}
	}
}

func (x tlsTest) failover(t *testing.T) {
	x.c.In(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInserts(ctx, t, x.c, 2)
	load.wantMore(t, 50)
	before := x.c.Primary()
	begun := time.Now()
	killBoth(t, x.c, before)
	load.wantMore(t, 50)
	t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
	waitManaged(t, x.c)
	if after := x.c.Primary(); after == before {
		t.Errorf("%s is still the primary", after.Name)
	}
	x.replication(t)
	cancel()
	load.verify(t, x.c)
}

// replicationRotation replaces certificates and authority under the running servers. What streams goes on; what begins
// after it does so with the new ones.
func (x tlsTest) replicationRotation(t *testing.T) {
	x.c.In(t)
	started, serials := make(map[string]string), make(map[string]string)
	for _, n := range x.c.Nodes {
		started[n.Name] = psql(t, n, "SELECT pg_postmaster_start_time()")
		serials[n.Name] = postgresSerial(t, n)
	}
	next := newAuthority(t, x.c, "next-ca")
	replaceFile(t, x.ca.ca(), append(bytes.Clone(readFile(t, x.ca.ca())), readFile(t, next.ca())...))
	for _, n := range x.c.Nodes { // all must trust the new authority before the first shows its certificate
		testcluster.Eventually(t, 20*time.Second, func() error {
			copied := readFile(t, filepath.Join(n.RunDir, "postgresql", "tls", "ca.pem"))
			if !bytes.Equal(copied, readFile(t, x.ca.ca())) {
				return fmt.Errorf("PostgreSQL of %s has not got the new authority", n.Name)
			}
			return nil
		})
	}
	for name, dir := range x.certs {
		fresh := next.cert(t, name)
		replaceFile(t, keyFile(dir, name), readFile(t, keyFile(fresh, name)))
		replaceFile(t, certFile(dir, name), readFile(t, certFile(fresh, name)))
	}
	for _, n := range x.c.Nodes {
		testcluster.Eventually(t, 20*time.Second, func() error {
			if now := postgresSerial(t, n); now == serials[n.Name] {
				return fmt.Errorf("PostgreSQL of %s still shows its old certificate", n.Name)
			}
			return nil
		})
		if now := psql(t, n, "SELECT pg_postmaster_start_time()"); now != started[n.Name] {
			t.Errorf("PostgreSQL of %s was started again", n.Name)
		}
	}
	replaceFile(t, x.ca.ca(), readFile(t, next.ca()))
	x.oldAuthorityRefused(t)
	waitManaged(t, x.c)
	before := x.c.Primary()
	switchover(t, x.c, before)
	waitManaged(t, x.c)
	x.replication(t)
}

// oldAuthorityRefused waits until what the old authority signed opens no door any more.
func (x tlsTest) oldAuthorityRefused(t *testing.T) {
	t.Helper()
	for _, n := range x.c.Nodes {
		conninfo := fmt.Sprintf("host=%s port=%d dbname=postgres user=pgraft_replication password=guessed sslmode=require sslcert=%s sslkey=%s",
			n.Postgres.Host, n.Postgres.Port, certFile(x.admin, "admin"), keyFile(x.admin, "admin"))
		testcluster.Eventually(t, 20*time.Second, func() error {
			out, _ := runPsql(t, conninfo, "SELECT 1")
			if !strings.Contains(out, "unknown ca") {
				return fmt.Errorf("%s answers a certificate of the old authority with %q", n.Name, out)
			}
			return nil
		})
	}
}

// postgresSerial is the number of the certificate that a node's PostgreSQL shows.
func postgresSerial(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	serial := ""
	cfg, err := pgx.ParseConfig(strings.Replace(n.DSN(), "sslmode=disable", "sslmode=require", 1))
	if err != nil {
		t.Fatal(err)
	}
	cfg.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error {
		serial = state.PeerCertificates[0].SerialNumber.String()
		return nil
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if serial == "" {
		t.Fatalf("no certificate from %s: %v", n.Name, err)
	}
	return serial
}
