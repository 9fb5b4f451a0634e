package tlsutil

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config says what an agent shows of itself and asks of others. All three files are needed.
type Config struct {
	CAFile           string
	CertFile         string
	KeyFile          string
	VerifyIncoming   bool   // who connects must show a certificate of CAFile
	VerifyServerName string // name that a called agent's certificate must carry; "" = any of CAFile will do

	Logger        hclog.Logger     // nil: silent
	CheckInterval time.Duration    // least time between two looks at the files; 0 is a second
	Now           func() time.Time // nil: the clock
}

// Reloader holds an agent's certificate and authorities, and reads them again when their files change. Its methods and
// the tls.Configs that it gave out may be used from any number of goroutines.
type Reloader struct {
	cfg    Config
	logger hclog.Logger

	mu      sync.Mutex // guards what follows; held while the files are read
	current *material
	seen    [3]stamp // of the files when they were last read, well or badly
	checked time.Time
}

// stamp tells whether a file was replaced or written to.
type stamp struct {
	modified time.Time
	size     int64
}

// NewReloader reads the files, and fails where they could not be used.
func NewReloader(cfg Config) (*Reloader, error) {
	if cfg.CheckInterval == 0 {
		cfg.CheckInterval = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	r := &Reloader{cfg: cfg, logger: cfg.Logger.Named("tls")}
	if err := r.Reload(); err != nil {
		return nil, err
	}
	return r, nil
}

// Reload reads the files now. After an error what was in use stays in use.
func (r *Reloader) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read(r.stamps())
}

// Expiry returns when the certificate in use expires.
func (r *Reloader) Expiry() time.Time {
	return r.fresh().cert.Leaf.NotAfter
}

// Server returns the configuration for accepting connections. The peer's certificate is asked for as VerifyIncoming
// says; its names are not compared, since agents' addresses may change.
func (r *Reloader) Server() *tls.Config {
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true, // a resumed session would outlive an authority that was taken away
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &r.fresh().cert, nil
		},
	}
	if r.cfg.VerifyIncoming {
		cfg.ClientAuth = tls.RequireAnyClientCert
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			return r.verify(state, x509.ExtKeyUsageClientAuth, "")
		}
	}
	return cfg
}

// Client returns the configuration for calling other agents. It sets a certificate's chain against the authorities,
// and its names against VerifyServerName where that is set, but never against the address that was dialled.
func (r *Reloader) Client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: r.cfg.VerifyServerName,
		// The library's own check can't do without a name. VerifyConnection, which runs all the same, does the check.
		InsecureSkipVerify: true, //nolint:gosec // see above
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &r.fresh().cert, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			return r.verify(state, x509.ExtKeyUsageServerAuth, r.cfg.VerifyServerName)
		},
	}
}

func (r *Reloader) verify(state tls.ConnectionState, usage x509.ExtKeyUsage, name string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the peer showed no certificate")
	}
	leaf := state.PeerCertificates[0]
	if err := r.fresh().verify(state.PeerCertificates[:1], state.PeerCertificates[1:], usage, r.cfg.Now()); err != nil {
		return fmt.Errorf("verify certificate %q of the peer: %w", leaf.Subject.CommonName, err)
	}
	if name == "" {
		return nil
	}
	if err := leaf.VerifyHostname(name); err != nil {
		return fmt.Errorf("verify name of the peer: %w", err)
	}
	return nil
}

// fresh returns what is in force, after a look at the files where the last one is long enough ago.
func (r *Reloader) fresh() *material {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.cfg.Now(); now.Sub(r.checked) >= r.cfg.CheckInterval || now.Before(r.checked) {
		if stamps := r.stamps(); stamps != r.seen {
			r.takeUp(stamps)
		}
		r.checked = now
	}
	return r.current
}

// takeUp reads changed files. Certificate and key are two files, so that one of them alone is new for a moment: that
// reading fails, and the next change makes for another.
func (r *Reloader) takeUp(stamps [3]stamp) {
	if err := r.read(stamps); err != nil {
		r.logger.Error("changed certificate files are not used", "error", err)
		return
	}
	r.logger.Info("certificate files read again", "cert_file", r.cfg.CertFile, "expires", r.current.cert.Leaf.NotAfter)
}

// read needs mu. The stamps were taken before, so that a file written to during the reading is seen as changed.
func (r *Reloader) read(stamps [3]stamp) error {
	r.seen, r.checked = stamps, r.cfg.Now()
	m, err := load(r.cfg, r.checked)
	if err != nil {
		return err
	}
	r.current = m
	return nil
}

func (r *Reloader) stamps() [3]stamp {
	var out [3]stamp
	for i, path := range []string{r.cfg.CAFile, r.cfg.CertFile, r.cfg.KeyFile} {
		if info, err := os.Stat(path); err == nil {
			out[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return out
}
