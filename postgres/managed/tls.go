package managed

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
)

// TLSFiles are the agent's certificate files, which PostgreSQL uses, too. WriteConfig copies them to where PostgreSQL's
// user may read them: see Server.TLS.
type TLSFiles struct {
	CAFile, CertFile, KeyFile string
	// VerifyClients asks standbys for a certificate of the CA.
	VerifyClients bool
}

// TLS returns PostgreSQL's copies of the certificate files, nil without TLS. They are for the server and for what it
// connects with: see ClientTLS.
func (s *Server) TLS() *TLSFiles {
	if s.cfg.TLS == nil {
		return nil
	}
	dir := filepath.Join(s.cfg.SocketDir, "tls")
	files := TLSFiles{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), VerifyClients: s.cfg.TLS.VerifyClients,
	}
	if s.cfg.TLS.CAFile != "" {
		files.CAFile = filepath.Join(dir, "ca.pem")
	}
	return &files
}

// PrepareTLS makes the copies, with which this node also reaches a primary before it has a server of its own.
func (s *Server) PrepareTLS() error {
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	_, err := s.copyTLS()
	return err
}

// TLSReplaced reports whether the certificate files are others than PostgreSQL has: WriteConfig brings them to it.
func (s *Server) TLSReplaced() bool {
	copies := s.TLS()
	if copies == nil || !s.cfg.TLS.pair() {
		return false // none, or in the middle of being replaced
	}
	for _, file := range s.cfg.TLS.with(copies) {
		from, err := os.ReadFile(file.from)
		if err != nil {
			return false
		}
		if to, err := os.ReadFile(file.to); err != nil || !bytes.Equal(from, to) {
			return true
		}
	}
	return false
}

type filePair struct{ from, to string }

// with lists the files beside their copies.
func (f *TLSFiles) with(copies *TLSFiles) []filePair {
	pairs := []filePair{{f.CertFile, copies.CertFile}, {f.KeyFile, copies.KeyFile}}
	if f.CAFile != "" {
		pairs = append(pairs, filePair{f.CAFile, copies.CAFile})
	}
	return pairs
}

// pair reports whether certificate and key belong together.
func (f *TLSFiles) pair() bool {
	_, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	return err == nil
}

func (s *Server) copyTLS() ([]string, error) {
	copies := s.TLS()
	if copies == nil {
		return nil, nil
	}
	if err := s.makeSocketDir(); err != nil {
		return nil, err
	}
	if err := s.pm.Owner.MakeDir(filepath.Dir(copies.CertFile), 0o700); err != nil {
		return nil, err
	}
	if copies.pair() && !s.cfg.TLS.pair() {
		return nil, nil // they are being replaced, one after the other: PostgreSQL would not start with half of it
	}
	var changes []string
	for _, file := range s.cfg.TLS.with(copies) {
		raw, err := os.ReadFile(file.from)
		if err != nil {
			return changes, fmt.Errorf("read TLS file: %w", err)
		}
		changed, err := s.replace(file.to, string(raw), false)
		if err != nil {
			return changes, fmt.Errorf("copy TLS file: %w", err)
		}
		if changed {
			changes = append(changes, "TLS: "+file.from+" is new")
		}
	}
	return changes, nil
}

// makeSocketDir makes the directory of the socket, which clients may enter and PostgreSQL may write to.
func (s *Server) makeSocketDir() error {
	dir := s.cfg.SocketDir
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make socket directory: %w", err)
		}
	}
	return s.pm.Owner.Own(dir)
}
