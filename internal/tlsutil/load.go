package tlsutil

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"
)

func bigInt(b []byte) *big.Int { return new(big.Int).SetBytes(b) }

// material is what one reading of the files gave. It is not changed any more.
type material struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

// load reads the three files and checks them as a whole.
func load(cfg Config, now time.Time) (*material, error) {
	authorities, err := readCertificates(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, ca := range authorities {
		if err := checkCA(cfg.CAFile, ca); err != nil {
			return nil, err
		}
		roots.AddCert(ca)
	}
	cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s with key %s: %w", cfg.CertFile, cfg.KeyFile, err)
	}
	m := &material{cert: cert, roots: roots}
	if err := checkValidity(cfg.CertFile, cert.Leaf, now); err != nil {
		return nil, err
	}
	return m, m.checkOwn(cfg, now)
}

// checkOwn asks what the peers will ask, so that a certificate that they would refuse is found at home.
func (m *material) checkOwn(cfg Config, now time.Time) error {
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		err := m.verify([]*x509.Certificate{m.cert.Leaf}, m.intermediates(), usage, now)
		var unknown x509.UnknownAuthorityError
		switch {
		case errors.As(err, &unknown):
			return fmt.Errorf("%s does not come from an authority in %s: create it with pgraft tls cert create and that authority", cfg.CertFile, cfg.CAFile)
		case err != nil:
			return fmt.Errorf("verify %s against %s: %w", cfg.CertFile, cfg.CAFile, err)
		}
	}
	if cfg.VerifyServerName == "" {
		return nil
	}
	if err := m.cert.Leaf.VerifyHostname(cfg.VerifyServerName); err != nil {
		return fmt.Errorf("%s lacks the name that verify_server_name asks of every agent: %w", cfg.CertFile, err)
	}
	return nil
}

func (m *material) intermediates() []*x509.Certificate {
	var out []*x509.Certificate
	for _, der := range m.cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// verify checks that leaf[0] comes from the authorities.
func (m *material) verify(leaf, intermediates []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) error {
	pool := x509.NewCertPool()
	for _, c := range intermediates {
		pool.AddCert(c)
	}
	_, err := leaf[0].Verify(x509.VerifyOptions{
		Roots: m.roots, Intermediates: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

// readCertificates reads all certificates of a PEM file; there is at least one.
func readCertificates(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificates in %s: %w", path, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s has no certificate: it must be PEM, as pgraft tls ca create writes it", path)
	}
	return certs, nil
}

func checkCA(path string, cert *x509.Certificate) error {
	if cert.IsCA && cert.BasicConstraintsValid {
		return nil
	}
	return fmt.Errorf("%s: certificate %q is not a CA's: give the authority's certificate, pgraft-ca.pem", path, cert.Subject.CommonName)
}

func checkValidity(path string, cert *x509.Certificate, now time.Time) error {
	const day = "2006-01-02 15:04 MST"
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("%s: certificate %q expired on %s: create a new one with pgraft tls", path, cert.Subject.CommonName, cert.NotAfter.UTC().Format(day))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%s: certificate %q is good from %s only: check this machine's clock", path, cert.Subject.CommonName, cert.NotBefore.UTC().Format(day))
	}
	return nil
}
