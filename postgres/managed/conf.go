package managed

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/postgres"
)

// ownFile is pgraft's configuration file in the data directory.
const ownFile = "pgraft.conf"

// minSenders is how many standbys, clones and rewinds the smallest configuration has room for.
const minSenders = 10

// conf is what pgraft.conf is rendered from.
type conf struct {
	cfg      Config
	settings Settings
	major    int
	tls      *TLSFiles         // PostgreSQL's copies
	base     map[string]string // what postgresql.conf sets
	missing  func(dir string) bool
	// least are the limits of the primary's that a standby must have to start: see standbyLimits.
	least map[string]int
}

// Owned reports whether only pgraft sets a parameter of PostgreSQL's: setting it otherwise has no effect. Some of them
// are taken into account (wal_level, max_wal_senders, max_replication_slots, unix_socket_directories), so that asking
// for more is no mistake: adjustable tells that.
func Owned(name string) (is, adjustable bool) {
	name = strings.ToLower(name)
	switch name {
	case "wal_level", "max_wal_senders", "max_replication_slots", "unix_socket_directories":
		return true, true
	case "default_transaction_read_only", "promote_trigger_file":
		return true, false // not always in own
	}
	_, is = conf{}.own()[name]
	return is, false
}

// defaults are what pgraft thinks better than PostgreSQL's defaults. Anyone may set them otherwise.
func defaults() map[string]string {
	return map[string]string{
		"wal_keep_size":          "512MB", // a rewind needs WAL back to where the histories part
		"max_slot_wal_keep_size": "4GB",   // a dead standby must not fill the disk
		// A dead peer holds its slot until it is noticed, and a frozen one holds up a shutdown.
		"wal_sender_timeout":   "10s",
		"wal_receiver_timeout": "10s",
	}
}

// own returns the parameters that only pgraft sets.
func (c conf) own() map[string]string {
	params := map[string]string{
		"listen_addresses":        c.cfg.ListenHost,
		"port":                    strconv.Itoa(c.cfg.Port),
		"unix_socket_directories": c.socketDirs(),
		"data_directory":          c.cfg.DataDir,
		"hba_file":                filepath.Join(c.cfg.DataDir, "pg_hba.conf"),
		"ident_file":              filepath.Join(c.cfg.DataDir, "pg_ident.conf"),

		"wal_level":             c.walLevel(),
		"max_wal_senders":       c.atLeast("max_wal_senders", max(minSenders, c.least["max_wal_senders"])),
		"max_replication_slots": c.atLeast("max_replication_slots", minSenders),
		"hot_standby":           "on",
		"wal_log_hints":         "on",
		// A crash of one session ends the server, so that the agent decides when clients are let in again: PostgreSQL's
		// own restart would show them commits that nobody acknowledged.
		"restart_after_crash":          "off",
		"wal_receiver_status_interval": "1s", // or a change of who is waited for takes up to 10 s to be noticed
		"wal_retrieve_retry_interval":  "100ms",

		"primary_conninfo":          c.settings.PrimaryConninfo,
		"primary_slot_name":         c.settings.PrimarySlot,
		"synchronous_standby_names": c.settings.SyncNames,

		"recovery_target_timeline": "latest",
		"recovery_target":          "", // a standby's recovery has no target, whatever a restored backup says
		"recovery_target_lsn":      "",
		"recovery_target_name":     "",
		"recovery_target_time":     "",
		"recovery_target_xid":      "",
	}
	if c.major < 16 {
		params["promote_trigger_file"] = ""
	}
	if c.settings.ReadOnly {
		params["default_transaction_read_only"] = "on"
	}
	if c.tls != nil {
		params["ssl"] = "on"
		params["ssl_cert_file"] = c.tls.CertFile
		params["ssl_key_file"] = c.tls.KeyFile
		params["ssl_ca_file"] = c.tls.CAFile
	}
	return params
}

