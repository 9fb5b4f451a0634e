package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/pgraft/pgraft/api"
)

const redacted = "(redacted)"

// Values returns every value in force and where it came from, in the order of the reference page, for `pgraft info`.
// Secrets are not in it.
func (c *Config) Values() []api.InfoValue {
	var out []api.InfoValue
	for _, k := range Keys() {
		src := c.sources[k.Path]
		v := api.InfoValue{Name: k.Path, Value: c.show(&k), Source: src.String()}
		if src == (Source{}) {
			v.Source = c.derivedSource(k.Path)
		}
		out = append(out, v)
	}
	return out
}

// show renders a value that may be looked at.
func (c *Config) show(k *Key) string {
	text := k.text(c)
	switch {
	case k.Path == "postgres.dsn":
		return redactDSN(text)
	case k.Secret && text != "":
		return redacted
	case k.Path == "postgres.advertise":
		return c.PostgresAdvertise()
	}
	t := c.RaftTimers()
	switch k.Path {
	case "raft.heartbeat_timeout":
		return formatDuration(t.Heartbeat)
	case "raft.election_timeout":
		return formatDuration(t.Election)
	case "raft.leader_lease_timeout":
		return formatDuration(t.Lease)
	}
	return text
}

// derivedSource says where a value came from that nobody set.
func (c *Config) derivedSource(path string) string {
	switch path {
	case "raft.heartbeat_timeout", "raft.election_timeout", "raft.leader_lease_timeout":
		return fmt.Sprintf("default (profile %s)", c.Gossip.Profile)
	case "data_dir", "run_dir", "bootstrap_expect", "bind_addr", "node_name", "cluster_name", "advertise_addr":
		if c.Dev {
			return "flag -dev"
		}
	}
	return "default"
}

var dsnPassword = regexp.MustCompile(`(?i)\b((?:ssl)?password)\s*=\s*('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)+)`)

// redactDSN takes the passwords out of a connection string or URL. What can't be understood is not shown at all.
func redactDSN(dsn string) string {
	if !urlDSN.MatchString(dsn) {
		return dsnPassword.ReplaceAllString(dsn, "$1="+redacted)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return redacted
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "redacted")
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "redacted")
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

var urlDSN = regexp.MustCompile(`^postgres(ql)?://`)

// Diff returns the paths of the keys whose values differ, apart by whether a running agent can take the new value up.
func Diff(old, changed *Config) (live, needRestart []string) {
	for _, k := range Keys() {
		if k.equal(old, changed) {
			continue
		}
		if k.Live {
			live = append(live, k.Path)
		} else {
			needRestart = append(needRestart, k.Path)
		}
	}
	return live, needRestart
}

func (k *Key) equal(a, b *Config) bool {
	switch x := k.field(a).(type) {
	case *[]string:
		return slices.Equal(*x, *k.field(b).(*[]string))
	case *map[string]string:
		return maps.Equal(*x, *k.field(b).(*map[string]string))
	case *time.Duration:
		return *x == *k.field(b).(*time.Duration)
	default:
		return k.text(a) == k.text(b)
	}
}

// clone copies c so that a change of the copy's values leaves c alone.
func (c *Config) clone() *Config {
	d := *c
	d.sources = maps.Clone(c.sources)
	d.Postgres.Parameters = maps.Clone(c.Postgres.Parameters)
	return &d
}
