package tlsutil_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/tlsutil"
)

// config is a verifying agent with the certificate files of pair.
func config(ca, pair tlsutil.Pair) tlsutil.Config {
	return tlsutil.Config{
		CAFile: ca.CertFile, CertFile: pair.CertFile, KeyFile: pair.KeyFile,
		VerifyIncoming: true, CheckInterval: time.Nanosecond,
	}
}

func newReloader(t *testing.T, cfg tlsutil.Config) *tlsutil.Reloader {
	t.Helper()
	r, err := tlsutil.NewReloader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// handshake lets a client and a server of the two configurations speak over loopback, and returns what each says.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	served := make(chan error, 1)
	go func() { served <- serveOne(ctx, listener, server) }()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, client)
	err = secure.HandshakeContext(ctx)
	if err == nil {
		_, err = secure.Read(make([]byte, 1)) // with TLS 1.3 the server's refusal comes after the client's handshake
	}
	_ = secure.Close()
	return secure.ConnectionState(), errors.Join(err, <-served)
}

func serveOne(ctx context.Context, listener net.Listener, cfg *tls.Config) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	secure := tls.Server(conn, cfg)
	defer func() { _ = secure.Close() }()
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	_, err = secure.Write([]byte{1})
	return err
}

func TestMutualVerification(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	one, two := newReloader(t, config(ca, newCert(t, ca, "pg1"))), newReloader(t, config(ca, newCert(t, ca, "pg2")))
	stranger := newReloader(t, config(other, newCert(t, other, "pg2")))
	named := config(ca, newCert(t, ca, "pg3"))
	named.VerifyServerName = "server.prod.pgraft"
	// A stranger that would take any server: what the server makes of its certificate is the point.
	careless := stranger.Client()
	careless.VerifyConnection = nil
	naked := one.Client()
	naked.GetClientCertificate = nil
	nameless, err := tlsutil.CreateCert(tlsutil.CertOptions{CA: ca, Dir: t.TempDir(), Name: "pg4"})
	if err != nil {
		t.Fatal(err)
	}
	old := one.Client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, tc := range []struct {
		name           string
		server, client *tls.Config
		want           string // in the errors; empty: they come together
	}{
		{"same authority", one.Server(), two.Client(), ""},
		{"name asked for", one.Server(), newReloader(t, named).Client(), ""},
		{"name asked for and not there", newReloader(t, config(ca, nameless)).Server(), newReloader(t, named).Client(), "verify name of the peer"},
		{"server of another authority", stranger.Server(), one.Client(), "signed by unknown authority"},
		{"client of another authority", one.Server(), careless, "signed by unknown authority"},
		{"client without certificate", one.Server(), naked, "client didn't provide a certificate"},
		{"TLS 1.2", one.Server(), old, "protocol version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state, err := handshake(t, tc.server, tc.client)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error = %v, want %q", err, tc.want)
			case tc.want == "" && state.Version != tls.VersionTLS13:
				t.Errorf("TLS version %x", state.Version)
			}
		})
	}
}

func TestIncomingNeedNotBeVerified(t *testing.T) {
	ca := newCA(t)
	cfg := config(ca, newCert(t, ca, "pg1"))
	cfg.VerifyIncoming = false
	r := newReloader(t, cfg)
	naked := r.Client()
	naked.GetClientCertificate = nil
	if _, err := handshake(t, r.Server(), naked); err != nil {
		t.Error(err)
	}
}

// replace puts from's files where to's are, as an operator would.
func replace(t *testing.T, to, from tlsutil.Pair) {
	t.Helper()
	for dst, src := range map[string]string{to.CertFile: from.CertFile, to.KeyFile: from.KeyFile} {
		if err := os.Rename(src, dst); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRotationWithoutRestart(t *testing.T) {
	ca := newCA(t)
	pair := newCert(t, ca, "pg1")
	r, peer := newReloader(t, config(ca, pair)), newReloader(t, config(ca, newCert(t, ca, "pg2")))
	server, client := r.Server(), peer.Client()
	first, err := handshake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, pair, newCert(t, ca, "pg1"))
	second, err := handshake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	if first.PeerCertificates[0].Equal(second.PeerCertificates[0]) {
		t.Error("the old certificate is still shown after its file was replaced")
	}
}

func TestAuthorityTakenAway(t *testing.T) {
	ca, next := newCA(t), newCA(t)
	pair := newCert(t, ca, "pg1")
	r, peer := newReloader(t, config(ca, pair)), newReloader(t, config(ca, newCert(t, ca, "pg2")))
	server, client := r.Server(), peer.Client()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if _, err := handshake(t, server, client); err != nil {
		t.Fatal(err)
	}
	replace(t, pair, newCert(t, next, "pg1"))
	if err := os.Rename(next.CertFile, ca.CertFile); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	client.VerifyConnection = nil
	if _, err := handshake(t, server, client); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("error = %v, want the old authority's certificate to be refused", err)
	}
}

