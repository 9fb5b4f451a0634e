package tlsutil_test

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/tlsutil"
)

// newCA makes an authority in its own directory.
func newCA(t *testing.T) tlsutil.Pair {
	t.Helper()
	ca, err := tlsutil.CreateCA(tlsutil.CAOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newCert makes a certificate in its own directory.
func newCert(t *testing.T, ca tlsutil.Pair, name string) tlsutil.Pair {
	t.Helper()
	cert, err := tlsutil.CreateCert(tlsutil.CertOptions{CA: ca, Dir: t.TempDir(), Name: name, DNSNames: []string{"server.prod.pgraft"}})
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func parse(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCreate(t *testing.T) {
	ca := newCA(t)
	dir := t.TempDir()
	files, err := tlsutil.CreateCert(tlsutil.CertOptions{CA: ca, Dir: dir, Name: "pg1", IPs: []net.IP{net.ParseIP("10.0.0.11")}, Days: 30})
	if err != nil {
		t.Fatal(err)
	}
	if files.CertFile != filepath.Join(dir, "pg1.pem") || files.KeyFile != filepath.Join(dir, "pg1-key.pem") {
		t.Errorf("files %+v", files)
	}
	for _, path := range []string{ca.CertFile, ca.KeyFile, files.CertFile, files.KeyFile} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v", path, info.Mode(), err)
		}
	}
	cert := parse(t, files.CertFile)
	for _, name := range []string{"pg1", "localhost", "10.0.0.11", "127.0.0.1", "::1"} {
		if err := cert.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if left := time.Until(cert.NotAfter); left < 29*24*time.Hour || left > 31*24*time.Hour {
		t.Errorf("good for %s, want 30 days", left)
	}
	if err := cert.CheckSignatureFrom(parse(t, ca.CertFile)); err != nil {
		t.Error(err)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	ca := newCA(t)
	before, err := os.ReadFile(ca.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ca.CertFile); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(ca.KeyFile)
	if _, err = tlsutil.CreateCA(tlsutil.CAOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("error = %v", err)
	}
	if after, err := os.ReadFile(ca.KeyFile); err != nil || string(after) != string(before) {
		t.Errorf("the key changed, or is gone: %v", err)
	}
	if _, err := os.Stat(ca.CertFile); !os.IsNotExist(err) {
		t.Errorf("a certificate without its key stays behind: %v", err)
	}
}

func TestCreateCertRefuses(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	cert := newCert(t, ca, "pg1")
	for _, tc := range []struct {
		name string
		opt  tlsutil.CertOptions
		want string
	}{
		{"a name with a path", tlsutil.CertOptions{CA: ca, Name: "../pg1"}, "can't name a file"},
		{"no name", tlsutil.CertOptions{CA: ca}, "can't name a file"},
		{"no authority", tlsutil.CertOptions{CA: cert, Name: "pg2"}, "is not a CA's"},
		{"another's key", tlsutil.CertOptions{CA: tlsutil.Pair{CertFile: ca.CertFile, KeyFile: other.KeyFile}, Name: "pg2"}, "is not the key of"},
		{"no PEM", tlsutil.CertOptions{CA: tlsutil.Pair{CertFile: "create_test.go", KeyFile: ca.KeyFile}, Name: "pg2"}, "has no certificate"},
		{"no file", tlsutil.CertOptions{CA: tlsutil.Pair{CertFile: "absent.pem", KeyFile: ca.KeyFile}, Name: "pg2"}, "absent.pem"},
		{"days", tlsutil.CertOptions{CA: ca, Name: "pg2", Days: -1}, "out of bounds"},
	} {
		tc.opt.Dir = t.TempDir()
		if _, err := tlsutil.CreateCert(tc.opt); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error = %v, want %q", tc.name, err, tc.want)
		}
	}
}
