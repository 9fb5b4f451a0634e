package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Reference returns the reference page of the configuration as Markdown, made from the table of keys, the defaults and
// the flags.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceIntro)
	writeSection(&b, "", "The node", "What stands at the top of a file.")
	for _, block := range Blocks() {
		writeSection(&b, block.Name, "Block `"+block.Name+"`", block.Doc)
	}
	writeProfiles(&b)
	writeFlags(&b)
	writePGSettings(&b)
	b.WriteString(referenceReload)
	return b.String()
}

const referenceIntro = `---
title: Configuration
description: Every key of the agent's configuration, its default, and where it can be set.
---

<!-- Generated from the table of keys in config/. Change it there, then: go test ./config -run TestReferencePage -update -->

An agent takes its configuration from, each winning over what stands before it:

1. the defaults on this page,
2. the ` + "`pgraft.*`" + ` settings in postgresql.conf of the PostgreSQL beside it, see [below](#settings-in-postgresqlconf),
3. the files named with ` + "`-config`" + `, in the order given; of a directory its ` + "`*.hcl`" + ` and ` + "`*.json`" + ` in lexical order,
4. the flags of ` + "`pgraft agent`" + `.

Files merge key by key, inside blocks, too. A key that is set twice in one file is an error, as are unknown keys, wrong types and
values that contradict each other: the agent does not start, and names file, line and column of every problem that it finds.
` + "`pgraft validate`" + ` checks without starting anything, and ` + "`pgraft info`" + ` shows each value in force and where it came from.

HCL wants each argument on a line of its own. A duration is a string such as ` + "`\"250ms\"`, `\"5s\"`, `\"1m30s\"` or `\"24h\"`" + `. Relative paths
start at the directory that the agent was started in. A whole node:

` + "```hcl" + `
` + ExampleHCL + "```" + `

The same keys as JSON:

` + "```json" + `
` + ExampleJSON + "```" + `
`

// ExampleHCL and ExampleJSON are one complete node, for the reference page; a test loads them.
const (
	ExampleHCL = `node_name        = "pg1"
data_dir         = "/var/lib/pgraft"
cluster_name     = "prod"
advertise_addr   = "10.0.0.11"
bootstrap_expect = 3
retry_join       = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]

postgres {
  mode = "external"
  dsn  = "host=/var/run/postgresql user=pgraft"
}
`
	ExampleJSON = `{
  "node_name": "pg1",
  "data_dir": "/var/lib/pgraft",
  "cluster_name": "prod",
  "advertise_addr": "10.0.0.11",
  "bootstrap_expect": 3,
  "retry_join": ["10.0.0.11", "10.0.0.12", "10.0.0.13"],
  "postgres": { "mode": "external", "dsn": "host=/var/run/postgresql user=pgraft" }
}
`
)

const referenceReload = `
## Reload

` + "`pgraft reload`" + ` and SIGHUP read the files again. A configuration with problems is refused and changes nothing. Keys whose entry says "reload"
take effect at once; the answer and the log name the changed keys that wait for a restart of the agent. Certificates are read again whenever their files change.

The same keys, but for lists, can be set for the whole cluster, and win over each node's own: ` + "`pgraft settings set log_level debug`" + `.
` + "`pgraft settings unset log_level`" + ` gives each node its own back. ` + "`pgraft info`" + ` shows where a value is from.
`

func writeSection(b *strings.Builder, block, title, doc string) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```hcl\n%s```\n", title, doc, exampleOf(block))
	defaults := Default()
	for _, k := range Keys() {
		if k.block() != block {
			continue
		}
		fmt.Fprintf(b, "\n### %s\n\n%s\n\n", k.Path, k.Doc)
		fmt.Fprintf(b, "%s · default: %s · %s\n", k.typeText(), k.defaultText(defaults), changeText(k.Live))
	}
}

func exampleOf(block string) string {
	var b strings.Builder
	width := 0
	for _, k := range Keys() {
		if k.block() == block && k.Path != parametersBlock {
			width = max(width, len(k.name()))
		}
	}
	indent := ""
	if block != "" {
		fmt.Fprintf(&b, "%s {\n", block)
		indent = "  "
	}
	for _, k := range Keys() {
		switch {
		case k.block() != block:
		case k.Path == parametersBlock:
			fmt.Fprintf(&b, "%s%s %s\n", indent, k.name(), k.Example)
		default:
			fmt.Fprintf(&b, "%s%-*s = %s\n", indent, width, k.name(), k.Example)
		}
	}
	if block != "" {
		b.WriteString("}\n")
	}
	return b.String()
}

func (k *Key) typeText() string {
	if k.Values != nil {
		return "one of `" + strings.Join(k.Values, "`, `") + "`"
	}
	low, high := strconv.FormatInt(k.Min, 10), strconv.FormatInt(k.Max, 10)
	switch k.field(&Config{}).(type) {
	case *time.Duration:
		low, high = formatDuration(time.Duration(k.Min)), formatDuration(time.Duration(k.Max))
	case *int, *uint64:
	default:
		return k.Type()
	}
	if k.Max == 0 {
		return fmt.Sprintf("%s ≥ %s", k.Type(), low)
	}
	return fmt.Sprintf("%s from %s to %s", k.Type(), low, high)
}

func (k *Key) defaultText(defaults *Config) string {
	text := k.text(defaults)
	switch {
	case k.Default != "":
		return k.Default
	case text == "":
		return "none"
	default:
		return "`" + text + "`"
	}
}

func changeText(live bool) string {
	if live {
		return "changed by a reload"
	}
	return "changed by a restart"
}

func writeProfiles(b *strings.Builder) {
	b.WriteString("\n## Profiles\n\nThe Raft timers of `gossip.profile`:\n\n" +
		"| profile | round trip | heartbeat_timeout | election_timeout | leader_lease_timeout |\n|---|---|---|---|---|\n")
	for _, p := range [][2]string{{ProfileLAN, "under 10 ms"}, {ProfileWAN, "10 to 50 ms"}, {ProfileLocal, "over 50 ms"}} {
		t, _ := ProfileTimers(p[0])
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", p[0], p[1], t.Heartbeat, t.Election, t.Lease)
	}
}

func writeFlags(b *strings.Builder) {
	b.WriteString("\n## Flags of `pgraft agent`\n\n| flag | key |\n|---|---|\n")
	b.WriteString("| `-config=FILE_OR_DIR` | repeatable, later ones win |\n")
	b.WriteString("| `-dev` | one throwaway node on the loopback address, `bootstrap_expect = 1`; its directories go with it; it may do without PostgreSQL |\n")
	b.WriteString("| `-join=HOST[:PORT]` | repeatable: joined at start, beside `retry_join` |\n")
	for _, fk := range flagKeys() {
		fmt.Fprintf(b, "| `-%s` | `%s` |\n", fk.name, fk.path)
	}
}

func writePGSettings(b *strings.Builder) {
	b.WriteString("\n## Settings in postgresql.conf\n\nThe agent reads these once it has reached its PostgreSQL, as defaults for keys that neither a file nor a flag sets. " +
		"A time without a unit is in milliseconds, as in PostgreSQL; `us`, `ms`, `s`, `min`, `h` and `d` are understood.\n\n| setting | sets |\n|---|---|\n")
	for _, s := range pgSettings() {
		fmt.Fprintf(b, "| `%s` | %s |\n", s.name, s.doc)
	}
}
