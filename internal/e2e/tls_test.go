package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// authority makes certificates with the command line, as the documentation says.
type authority struct {
	c   *testcluster.Cluster
	dir string
}

func newAuthority(t *testing.T, c *testcluster.Cluster, name string) authority {
	t.Helper()
	a := authority{c, filepath.Join(c.Dir, name)}
	if err := os.Mkdir(a.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a.run(t, "tls", "ca", "create", "-dir="+a.dir)
	return a
}

func (a authority) run(t *testing.T, args ...string) {
	t.Helper()
	if out, code := a.c.Run(&testcluster.Node{Name: "this machine", HTTP: "127.0.0.1:1"}, args...); code != 0 {
		t.Fatalf("pgraft %s: exit code %d: %s", strings.Join(args, " "), code, out)
	}
}

func (a authority) ca() string { return filepath.Join(a.dir, "pgraft-ca.pem") }

// cert makes a certificate in a directory of its own.
func (a authority) cert(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	a.run(t, "tls", "cert", "create", "-node="+name, "-dir="+dir, "-ca-file="+a.ca(), "-ca-key-file="+filepath.Join(a.dir, "pgraft-ca-key.pem"))
	return dir
}

// block is a configuration's tls block.
func (a authority) block(dir, name string) string {
	return fmt.Sprintf("tls {\n  ca_file = %q\n  cert_file = %q\n  key_file = %q\n}\n", a.ca(), certFile(dir, name), keyFile(dir, name))
}

func certFile(dir, name string) string { return filepath.Join(dir, name+".pem") }
func keyFile(dir, name string) string  { return filepath.Join(dir, name+"-key.pem") }

func (a authority) client(t *testing.T, dir, name string) *http.Client {
	t.Helper()
	raw, err := os.ReadFile(a.ca())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	pair, err := tls.LoadX509KeyPair(certFile(dir, name), keyFile(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13},
	}}
}

// TestTLS runs a cluster whose agents trust nobody without a certificate of their authority.
func TestTLS(t *testing.T) {
	c := testcluster.Custom(t)
	ca := newAuthority(t, c, "ca")
	certs := make(map[string]string)
	var specs []testcluster.Spec
	for _, name := range []string{"a", "b", "c"} {
		certs[name] = ca.cert(t, name)
		config := ca.block(certs[name], name) + "http {\n  addr = \"127.0.0.1\"\n  tls = true\n}\n"
		specs = append(specs, testcluster.Spec{Name: name, Config: config})
	}
	admin := ca.cert(t, "admin")
	for _, n := range c.AddAll(specs...) {
		n.HTTP = "https://" + n.HTTP
		n.Client = ca.client(t, admin, "admin")
	}
	c.StartAll()
	for i, n := range c.Nodes {
		mustPut(t, n, fmt.Sprintf("by/%d", i), "v") // two of the three are forwarded
	}
	x := tlsTest{c: c, ca: ca, certs: certs, admin: admin}
	t.Run("CommandLine", x.commandLine)
	t.Run("Strangers", x.strangers)
	t.Run("Rotation", x.rotation)
}

type tlsTest struct {
	c     *testcluster.Cluster
	ca    authority
	certs map[string]string
	admin string
}

func (x tlsTest) commandLine(t *testing.T) {
	x.c.In(t)
	n := x.c.Nodes[1]
	pair := []string{"-cert-file=" + certFile(x.admin, "admin"), "-key-file=" + keyFile(x.admin, "admin")}
	out, code := x.c.Run(n, append([]string{"kv", "get", "-ca-file=" + x.ca.ca(), "by/0"}, pair...)...)
	if code != 0 || strings.TrimSpace(out) != "v" {
		t.Errorf("kv get with certificates: exit code %d: %s", code, out)
	}
	for name, tt := range map[string]struct{ args, words []string }{
		"no authority":   {pair, []string{"-ca-file"}},
		"no certificate": {[]string{"-ca-file=" + x.ca.ca()}, []string{"certificate", "-cert-file"}},
	} {
		out, code := x.c.Run(n, append([]string{"status"}, tt.args...)...)
		if code != 1 {
			t.Errorf("status with %s: exit code %d, want 1", name, code)
		}
		wantText(t, "status with "+name, out, tt.words...)
	}
	plain := *n
	plain.HTTP = strings.Replace(n.HTTP, "https://", "http://", 1)
	out, code = x.c.Run(&plain, "status")
	if code != 1 {
		t.Errorf("status by http: exit code %d, want 1", code)
	}
	wantText(t, "status by http", out, "https://")
}

