package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultAddress is where an agent of this machine answers unless it is configured otherwise.
const DefaultAddress = "http://127.0.0.1:7400"

// The environment that DefaultConfig reads.
const (
	EnvAddress    = "PGRAFT_HTTP_ADDR"
	EnvToken      = "PGRAFT_TOKEN"
	EnvCAFile     = "PGRAFT_CACERT"
	EnvCertFile   = "PGRAFT_CLIENT_CERT"
	EnvKeyFile    = "PGRAFT_CLIENT_KEY"
	EnvServerName = "PGRAFT_TLS_SERVER_NAME"
)

// TLSConfig says how to meet an agent that serves HTTPS. Files are PEM.
type TLSConfig struct {
	CAFile     string // who may sign the agent's certificate; empty: the system's authorities
	CertFile   string // the client's own certificate, for agents that verify clients
	KeyFile    string
	ServerName string // expected in the agent's certificate, when it differs from the address
}

// Config says how to reach an agent. The zero value reaches DefaultAddress.
type Config struct {
	// Address is http://host:port, https://host:port, host:port, or unix:///path/of/socket.
	Address string
	Token   string
	TLS     TLSConfig
	// HTTPClient replaces the client that New would build; TLS is then the caller's business.
	HTTPClient *http.Client
}

// DefaultConfig is what the environment says.
func DefaultConfig() Config {
	return Config{
		Address: os.Getenv(EnvAddress),
		Token:   os.Getenv(EnvToken),
		TLS: TLSConfig{
			CAFile:     os.Getenv(EnvCAFile),
			CertFile:   os.Getenv(EnvCertFile),
			KeyFile:    os.Getenv(EnvKeyFile),
			ServerName: os.Getenv(EnvServerName),
		},
	}
}

// Client calls one agent's HTTP API. It is safe for any number of goroutines, which share its connections.
type Client struct {
	base  string // scheme://host, no slash at the end
	token string
	http  *http.Client
	// seen is the highest log index that an answer named as committed. It becomes the base of request ids.
	seen atomic.Uint64
}

// New returns a client for the agent at cfg.Address. It doesn't connect yet.
func New(cfg Config) (*Client, error) {
	addr, err := parseAddress(cfg.Address, cfg.TLS != TLSConfig{})
	if err != nil {
		return nil, err
	}
	c := &Client{base: addr.base, token: cfg.Token, http: cfg.HTTPClient}
	if c.http != nil {
		return c, nil
	}
	transport, err := newTransport(addr, cfg.TLS)
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: transport}
	return c, nil
}

// Address returns the base URL that the client calls.
func (c *Client) Address() string { return c.base }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

type address struct {
	base   string
	socket string
}

func parseAddress(s string, useTLS bool) (address, error) {
	if s == "" {
		s = DefaultAddress
	}
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if path == "" {
			return address{}, errors.New("parse address: unix:// must be followed by the path of a socket")
		}
		return address{base: "http://localhost", socket: path}, nil
	}
	if !strings.Contains(s, "://") {
		scheme := "http://"
		if useTLS {
			scheme = "https://"
		}
		s = scheme + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return address{}, fmt.Errorf("parse address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return address{}, fmt.Errorf("parse address %q: want http://host:port, https://host:port or unix:///path", s)
	}
	return address{base: u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/")}, nil
}

// newTransport keeps as many idle connections as a busy program has goroutines: with net/http's default of two per
// host, hundreds of callers would dial for almost every call.
func newTransport(addr address, cfg TLSConfig) (*http.Transport, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		MaxIdleConns:          1024,
		MaxIdleConnsPerHost:   1024,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
	}
	if addr.socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", addr.socket)
		}
	}
	tlsConfig, err := newTLSConfig(cfg)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig = tlsConfig
	return t, nil
}

func newTLSConfig(cfg TLSConfig) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file %s: no PEM certificate in it", cfg.CAFile)
		}
	}
	if cfg.CertFile == "" && cfg.KeyFile == "" {
		return out, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	out.Certificates = []tls.Certificate{cert}
	return out, nil
}
