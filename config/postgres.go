package config

import (
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func (l *loader) checkPostgres() {
	c := l.c
	p := c.Postgres
	if !p.Enabled {
		if !c.Witness && !c.Dev && !l.broken["witness"] {
			l.bad("postgres", `this node has no PostgreSQL: add a block postgres with mode = "managed" and data_dir, or with mode = "external" and dsn; or set witness = true for a node that only votes`)
		}
		return
	}
	if l.broken["postgres.mode"] {
		return
	}
	if p.Database == "" {
		l.bad("postgres.database", `it is empty: write for example "postgres"`)
	}
	if p.Advertise != "" {
		l.checkHostPort("postgres.advertise", p.Advertise, "10.0.0.11:5432")
	}
	if p.Mode == ModeManaged {
		l.checkManaged()
		return
	}
	if p.DSN == "" && !l.broken["postgres.dsn"] {
		l.bad("postgres.dsn", `mode = "external" needs it: write for example dsn = "host=/var/run/postgresql user=pgraft"`)
	}
	for _, name := range []string{"data_dir", "listen", "parameters", "hba", "synchronous", "priority"} {
		if path := "postgres." + name; l.isSet(path) {
			l.warn(path, `it has no effect with mode = "external": pgraft does not manage this PostgreSQL`)
		}
	}
}

// checkManaged checks what a PostgreSQL needs that the agent runs itself.
func (l *loader) checkManaged() {
	p := l.c.Postgres
	if p.DSN != "" {
		l.bad("postgres.dsn", `with mode = "managed" the agent reaches PostgreSQL through a socket of its own: leave it out, or set mode = "external" for a PostgreSQL that someone else runs`)
	}
	l.checkManagedDir()
	l.checkListen()
	l.checkParameters()
	l.checkHBA()
}

func (l *loader) checkManagedDir() {
	const path = "postgres.data_dir"
	dir := l.c.Postgres.DataDir
	if dir == "" {
		blame := "postgres.mode"
		if !l.isSet(blame) {
			blame = "postgres"
		}
		l.bad(blame, `PostgreSQL is managed and needs a directory: write for example data_dir = "/var/lib/postgresql/16/main" in block postgres (or set mode = "external" and dsn for a PostgreSQL that someone else runs)`)
		return
	}
	if dir == string(filepath.Separator) {
		l.bad(path, "it is the root of the file system: choose a directory of its own")
		return
	}
	for _, other := range []struct{ path, dir string }{{"data_dir", l.c.DataDir}, {"run_dir", l.c.RunDir}} {
		if other.dir != "" && within(other.dir, dir) {
			l.bad(path, "%s (%s) lies in it, and PostgreSQL's directory is emptied when it is cloned anew: choose directories apart from each other", other.path, other.dir)
			return
		}
	}
}

// within reports whether path is dir or below it. Both are absolute.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (l *loader) checkListen() {
	const path, example = "postgres.listen", "0.0.0.0:5432"
	c := l.c
	host, port, err := net.SplitHostPort(c.Postgres.Listen)
	if err != nil {
		l.bad(path, "%q is not of the form address:port: write for example %q", c.Postgres.Listen, example)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		l.bad(path, "%q is not a port: write for example %q", port, example)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil && !validHostname(host) {
		l.bad(path, "%q is neither an IP address nor a DNS name: write for example %q", host, example)
		return
	}
	if isLoopback(host) && !isLoopback(c.AdvertiseAddr) {
		l.bad(path, "PostgreSQL would listen on this host only, and the standbys on the other hosts could not follow it: listen on an address that they reach, or on 0.0.0.0")
		return
	}
	for _, other := range []string{"ports.http", "ports.raft", "ports.gossip"} {
		if l.keys.byPath[other].text(c) == port {
			l.bad(path, "port %s is already %s: choose another", port, other)
		}
	}
	if n := len(c.PostgresSocketPath()); n > maxSocketPath {
		l.bad("run_dir", "PostgreSQL's socket %s would have a path of %d bytes, and %d is the most: choose a shorter directory", shorten(c.PostgresSocketPath()), n, maxSocketPath)
	}
}

func (l *loader) checkParameters() {
	params := l.c.Postgres.Parameters
	for _, name := range slices.Sorted(maps.Keys(params)) {
		path := parametersBlock + "." + name
		if err := CheckParameter(name, params[name]); err != nil {
			l.problems = append(l.problems, l.problem(path, "%v", err))
		}
		if l.c.Postgres.Synchronous == SyncQuorum && weakensCommit(name, params[name]) {
			l.problems = append(l.problems, l.problem(path, `%s = %s acknowledges commits that no other server has: set synchronous = "async" if that is what you want`, name, params[name]))
		}
	}
	for _, name := range []string{"fsync", "full_page_writes"} {
		if isOff(params[name]) {
			l.warn(parametersBlock+"."+name, "%s = off loses or damages this server's data when its machine crashes, acknowledged commits among it: for throwaway data only", name)
		}
	}
}

func weakensCommit(name, value string) bool {
	return name == "synchronous_commit" && (isOff(value) || strings.EqualFold(value, "local"))
}

func isOff(value string) bool {
	return slices.Contains([]string{"off", "false", "no", "0"}, strings.ToLower(value))
}

// checkHBA checks the form of lines of pg_hba.conf, so far as a line that PostgreSQL can't read would lock all out.
func (l *loader) checkHBA() {
	for _, line := range l.c.Postgres.HBA {
		if why := hbaProblem(line); why != "" {
			l.problems = append(l.problems, l.problem("postgres.hba", `%q %s: write for example "host all all 10.0.0.0/8 scram-sha-256"`, shorten(line), why))
		}
	}
}

func hbaProblem(line string) string {
	fields := strings.Fields(line)
	kinds := []string{"local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"}
	switch {
	case strings.ContainsAny(line, "\n\r\x00"):
		return "has more than one line"
	case len(fields) == 0:
		return "is empty"
	case strings.HasPrefix(fields[0], "#"):
		return "is a comment, which belongs into this file"
	case !slices.Contains(kinds, fields[0]):
		return "begins with none of " + strings.Join(kinds, ", ")
	case fields[0] == "local" && len(fields) < 4:
		return "lacks a field (local DATABASE USER METHOD)"
	case fields[0] != "local" && len(fields) < 5:
		return "lacks a field (" + fields[0] + " DATABASE USER ADDRESS METHOD)"
	}
	return ""
}
