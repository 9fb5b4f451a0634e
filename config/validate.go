package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSocketPath is what fits into a Unix socket's address on Linux, less the closing NUL.
const maxSocketPath = 107

// bad reports a key's value as wrong, with the place where it was set.
func (l *loader) bad(path, format string, args ...any) {
	if l.broken[path] {
		return
	}
	l.broken[path] = true
	l.problems = append(l.problems, l.problem(path, format, args...))
}

func (l *loader) warn(path, format string, args ...any) {
	l.warnings = append(l.warnings, l.problem(path, format, args...))
}

func (l *loader) problem(path, format string, args ...any) Problem {
	src := l.c.sources[path]
	if block, _, _ := cutLast(path); src == (Source{}) {
		src = l.c.sources[block] // a key that is missing has the place of its block, or that where it could be added
	}
	if src == (Source{}) && len(l.c.files) > 0 {
		src = l.c.files[0]
	}
	return Problem{Source: src, Path: path, Message: fmt.Sprintf(format, args...)}
}

// isSet reports whether a file or a flag gave the key a value.
func (l *loader) isSet(path string) bool {
	_, ok := l.c.sources[path]
	return ok
}

// validate checks what concerns more than the form of a single value.
func (l *loader) validate() {
	l.checkNames()
	l.checkDirs()
	l.checkAddresses()
	l.checkJoin()
	l.checkPorts()
	l.checkRole()
	l.checkEncrypt()
	l.checkPostgres()
	l.checkTimers()
	l.checkTLS()
	l.checkLater()
	l.checkBootstrap()
}

func (l *loader) checkNames() {
	for _, path := range []string{"node_name", "cluster_name"} {
		name := l.keys.byPath[path].text(l.c)
		if why := nameProblem(name); why != "" && !l.broken[path] {
			l.bad(path, `%q %s: use letters, digits, "-", "_" and ".", at most 63, beginning with a letter or digit`, shorten(name), why)
		}
	}
}

func nameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > 63:
		return fmt.Sprintf("has %d characters", utf8.RuneCountInString(name))
	}
	for i, r := range name {
		if !isAlphanumeric(r) && (i == 0 || !strings.ContainsRune("-_.", r)) {
			return fmt.Sprintf("has %q in place %d", r, utf8.RuneCountInString(name[:i])+1)
		}
	}
	return ""
}

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= 80 {
		return s
	}
	return string([]rune(s)[:80]) + "…"
}

func (l *loader) checkDirs() {
	c := l.c
	if c.DataDir == "" {
		l.bad("data_dir", `it is empty: write for example "/var/lib/pgraft"`)
	}
	if c.RunDir == "" {
		l.bad("run_dir", `it is empty: write for example "/run/pgraft"`)
		return
	}
	if n := len(c.ConsolePath()); n > maxSocketPath {
		l.bad("run_dir", "the console's socket %s would have a path of %d bytes, and %d is the most: choose a shorter directory", shorten(c.ConsolePath()), n, maxSocketPath)
	}
}

func (l *loader) checkAddresses() {
	c := l.c
	l.checkIP("bind_addr", c.BindAddr)
	l.checkIP("http.addr", c.HTTP.Addr)
	if c.AdvertiseAddr != "" {
		l.checkAdvertise(c.AdvertiseAddr)
	}
	if c.Telemetry.PrometheusAddr != "" {
		l.checkHostPort("telemetry.prometheus_addr", c.Telemetry.PrometheusAddr, "0.0.0.0:9100")
	}
}

func (l *loader) checkIP(path, text string) {
	if _, err := netip.ParseAddr(text); err == nil {
		return
	}
	if host, port, err := net.SplitHostPort(text); err == nil {
		l.bad(path, "%q has a port, which belongs into block ports: write %q and set the port %s there", text, host, port)
		return
	}
	l.bad(path, `%q is not an IP address: write for example "0.0.0.0", or a template such as "{{ GetPrivateIP }}"`, text)
}

func (l *loader) checkAdvertise(text string) {
	addr, err := netip.ParseAddr(text)
	switch {
	case err == nil && addr.IsUnspecified():
		l.bad("advertise_addr", "%s is no address that other nodes could call: write the one at which they reach this node", text)
	case err == nil || validHostname(text):
	case strings.Contains(text, ":"):
		l.bad("advertise_addr", "%q must be an address without a port: the ports are in block ports", text)
	default:
		l.bad("advertise_addr", `%q is neither an IP address nor a DNS name: write for example "10.0.0.11"`, text)
	}
}

