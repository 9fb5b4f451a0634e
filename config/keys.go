package config

import (
	"strings"
	"time"
)

// Key describes one thing that can be set.
type Key struct {
	Path    string   // as written, blocks first: "ports.http"
	Doc     string   // sentences for the reference page
	Default string   // what stands where it is not set, in words, where Default can't say it
	Example string   // a value as HCL
	Values  []string // all that is accepted, where that is a short list
	Min     int64    // least number, or duration in nanoseconds
	Max     int64    // greatest; 0: none
	Live    bool     // a reload applies it; others need a restart of the agent
	Secret  bool     // never shown

	field func(*Config) any // pointer to where it is kept
}

// Type names the key's type for people.
func (k *Key) Type() string {
	switch k.field(&Config{}).(type) {
	case *string:
		return "string"
	case *int, *uint64:
		return "number"
	case *bool:
		return "bool"
	case *time.Duration:
		return "duration"
	case *[]string:
		return "list of strings"
	default:
		return "block of strings"
	}
}

// block returns the part of the path before the last dot, empty for a key at the top.
func (k *Key) block() string {
	block, _, ok := cutLast(k.Path)
	if !ok {
		return ""
	}
	return block
}

// name returns the last part of the path.
func (k *Key) name() string {
	_, name, _ := cutLast(k.Path)
	return name
}

func cutLast(path string) (before, after string, found bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// Keys returns the table of everything that can be set, in the order of the reference page: the keys at the top, then
// block by block.
func Keys() []Key {
	var keys []Key
	for _, part := range [][]Key{
		nodeKeys(), portKeys(), postgresKeys(), raftKeys(), gossipKeys(), autopilotKeys(), tlsKeys(), httpKeys(), laterKeys(),
	} {
		keys = append(keys, part...)
	}
	return keys
}

// keyTable finds keys by path.
type keyTable struct {
	list   []Key
	byPath map[string]*Key
}

func newKeyTable() *keyTable {
	t := &keyTable{list: Keys(), byPath: map[string]*Key{}}
	for i := range t.list {
		t.byPath[t.list[i].Path] = &t.list[i]
	}
	return t
}

// Block is one block of the files, with what the reference page says of it.
type Block struct {
	Name string
	Doc  string
}

// Blocks returns the blocks in the order of the reference page.
func Blocks() []Block {
	return []Block{
		{"ports", "The ports of this node. They must differ from each other. Every node needs to reach the others' Raft and gossip ports (gossip: TCP and UDP)."},
		{"postgres", "The PostgreSQL beside this agent. A witness has none; every other node needs this block, or the flag `-postgres`."},
		{"raft", "Consensus. The three timeouts come from `gossip.profile` where they are not set, and keep its proportions where only some of them are. " +
			"They must stand in the order `leader_lease_timeout` ≤ `heartbeat_timeout` ≤ `election_timeout`."},
		{"gossip", "How the agents watch each other."},
		{"autopilot", "What the leader does with servers on its own. The block gives a new cluster its first settings; once it runs, `pgraft operator autopilot set-config` changes them for all nodes."},
		{"tls", "Encryption and mutual verification of Raft and the agents' internal calls, and with `http.tls` of the HTTP API. It is on when `cert_file` is set; then all three files are needed. " +
			"Replaced files are taken up without a restart. `pgraft tls ca create` and `pgraft tls cert create` make them."},
		{"http", "Where the HTTP API listens. Its port is `ports.http`."},
		{"acl", "Access control comes in a later release. Until then a configuration that enables it is refused."},
		{"telemetry", "Metrics. They are always at the HTTP API's `/metrics`, too."},
		{"audit", "The audit log comes in a later release. Until then a configuration that enables it is refused."},
	}
}
