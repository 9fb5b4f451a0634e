package tlsutil

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names of the files that CreateCA writes.
const (
	CAFileName    = "pgraft-ca.pem"
	CAKeyFileName = "pgraft-ca-key.pem"
)

// Days for which certificates are good where nothing else is asked for.
const (
	DefaultCADays   = 3650
	DefaultCertDays = 365
	maxDays         = 36500
)

// clockSkew is how much a peer's clock may be behind without taking a new certificate for one of the future.
const clockSkew = 5 * time.Minute

// Pair names the two files of a certificate.
type Pair struct {
	CertFile, KeyFile string
}

// CAOptions say what authority to make.
type CAOptions struct {
	Dir  string // where the files go; "" is the working directory
	Name string // common name; "" is "pgraft CA"
	Days int    // 0 is DefaultCADays
}

// CreateCA makes a certificate authority and writes CAFileName and CAKeyFileName, which must not exist.
func CreateCA(opt CAOptions) (Pair, error) {
	if opt.Name == "" {
		opt.Name = "pgraft CA"
	}
	template, err := newTemplate(opt.Name, opt.Days, DefaultCADays)
	if err != nil {
		return Pair{}, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate: %w", err)
	}
	return writePair(Pair{filepath.Join(opt.Dir, CAFileName), filepath.Join(opt.Dir, CAKeyFileName)}, der, key)
}

// CertOptions say what certificate to make.
type CertOptions struct {
	CA       Pair     // the authority that signs
	Dir      string   // where the files go; "" is the working directory
	Name     string   // common name, a DNS name of the certificate and the files' name
	DNSNames []string // more names, beside Name and localhost
	IPs      []net.IP // beside the loopback addresses
	Days     int      // 0 is DefaultCertDays; never longer than the authority
}

// CreateCert makes a certificate for an agent, good as server and as client, and writes NAME.pem and NAME-key.pem,
// which must not exist.
func CreateCert(opt CertOptions) (Pair, error) {
	if opt.Name == "" || strings.ContainsAny(opt.Name, "/\\\x00") || strings.HasPrefix(opt.Name, ".") {
		return Pair{}, fmt.Errorf("name %q can't name a file: use the node's name, such as pg1", opt.Name)
	}
	ca, caKey, err := readCA(opt.CA)
	if err != nil {
		return Pair{}, err
	}
	template, err := newTemplate(opt.Name, opt.Days, DefaultCertDays)
	if err != nil {
		return Pair{}, err
	}
	if template.NotAfter.After(ca.NotAfter) {
		template.NotAfter = ca.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = append([]string{opt.Name, "localhost"}, opt.DNSNames...)
	template.IPAddresses = append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, opt.IPs...)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate: %w", err)
	}
	return writePair(Pair{filepath.Join(opt.Dir, opt.Name+".pem"), filepath.Join(opt.Dir, opt.Name+"-key.pem")}, der, key)
}

func newTemplate(name string, days, defaultDays int) (*x509.Certificate, error) {
	if days == 0 {
		days = defaultDays
	}
	if days < 1 || days > maxDays {
		return nil, fmt.Errorf("%d days is out of bounds: use 1 to %d", days, maxDays)
	}
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		return nil, fmt.Errorf("generate serial number: %w", err)
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, and of full length
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: bigInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.AddDate(0, 0, days),
	}, nil
}

// readCA reads an authority that is fit to sign.
func readCA(files Pair) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certs, err := readCertificates(files.CertFile)
	if err != nil {
		return nil, nil, err
	}
	ca := certs[0]
	if err := checkCA(files.CertFile, ca); err != nil {
		return nil, nil, err
	}
	if err := checkValidity(files.CertFile, ca, time.Now()); err != nil {
		return nil, nil, err
	}
	pemKey, err := os.ReadFile(files.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read CA key: %w", err)
	}
	block, _ := pem.Decode(pemKey)
	if block == nil {
		return nil, nil, fmt.Errorf("read CA key: %s has no PEM block", files.KeyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read CA key %s: %w", files.KeyFile, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(ca.PublicKey) {
		return nil, nil, fmt.Errorf("%s is not the key of %s: use the two files that pgraft tls ca create wrote together", files.KeyFile, files.CertFile)
	}
	return ca, key, nil
}

// writePair writes both files or none, and never over a file that is there.
func writePair(files Pair, der []byte, key *ecdsa.PrivateKey) (Pair, error) {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode key: %w", err)
	}
	if err := writeNew(files.CertFile, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return Pair{}, err
	}
	if err := writeNew(files.KeyFile, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}); err != nil {
		_ = os.Remove(files.CertFile)
		return Pair{}, err
	}
	return files, nil
}

func writeNew(path string, block *pem.Block) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is never overwritten: move it away, or choose another directory", path)
	}
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	err = errors.Join(pem.Encode(f, block), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