// strangers are agents of the right name and cluster, but without a certificate, or with another authority's.
func (x tlsTest) strangers(t *testing.T) {
	x.c.In(t)
	before := statusOf(t, x.c, x.c.Nodes[0])
	other := newAuthority(t, x.c, "other-ca")
	for name, stranger := range map[string]struct{ config, reason string }{
		"plain":   {"", "give all agents the same tls block"},
		"foreign": {other.block(other.cert(t, "foreign"), "foreign"), "certificate signed by unknown authority"},
	} {
		n := x.c.Add(testcluster.Spec{Name: name, Join: x.c.Nodes[:3], Config: stranger.config})
		x.c.Nodes = x.c.Nodes[:3]
		x.c.StartAgent(n)
		// Gossip lets it in, since it has no key here; Raft does not, and the logs say why.
		testcluster.Eventually(t, 30*time.Second, func() error {
			logs := x.c.LogOf(n)
			for _, member := range x.c.Nodes {
				logs += x.c.LogOf(member)
			}
			if !strings.Contains(logs, stranger.reason) {
				return fmt.Errorf("no log says %q of %s", stranger.reason, name)
			}
			return nil
		})
		time.Sleep(3 * time.Second) // room for a member to come about
		for _, member := range x.c.Nodes {
			s := statusOf(t, x.c, member)
			if r := row(s, name); r != nil && r.Voter {
				t.Errorf("%s sees %s as a voter", member.Name, name)
			}
		}
		if s, err := x.c.Status(n); err == nil && (s.ClusterID != "" || s.HasQuorum || s.Log.CommitIndex > 0) {
			t.Errorf("the %s agent learned something: %+v", name, s)
		}
		x.c.KillAgent(n)
		if out, code := x.c.Run(x.c.Nodes[0], append([]string{"force-leave"}, append(x.flags(), name)...)...); code != 0 {
			t.Logf("force-leave of the %s agent: %d %s", name, code, out)
		}
	}
	mustPut(t, x.c.Nodes[2], "after-strangers", "v")
	if after := statusOf(t, x.c, x.c.Nodes[0]); after.Term != before.Term {
		t.Errorf("strangers moved the term from %d to %d", before.Term, after.Term)
	}
}

func (x tlsTest) flags() []string {
	return []string{"-ca-file=" + x.ca.ca(), "-cert-file=" + certFile(x.admin, "admin"), "-key-file=" + keyFile(x.admin, "admin")}
}

// rotation replaces all certificates, and the authority behind them, under the running agents.
func (x tlsTest) rotation(t *testing.T) {
	x.c.In(t)
	started := make(map[string]time.Time)
	for _, n := range x.c.Nodes {
		started[n.Name] = statusOf(t, x.c, n).StartedAt
	}
	next := newAuthority(t, x.c, "next-ca")
	// First everybody trusts both authorities, then the certificates change, then the old authority goes.
	old := readFile(t, x.ca.ca())
	replaceFile(t, x.ca.ca(), append(bytes.Clone(old), readFile(t, next.ca())...))
	serial := servedSerial(t, x.c.Nodes[0])
	for name, dir := range x.certs {
		fresh := next.cert(t, name)
		replaceFile(t, keyFile(dir, name), readFile(t, keyFile(fresh, name)))
		replaceFile(t, certFile(dir, name), readFile(t, certFile(fresh, name)))
	}
	admin := next.cert(t, "admin")
	for _, n := range x.c.Nodes {
		testcluster.Eventually(t, 20*time.Second, func() error {
			if now := servedSerial(t, n); now == serial {
				return fmt.Errorf("%s still shows its old certificate", n.Name)
			}
			return nil
		})
		n.Client = next.client(t, admin, "admin")
	}
	replaceFile(t, x.ca.ca(), readFile(t, next.ca()))

	x.c.WaitWhole()
	for i, n := range x.c.Nodes {
		mustPut(t, n, fmt.Sprintf("rotated/%d", i), "v")
		if s := statusOf(t, x.c, n); !s.StartedAt.Equal(started[n.Name]) {
			t.Errorf("%s was started again", n.Name)
		}
	}
	// New connections between the agents come about with the new certificates only: start one again.
	x.c.KillAgent(x.c.Nodes[2])
	x.c.StartAgent(x.c.Nodes[2])
	x.c.WaitWhole()
	// What the old authority signed opens no door any more.
	stale := *x.c.Nodes[0]
	stale.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{mustPair(t, x.admin)}, MinVersion: tls.VersionTLS13, //nolint:gosec // it is the client that is on trial
	}}}
	testcluster.Eventually(t, 10*time.Second, func() error {
		if a, err := ask(t.Context(), &stale, "GET", "/v1/status", ""); err == nil {
			return fmt.Errorf("a certificate of the old authority still works: %d", a.code)
		}
		return nil
	})
}

func mustPair(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile(dir, "admin"), keyFile(dir, "admin"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// servedSerial is the number of the certificate that a node's HTTP API shows.
func servedSerial(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	serial := ""
	cfg := &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, //nolint:gosec // only looked at
		VerifyConnection: func(state tls.ConnectionState) error {
			serial = state.PeerCertificates[0].SerialNumber.String()
			return nil
		},
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(n.HTTP, "https://"), cfg)
	if err == nil {
		_ = conn.Close()
	}
	if serial == "" {
		t.Fatalf("no certificate from %s: %v", n.Name, err)
	}
	return serial
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// replaceFile puts a PEM file in another one's place at once, as a rotation should.
func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if block, _ := pem.Decode(content); block == nil {
		t.Fatalf("%s would become no PEM", path)
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