// checkHostPort checks an address whose port must be given.
func (l *loader) checkHostPort(path, text, example string) {
	if _, _, err := net.SplitHostPort(text); err != nil {
		l.bad(path, "%q is not of the form host:port: write for example %q", text, example)
		return
	}
	if strings.HasPrefix(text, ":") {
		text = "0.0.0.0" + text
	}
	if _, _, err := splitHostPort(text, 0); err != nil {
		l.bad(path, "%q: %v: write for example %q", text, err, example)
	}
}

func (l *loader) checkJoin() {
	c := l.c
	for _, a := range c.RetryJoin {
		if _, _, err := splitHostPort(a, c.Ports.Gossip); err != nil {
			l.problems = append(l.problems, l.problem("retry_join", `%q: %v: write host or host:port, for example "10.0.0.12" or "10.0.0.12:7402"`, a, err))
		}
	}
	for _, a := range c.Join {
		if _, _, err := splitHostPort(a, c.Ports.Gossip); err != nil {
			l.problems = append(l.problems, Problem{Source: Source{Flag: "join"}, Message: fmt.Sprintf("%q: %v: write host or host:port, for example -join=10.0.0.12", a, err)})
		}
	}
	if !isLoopback(c.AdvertiseAddr) {
		return
	}
	for _, a := range c.JoinAddrs() {
		if host, _, _ := net.SplitHostPort(a); !isLoopback(host) {
			path := "advertise_addr"
			if !l.isSet(path) {
				path = "bind_addr"
			}
			l.bad(path, "this node would tell %s to call it at %s, where that host would call itself: set advertise_addr to the address at which other hosts reach this one", a, c.AdvertiseAddr)
			return
		}
	}
}

func (l *loader) checkPorts() {
	c := l.c
	paths := []string{"ports.http", "ports.raft", "ports.gossip", "ports.console"}
	for i, path := range paths {
		for _, first := range paths[:i] {
			l.checkPortPair(first, path)
		}
	}
	host, port, err := net.SplitHostPort(c.Telemetry.PrometheusAddr)
	if err != nil {
		return
	}
	for _, path := range paths[:3] {
		if l.keys.byPath[path].text(c) == port {
			l.bad("telemetry.prometheus_addr", "port %s is already %s: choose another, for example %q", port, path, net.JoinHostPort(host, "9100"))
		}
	}
}

// checkPortPair blames the one of two equal ports that was set.
func (l *loader) checkPortPair(first, second string) {
	port := l.keys.byPath[first].text(l.c)
	if port != l.keys.byPath[second].text(l.c) || l.broken[first] || l.broken[second] {
		return
	}
	if l.isSet(first) && !l.isSet(second) {
		first, second = second, first
	}
	l.bad(second, "%s is already %s: give each its own port", port, first)
}

// maxZone is what gossip has room for.
const maxZone = 64

func (l *loader) checkRole() {
	c := l.c
	if len(c.Zone) > maxZone || !utf8.ValidString(c.Zone) || strings.ContainsFunc(c.Zone, unicode.IsControl) {
		l.bad("zone", "it must be text of at most %d bytes, for example \"eu-1a\"", maxZone)
	}
	if c.Witness && c.NonVoting {
		l.bad("witness", "a witness is there to vote, and non_voting takes the vote away: remove one of the two")
	}
	if c.Witness && c.Postgres.Enabled {
		l.bad("witness", "a witness has no PostgreSQL: remove the postgres block (and the flag -postgres), or set witness = false")
	}
}

func (l *loader) checkBootstrap() {
	c := l.c
	n, joins := c.BootstrapExpect, len(c.JoinAddrs()) > 0
	switch {
	case n > 0 && c.NonVoting:
		l.warn("bootstrap_expect", "a node that does not vote founds no cluster: it is ignored here")
	case n > 0 && n%2 == 0:
		l.warn("bootstrap_expect", "%d voters survive the loss of as many as %d do: choose an odd number", n, n-1)
	case n == 1 && joins:
		l.warn("bootstrap_expect", "1 makes this node found a cluster of its own if none answers: use the same number, 3 for example, on all nodes that found a cluster together")
	case n == 0 && !joins && len(l.problems) == 0:
		l.warn("bootstrap_expect", "this node neither founds a cluster nor knows one to join: unless it has been in one before, set bootstrap_expect and retry_join")
	}
}

