package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// SettingPrefix begins the names of cluster-wide settings that are parameters of PostgreSQL, in managed clusters.
const SettingPrefix = "postgres."

// maxParameterValue is more than any parameter of PostgreSQL needs, and little enough for its file.
const maxParameterValue = 4096

// ownedParameters are the parameters of a managed PostgreSQL that pgraft sets itself, and why.
func ownedParameters() map[string]string {
	const (
		follows   = "pgraft sets it: whom a standby follows is the cluster's decision"
		layout    = "pgraft keeps this file in its place in the data directory"
		inTime    = "pgraft sets it, so that commits are acknowledged and a new primary is followed in time"
		promotes  = "pgraft promotes by itself: see pgraft switchover"
		noRestore = "a restore to a point in time is done before the data directory is given to pgraft"
	)
	owned := map[string]string{
		"primary_conninfo":              follows,
		"primary_slot_name":             follows,
		"recovery_target_timeline":      "pgraft sets it: standbys follow the latest timeline",
		"promote_trigger_file":          promotes,
		"hot_standby":                   "pgraft needs it on: the agent and readers connect to standbys",
		"synchronous_standby_names":     `pgraft sets it, so that an acknowledged commit is on a majority: see synchronous in block postgres`,
		"default_transaction_read_only": "pgraft turns it on while the cluster has no quorum",
		"wal_log_hints":                 "pgraft needs it on, for pg_rewind",
		"restart_after_crash":           "pgraft needs it off: the agent decides when clients are let in again after a crash",
		"wal_receiver_status_interval":  inTime,
		"wal_retrieve_retry_interval":   inTime,
		"port":                          "set listen in block postgres",
		"listen_addresses":              "set listen in block postgres",
		"data_directory":                "set data_dir in block postgres",
		"config_file":                   layout,
		"hba_file":                      layout + "; its lines are hba in block postgres",
		"ident_file":                    layout,
		"external_pid_file":             layout,
	}
	for _, target := range []string{"", "_action", "_inclusive", "_lsn", "_name", "_time", "_xid"} {
		owned["recovery_target"+target] = noRestore
	}
	return owned
}

// leastParameters are numbers below which replication would not work.
var leastParameters = map[string]int{"max_wal_senders": 10, "max_replication_slots": 10}

// parameterName is what PostgreSQL's own parameters and those of extensions look like.
var parameterName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_$]{0,62})?$`)

// CheckParameter refuses a parameter that a managed PostgreSQL would not take from a configuration or a cluster-wide
// setting: one that pgraft sets itself, or one of the wrong form. Whether PostgreSQL knows it only PostgreSQL can say.
func CheckParameter(name, value string) error {
	if !parameterName.MatchString(name) {
		if parameterName.MatchString(strings.ToLower(name)) {
			return fmt.Errorf("%s: write the parameter's name in lower case: %s", name, strings.ToLower(name))
		}
		return fmt.Errorf("%q is no name of a PostgreSQL parameter: it has lower-case letters, digits and _, and one dot at most", shorten(name))
	}
	if reason, owned := ownedParameters()[name]; owned {
		return fmt.Errorf("%s can't be set: %s", name, reason)
	}
	if strings.ContainsAny(value, "\n\r\x00") || len(value) > maxParameterValue {
		return fmt.Errorf("%s: the value must be one line of at most %d bytes", name, maxParameterValue)
	}
	if name == "wal_level" && value != "replica" && value != "logical" {
		return fmt.Errorf("wal_level: standbys need replica or logical, not %q", shorten(value))
	}
	if least, ok := leastParameters[name]; ok {
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err != nil || n < least {
			return fmt.Errorf("%s: pgraft needs %d or more, not %q", name, least, shorten(value))
		}
	}
	return nil
}

// OwnedParameters returns the parameters that pgraft sets itself in a managed PostgreSQL, sorted.
func OwnedParameters() []string { return slices.Sorted(maps.Keys(ownedParameters())) }

// ClusterParameters picks PostgreSQL's parameters out of the cluster-wide settings. It leaves out what CheckParameter
// refuses: an older or newer agent may have let it pass.
func ClusterParameters(settings map[string]string) map[string]string {
	keys := newKeyTable().byPath
	params := map[string]string{}
	for setting, value := range settings {
		name, ok := strings.CutPrefix(setting, SettingPrefix)
		if _, key := keys[setting]; ok && !key && CheckParameter(name, value) == nil {
			params[name] = value
		}
	}
	return params
}