// given returns what was asked for a parameter: by the cluster, by this node's configuration, or by postgresql.conf.
func (c conf) given(name string) (string, bool) {
	for _, params := range []map[string]string{lowerNames(c.settings.Cluster), lowerNames(c.cfg.NodeParams), c.base} {
		if value, ok := params[name]; ok {
			return value, true
		}
	}
	return "", false
}

func (c conf) walLevel() string {
	if level, _ := c.given("wal_level"); strings.EqualFold(level, "logical") {
		return "logical"
	}
	return "replica"
}

func (c conf) atLeast(name string, least int) string {
	value, _ := c.given(name)
	n, _ := strconv.Atoi(strings.TrimSpace(value)) // what is no number is PostgreSQL's to refuse, and not in our file
	return strconv.Itoa(max(n, least))
}

// limits returns the settings that would keep this standby from starting, as high as they must be. Once it runs they are
// what was asked for, which waits for a restart then.
func (c conf) limits() map[string]string {
	params := map[string]string{}
	for name, preset := range map[string]int{
		"max_connections": 100, "max_worker_processes": 8, "max_prepared_transactions": 0, "max_locks_per_transaction": 64,
	} {
		now := preset
		if text, ok := c.given(name); ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				continue // PostgreSQL says what is wrong with it
			}
			now = n
		}
		if now < c.least[name] {
			params[name] = strconv.Itoa(c.least[name])
		}
	}
	return params
}

// socketDirs keeps the directories that clients know behind the agent's own.
func (c conf) socketDirs() string {
	dirs := []string{c.cfg.SocketDir}
	more, _ := c.given("unix_socket_directories")
	for _, dir := range strings.Split(more, ",") {
		dir = strings.Trim(strings.TrimSpace(dir), `"`)
		if dir != "" && !slices.Contains(dirs, dir) && c.socketFits(dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ", ")
}

// socketFits leaves out a directory that only the primary has, from whose postgresql.conf a clone knows it: PostgreSQL
// would not start.
func (c conf) socketFits(dir string) bool { return c.missing == nil || !c.missing(dir) }

// chosen returns the parameters that the cluster or this node's configuration has chosen.
func (c conf) chosen() map[string]string {
	params := map[string]string{}
	if c.cfg.NoSync {
		params["fsync"] = "off" // and no more: pg_rewind insists on full_page_writes
	}
	maps.Copy(params, lowerNames(c.cfg.NodeParams))
	maps.Copy(params, lowerNames(c.settings.Cluster))
	maps.DeleteFunc(params, func(name, _ string) bool { return c.owns(name) })
	return params
}

// owns is Owned for this server: with TLS its certificates are pgraft's, too.
func (c conf) owns(name string) bool {
	is, _ := Owned(name)
	_, own := c.own()[name]
	return is || own
}

func lowerNames(params map[string]string) map[string]string {
	lower := make(map[string]string, len(params))
	for name, value := range params {
		lower[strings.ToLower(name)] = value
	}
	return lower
}

// render returns the text of pgraft.conf.
func (c conf) render() string {
	rest := defaults()
	maps.DeleteFunc(rest, func(name, _ string) bool { _, given := c.given(name); return given })
	var b strings.Builder
	b.WriteString("# Written by pgraft, which replaces this file as a whole. To set a parameter on every server:\n" +
		"#   pgraft settings set postgres.NAME VALUE\n")
	for _, section := range []struct {
		title  string
		params map[string]string
	}{
		{"Defaults of pgraft, which you may set otherwise", rest},
		{"Of the agent's configuration and the cluster's settings", c.chosen()},
		{"Of the primary, until this standby has replayed the change", c.limits()},
		{"Of pgraft alone", c.own()},
	} {
		if len(section.params) > 0 {
			b.WriteString("\n# " + section.title + "\n" + postgres.RenderParams(section.params))
		}
	}
	return b.String()
}

// sets reports whether pgraft.conf must be the one that says what name is: what postgresql.auto.conf says would win.
func (c conf) sets(name string) bool {
	_, chosen := c.chosen()[name]
	return chosen || c.owns(name)
}
