package consensus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/consensus/consensustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// selfSigned returns both sides' configuration for 127.0.0.1, each of which demands the other's certificate.
func selfSigned(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	certificates := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	server = &tls.Config{Certificates: certificates, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	return server, &tls.Config{Certificates: certificates, RootCAs: pool}
}

func TestClusterOverTLS(t *testing.T) {
	server, client := selfSigned(t)
	c := consensustest.New(t, consensustest.Options{Configure: func(_ int, cfg *consensus.Config) {
		cfg.TLSServer, cfg.TLSClient = server, client
	}})
	leader := c.Leader()
	put(t, c.Node(c.Follower(leader)), "k", "v")
	conn, err := net.Dial("tcp", c.Address(leader))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(consensus.PreambleBytes(consensus.KindRaft, "test", "", "x", c.ID(leader))); err != nil {
		t.Fatal(err)
	}
	if _, err := consensus.ReadWelcome(conn); !contains(err, "TLS") {
		t.Errorf("without TLS: %v, want it to name TLS", err)
	}
}
