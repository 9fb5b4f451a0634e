package managed_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/postgres/managed"
)

// newTLS makes a certificate that is its own CA, readable by this process's user only.
func newTLS(t *testing.T) *managed.TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pgraft"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	files := &managed.TLSFiles{CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key"), VerifyClients: true}
	files.CAFile = files.CertFile
	must(t, os.WriteFile(files.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(files.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return files
}

func TestTLS(t *testing.T) {
	files := newTLS(t)
	primary, _ := newPrimary(t, func(c *managed.Config) { c.TLS = files })
	plain := allowReplication(t, primary, "")
	server, _ := newServer(t, func(c *managed.Config) { c.TLS = files })
	target := managed.Target{Host: "127.0.0.1", Port: primary.Port(), Secret: replicationSecret}
	for name, tls := range map[string]*managed.ClientTLS{
		"pg_hba.conf": nil, "certificate": {CAFile: server.TLS().CAFile, VerifyName: true},
	} {
		conninfo := plain
		if tls != nil {
			target.TLS = tls
			conninfo = managed.Conninfo(target)
		}
		err := server.Clone(testContext(t), managed.CloneSource{Conninfo: conninfo}, nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want one about %s", err, name)
		}
	}
	must(t, server.PrepareTLS())
	own := server.TLS()
	target.TLS = &managed.ClientTLS{CAFile: own.CAFile, CertFile: own.CertFile, KeyFile: own.KeyFile, VerifyName: true}
	conninfo := managed.Conninfo(target)
	must(t, server.Clone(testContext(t), managed.CloneSource{Conninfo: conninfo}, nil))
	must(t, server.Standby(true))
	configure(t, server, managed.Settings{PrimaryConninfo: conninfo})
	must(t, server.Start(testContext(t)))
	eventually(t, "it streams, encrypted", func() error {
		got := query(t, primary, "SELECT coalesce(bool_and(ssl)::text, 'nobody streams') FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)")
		if got != "true" {
			return errors.New(got)
		}
		return nil
	})
	rotate(t, primary, files)
}

// rotate replaces the key first and the certificate later: PostgreSQL never gets one without the other.
func rotate(t *testing.T, server *managed.Server, files *managed.TLSFiles) {
	t.Helper()
	if server.TLSReplaced() {
		t.Error("certificates that are in use are new")
	}
	before, fresh := readAll(t, server.TLS().CertFile), newTLS(t)
	must(t, os.WriteFile(files.KeyFile, readAll(t, fresh.KeyFile), 0o600))
	if server.TLSReplaced() {
		t.Error("half of a pair counts as new")
	}
	configure(t, server, managed.Settings{})
	if string(readAll(t, server.TLS().CertFile)) != string(before) || string(readAll(t, server.TLS().KeyFile)) == string(readAll(t, files.KeyFile)) {
		t.Error("half of a pair was copied")
	}
	must(t, os.WriteFile(files.CertFile, readAll(t, fresh.CertFile), 0o600))
	if !server.TLSReplaced() {
		t.Error("new certificates are not seen")
	}
	configure(t, server, managed.Settings{})
	if server.TLSReplaced() || string(readAll(t, server.TLS().KeyFile)) != string(readAll(t, fresh.KeyFile)) {
		t.Error("new certificates were not copied")
	}
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	return raw
}