func TestBadReplacementIsNotUsed(t *testing.T) {
	ca := newCA(t)
	pair := newCert(t, ca, "pg1")
	r, peer := newReloader(t, config(ca, pair)), newReloader(t, config(ca, newCert(t, ca, "pg2")))
	fresh := newCert(t, ca, "pg1")
	if err := os.Rename(fresh.CertFile, pair.CertFile); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "private key does not match") {
		t.Errorf("error = %v, want that the key does not match", err)
	}
	if _, err := handshake(t, r.Server(), peer.Client()); err != nil {
		t.Errorf("the old certificate is not used any more: %v", err)
	}
	if err := os.Rename(fresh.KeyFile, pair.KeyFile); err != nil {
		t.Fatal(err)
	}
	state, err := handshake(t, r.Server(), peer.Client())
	if err != nil || !state.PeerCertificates[0].Equal(parse(t, pair.CertFile)) {
		t.Errorf("the new pair is not used once it is whole: %v", err)
	}
}

func TestExpired(t *testing.T) {
	ca := newCA(t)
	later := func() time.Time { return time.Now().AddDate(2, 0, 0) }
	cfg := config(ca, newCert(t, ca, "pg1"))
	r := newReloader(t, cfg)
	cfg.Now = later
	if _, err := tlsutil.NewReloader(cfg); err == nil || !strings.Contains(err.Error(), "expired on") {
		t.Errorf("an expired certificate is loaded: %v", err)
	}
	long, err := tlsutil.CreateCert(tlsutil.CertOptions{CA: ca, Dir: t.TempDir(), Name: "pg2", Days: 3000})
	if err != nil {
		t.Fatal(err)
	}
	cfg.CertFile, cfg.KeyFile = long.CertFile, long.KeyFile
	future := newReloader(t, cfg)
	if _, err := handshake(t, r.Server(), future.Client()); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a server with an expired certificate is accepted: %v", err)
	}
	if _, err := handshake(t, future.Server(), r.Client()); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a client with an expired certificate is accepted: %v", err)
	}
	cfg.Now = func() time.Time { return time.Now().AddDate(0, 0, -1) }
	if _, err := tlsutil.NewReloader(cfg); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a certificate of the future is loaded: %v", err)
	}
}

func TestNewReloaderRefuses(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	one, two := newCert(t, ca, "pg1"), newCert(t, ca, "pg2")
	garbage := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(garbage, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name          string
		ca, cert, key string
		serverName    string
		want          string
	}{
		{"another's key", ca.CertFile, one.CertFile, two.KeyFile, "", "private key does not match"},
		{"no CA", one.CertFile, one.CertFile, one.KeyFile, "", "is not a CA's"},
		{"another authority", other.CertFile, one.CertFile, one.KeyFile, "", "does not come from an authority"},
		{"the authority's own certificate", ca.CertFile, ca.CertFile, ca.KeyFile, "other", "verify_server_name"},
		{"lacks the name", ca.CertFile, one.CertFile, one.KeyFile, "server.other", "verify_server_name"},
		{"no file", "absent.pem", one.CertFile, one.KeyFile, "", "absent.pem"},
		{"garbage", garbage, one.CertFile, one.KeyFile, "", "x.pem"},
		{"a key for a certificate", ca.CertFile, one.KeyFile, one.KeyFile, "", "read certificate"},
	} {
		_, err := tlsutil.NewReloader(tlsutil.Config{CAFile: tc.ca, CertFile: tc.cert, KeyFile: tc.key, VerifyServerName: tc.serverName})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error = %v, want %q", tc.name, err, tc.want)
		}
	}
}
