package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-sockaddr/template"
	"github.com/jackc/pgx/v5/pgconn"
)

// Host is what a Config takes from the machine. Tests put their own in its place.
type Host struct {
	Name      func() (string, error)
	Addresses func() ([]netip.Addr, error)
	Template  func(string) (string, error) // evaluates a go-sockaddr template
}

func (h *Host) orMachine() *Host {
	if h != nil {
		return h
	}
	return &Host{Name: os.Hostname, Addresses: machineAddresses, Template: evalTemplate}
}

func machineAddresses() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list interface addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out, nil
}

// evalTemplate evaluates a template. The library's functions panic on some arguments.
func evalTemplate(text string) (result string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluate template: %v", r)
		}
	}()
	return template.Parse(text)
}

// derive fills in what follows from the machine and from other keys.
func (l *loader) derive(host *Host) {
	c := l.c
	l.deriveName(host)
	for _, dir := range []*string{&c.DataDir, &c.RunDir, &c.TLS.CAFile, &c.TLS.CertFile, &c.TLS.KeyFile, &c.Postgres.DataDir} {
		if *dir != "" {
			if abs, err := filepath.Abs(*dir); err == nil {
				*dir = abs
			}
		}
	}
	l.evaluate("bind_addr", host)
	l.evaluate("advertise_addr", host)
	l.evaluate("http.addr", host)
	l.deriveAdvertise(host)
	l.derivePostgres()
	if c.Dev && (strings.HasPrefix(c.DataDir, c.DevDir) || strings.HasPrefix(c.RunDir, c.DevDir)) {
		return
	}
	c.DevDir = ""
}

func (l *loader) deriveName(host *Host) {
	if l.c.NodeName != "" {
		return
	}
	name, err := host.Name()
	if err != nil {
		l.bad("node_name", "the host's name can't be found (%v): set node_name", err)
		return
	}
	l.c.NodeName = name
}

// evaluate replaces a template by what it gives.
func (l *loader) evaluate(path string, host *Host) {
	k := l.keys.byPath[path]
	text := k.text(l.c)
	if !strings.Contains(text, "{{") {
		return
	}
	result, err := host.Template(text)
	result = strings.TrimSpace(result)
	switch {
	case err != nil:
		l.bad(path, "evaluate template %q: %v", text, err)
	case result == "":
		l.bad(path, "template %q matches no address of this machine: write an address, or another template", text)
	case strings.ContainsAny(result, " ,"):
		l.bad(path, "template %q gives more than one address (%s): narrow it to one, for example with | limit 1", text, result)
	}
	k.set(l.c, result)
}

func (l *loader) deriveAdvertise(host *Host) {
	c := l.c
	if c.AdvertiseAddr != "" || l.broken["advertise_addr"] || l.broken["bind_addr"] {
		return
	}
	bind, err := netip.ParseAddr(c.BindAddr)
	if err != nil {
		return // validate says what is wrong with it
	}
	if !bind.IsUnspecified() {
		c.AdvertiseAddr = c.BindAddr
		return
	}
	addrs, err := host.Addresses()
	if err == nil {
		if addr, ok := pickAdvertise(addrs, bind); ok {
			c.AdvertiseAddr = addr.String()
			return
		}
	}
	if c.BootstrapExpect == 1 && len(c.JoinAddrs()) == 0 {
		c.AdvertiseAddr = "127.0.0.1"
		l.warn("advertise_addr", "this machine has no private address, so this cluster of one advertises 127.0.0.1: no other node will be able to join it")
		return
	}
	l.bad("advertise_addr", "this machine has no private address to advertise: set advertise_addr to the address at which the other nodes reach this one")
}

// pickAdvertise chooses the address to advertise where all are bound: the first private one, or else the only one
// that is neither loopback nor link-local. IPv6 counts where IPv6 is bound.
func pickAdvertise(addrs []netip.Addr, bind netip.Addr) (netip.Addr, bool) {
	var usable []netip.Addr
	for _, a := range addrs {
		if a.IsGlobalUnicast() && (a.Is4() || bind.Is6()) {
			usable = append(usable, a)
		}
	}
	for _, want4 := range []bool{true, false} {
		for _, a := range usable {
			if a.IsPrivate() && a.Is4() == want4 {
				return a, true
			}
		}
	}
	if len(usable) == 1 {
		return usable[0], true
	}
	return netip.Addr{}, false
}

// derivePostgres settles mode and database. A connection string alone means external.
func (l *loader) derivePostgres() {
	p := &l.c.Postgres
	if !p.Enabled {
		return
	}
	if p.Mode == "" {
		p.Mode = ModeManaged
		if p.DSN != "" || l.broken["postgres.dsn"] {
			p.Mode = ModeExternal
		}
	}
	if p.DSN == "" {
		return
	}
	conn, err := pgconn.ParseConfig(p.DSN)
	if err != nil {
		l.bad("postgres.dsn", `it can't be read (%s): write for example "host=/var/run/postgresql user=pgraft"`, dsnProblem(err))
		return
	}
	_, named := l.c.sources["postgres.database"]
	switch {
	case conn.Database == "":
	case !named:
		p.Database = conn.Database
	case conn.Database != p.Database:
		l.bad("postgres.database", "it is %q and the dsn names %q: leave the database out of the dsn", p.Database, conn.Database)
	}
}

// dsnProblem is the parser's complaint without the connection string that it repeats.
func dsnProblem(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+len("`: "):]
	}
	return strings.Join(strings.Fields(text), " ")
}
