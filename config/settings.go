package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

// AutopilotSetting is the cluster-wide setting that holds autopilot's whole configuration as JSON; `pgraft operator
// autopilot set-config` writes it.
const AutopilotSetting = "autopilot"

// CheckSetting refuses a cluster-wide setting that the agents would not obey as it stands. managed tells that the
// cluster's PostgreSQL is managed, so that postgres.NAME is one of its parameters. A name that is no key is otherwise an
// application's own and passes: it is stored and replicated, and the agents do not look at it.
func CheckSetting(name, value string, managed bool) error {
	k, known := newKeyTable().byPath[name]
	switch {
	case name == AutopilotSetting:
		return checkAutopilotSetting(value)
	case !known && strings.HasPrefix(name, SettingPrefix):
		return checkParameterSetting(name, value, managed)
	case !known:
		return nil
	case !k.settable():
		return fmt.Errorf("%s can't be set for the whole cluster while it runs: set it in each node's files and restart its agent", name)
	}
	_, err := k.parse(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func checkParameterSetting(name, value string, managed bool) error {
	if !managed {
		return fmt.Errorf(`%s: this cluster's PostgreSQL servers are not managed by pgraft (mode = "external"): use ALTER SYSTEM on each server`, name)
	}
	if err := CheckParameter(strings.TrimPrefix(name, SettingPrefix), value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func checkAutopilotSetting(value string) error {
	var c api.AutopilotConfig
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		return fmt.Errorf("%s holds autopilot's configuration as JSON: use pgraft operator autopilot set-config: %w", AutopilotSetting, err)
	}
	for _, text := range []string{c.DeadServerThreshold, c.ServerStabilizationTime, c.LastContactThreshold} {
		if _, err := time.ParseDuration(text); text != "" && err != nil {
			return fmt.Errorf("%s: %q is not a duration: write for example 10s", AutopilotSetting, text)
		}
	}
	return nil
}

// settable tells whether a running agent can take the key's value up from one text.
func (k *Key) settable() bool {
	switch k.field(&Config{}).(type) {
	case *[]string, *map[string]string:
		return false
	}
	return k.Live
}

// WithSettings returns a copy of c in which cluster-wide settings stand in place of what the node's own files, flags
// and PostgreSQL say of the same keys. Settings that CheckSetting would refuse change nothing and are in the problems.
func (c *Config) WithSettings(settings map[string]string) (*Config, []Problem) {
	out := c.clone()
	out.sources = maps.Clone(c.sources)
	if out.sources == nil {
		out.sources = map[string]Source{}
	}
	keys := newKeyTable()
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		k, known := keys.byPath[name]
		if !known {
			continue
		}
		src := Source{Setting: name}
		if err := CheckSetting(name, settings[name], false); err != nil {
			problems = append(problems, Problem{Source: src, Path: name, Message: err.Error()})
			continue
		}
		value, err := k.parse(settings[name])
		if err != nil {
			problems = append(problems, Problem{Source: src, Path: name, Message: err.Error()})
			continue
		}
		k.set(out, value)
		out.sources[name] = src
	}
	return out, problems
}