func (l *loader) checkEncrypt() {
	if l.c.Encrypt == "" {
		return
	}
	key, err := base64.StdEncoding.DecodeString(l.c.Encrypt)
	if err != nil {
		l.bad("encrypt", "it is not base64: make a key with pgraft keygen")
		return
	}
	if n := len(key); n != 16 && n != 24 && n != 32 {
		l.bad("encrypt", "it has %d bytes and must have 16, 24 or 32: make a key with pgraft keygen", n)
	}
}

// checkTimers holds the timers in force against Raft's order, and blames one that was set.
func (l *loader) checkTimers() {
	const heartbeat, election, lease = "raft.heartbeat_timeout", "raft.election_timeout", "raft.leader_lease_timeout"
	if l.broken[heartbeat] || l.broken[election] || l.broken[lease] || l.broken["gossip.profile"] {
		return
	}
	t := l.c.RaftTimers()
	blame := func(first, second string) string {
		if l.isSet(first) {
			return first
		}
		return second
	}
	if t.Election < t.Heartbeat {
		l.bad(blame(election, heartbeat), "the election timeout (%s) is shorter than the heartbeat timeout (%s): make it as long or longer, or leave it out", t.Election, t.Heartbeat)
	}
	if t.Lease > t.Heartbeat {
		l.bad(blame(lease, heartbeat), "the leader's lease (%s) is longer than the heartbeat timeout (%s), so two nodes could believe that they lead: make it as long or shorter, or leave it out", t.Lease, t.Heartbeat)
	}
	if t.Lease < t.Heartbeat/5 {
		l.bad(blame(lease, heartbeat), "the leader's lease (%s) is shorter than the time between two heartbeats (up to %s), so no leader would last: make it longer, or leave it out", t.Lease, t.Heartbeat/5)
	}
}

func (l *loader) checkTLS() {
	t := l.c.TLS
	files := []struct{ path, file string }{{"tls.ca_file", t.CAFile}, {"tls.cert_file", t.CertFile}, {"tls.key_file", t.KeyFile}}
	var have, missing []string
	for _, f := range files {
		if f.file == "" {
			missing = append(missing, f.path)
			continue
		}
		have = append(have, f.path)
		l.checkReadable(f.path, f.file)
	}
	const hint = "pgraft tls ca create and pgraft tls cert create make the files"
	if len(have) > 0 && len(missing) > 0 {
		l.bad(missing[0], "%s needs %s beside it: set all three of ca_file, cert_file and key_file (%s), or none",
			strings.Join(have, " and "), strings.Join(missing, " and "), hint)
	}
	if len(have) > 0 {
		return
	}
	for _, path := range []string{"http.tls", "tls.verify_incoming", "tls.verify_server_name"} {
		if v := l.keys.byPath[path].text(l.c); l.isSet(path) && v != "false" && v != "" {
			l.bad(path, "it needs certificates: set tls.ca_file, tls.cert_file and tls.key_file (%s)", hint)
		}
	}
}

func (l *loader) checkReadable(path, file string) {
	f, err := os.Open(file)
	if err != nil {
		l.bad(path, "%v: check the path and that the agent's user may read it", err)
		return
	}
	_ = f.Close()
}

// checkLater refuses what is not built yet: who asks for it must not believe that it is there.
func (l *loader) checkLater() {
	c := l.c
	if c.ACL.Enabled {
		l.bad("acl.enabled", "access control comes in a later release, and pgraft won't run as if it were there: set it to false and restrict who reaches the ports (http.addr, tls.verify_incoming)")
	}
	if c.Audit.Enabled {
		l.bad("audit.enabled", "the audit log comes in a later release, and pgraft won't run as if it were there: set it to false")
	}
	if c.ACL.TokenFile != "" && !c.ACL.Enabled {
		l.warn("acl.token_file", "it has no effect: access control comes in a later release")
	}
	if c.Audit.Path != "" && !c.Audit.Enabled {
		l.warn("audit.path", "it has no effect: the audit log comes in a later release")
	}
}

// splitHostPort takes host, host:port, an IPv6 address, or [IPv6]:port.
func splitHostPort(text string, defaultPort int) (string, int, error) {
	host, port := text, defaultPort
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		host = strings.Trim(text, "[]")
	} else if h, p, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return "", 0, fmt.Errorf("%q is not a port", p)
		}
		host, port = h, n
	}
	if _, err := netip.ParseAddr(host); err != nil && !validHostname(host) {
		return "", 0, fmt.Errorf("%q is neither an IP address nor a DNS name", host)
	}
	return host, port, nil
}

func validHostname(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	var label string
	for label = range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	_, err := strconv.Atoi(label) // a name whose last label is a number is a mistyped IP address
	return err != nil
}

func notInLabel(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '_' }

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
