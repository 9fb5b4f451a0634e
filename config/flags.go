package config

import "flag"

// Flags are the flags of `pgraft agent`. The zero value is ready for Register; what the command line sets is then laid
// over the files by Load, and only that.
type Flags struct {
	Configs []string // -config, in order
	Dev     bool     // -dev
	Join    []string // -join, in order

	set []flagValue
}

type flagValue struct {
	name  string
	path  string
	value any
}

// flagKey binds a flag to the key that it sets.
type flagKey struct {
	name, path, usage string
}

func flagKeys() []flagKey {
	return []flagKey{
		{"bootstrap-expect", "bootstrap_expect", "found a new cluster once `N` voters have found each other"},
		{"node", "node_name", "`name` of this node (default: the host's)"},
		{"data-dir", "data_dir", "`directory` of the Raft log, snapshots and keyring"},
		{"run-dir", "run_dir", "`directory` of the console socket and the status file"},
		{"cluster-name", "cluster_name", "`name` of the cluster"},
		{"bind", "bind_addr", "`address` that Raft and gossip listen on"},
		{"advertise", "advertise_addr", "`address` at which other nodes reach this one"},
		{"retry-join", "retry_join", "`host[:port]` of a node to join, tried until one answers; repeatable"},
		{"encrypt", "encrypt", "`key` that gossip is encrypted with, from pgraft keygen"},
		{"postgres", "postgres.dsn", "`connection string` of the PostgreSQL beside this agent"},
		{"http-port", "ports.http", "`port` of the HTTP API"},
		{"raft-port", "ports.raft", "`port` of Raft"},
		{"gossip-port", "ports.gossip", "`port` of gossip"},
		{"console-port", "ports.console", "`number` of the console's socket in the run directory"},
		{"log-level", "log_level", "least `level` logged: trace, debug, info, warn, error, off"},
		{"log-json", "log_json", "log JSON, one object a line"},
		{"non-voting", "non_voting", "follow the log without a vote"},
		{"witness", "witness", "vote without a PostgreSQL"},
		{"profile", "gossip.profile", "`profile` of gossip and Raft timers: lan, wan, local"},
	}
}

// Register defines the flags on fs. A value that its key does not take is an error of fs.Parse.
func (f *Flags) Register(fs *flag.FlagSet) {
	fs.BoolVar(&f.Dev, "dev", false, "run one throwaway node on the loopback address")
	fs.Func("config", "`file or directory` of configuration (*.hcl, *.json); repeatable, later ones win", appendTo(&f.Configs))
	fs.Func("join", "`host[:port]` of a node to join; repeatable", appendTo(&f.Join))
	keys := newKeyTable()
	for _, fk := range flagKeys() {
		k := keys.byPath[fk.path]
		switch k.field(&Config{}).(type) {
		case *bool:
			fs.BoolFunc(fk.name, fk.usage, f.record(fk, k))
		case *[]string:
			fs.Func(fk.name, fk.usage, f.recordList(fk))
		default:
			fs.Func(fk.name, fk.usage, f.record(fk, k))
		}
	}
}

func appendTo(list *[]string) func(string) error {
	return func(text string) error {
		*list = append(*list, text)
		return nil
	}
}

func (f *Flags) record(fk flagKey, k *Key) func(string) error {
	return func(text string) error {
		v, err := k.parse(text)
		if err == nil {
			f.set = append(f.set, flagValue{fk.name, fk.path, v})
		}
		return err
	}
}

func (f *Flags) recordList(fk flagKey) func(string) error {
	var list []string
	return func(text string) error {
		list = append(list, text)
		f.set = append(f.set, flagValue{fk.name, fk.path, list[:len(list):len(list)]})
		return nil
	}
}

// apply lays what was set over what the files gave.
func (f *Flags) apply(l *loader) {
	l.c.Join = f.Join
	for _, fv := range f.set {
		l.keys.byPath[fv.path].set(l.c, fv.value)
		l.c.sources[fv.path] = Source{Flag: fv.name}
		delete(l.broken, fv.path)
		if fv.path == "postgres.dsn" {
			l.c.Postgres.Enabled = true
		}
	}
}
