package command

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

// Reference returns the reference page of the command line as Markdown, made from what the verbs say of themselves.
func Reference() string {
	w := &world{}
	all := map[string]*adapter{}
	for _, v := range verbs() {
		all[v.spec().name] = newAdapter(v, w)
	}
	var b strings.Builder
	b.WriteString(referenceIntro)
	writeCommonFlags(&b, all["status"])
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		for _, name := range verbsUnder(g.verbs, all) {
			writeVerb(&b, all[name])
		}
	}
	return b.String()
}

const referenceIntro = `---
title: Command line
description: Every verb of pgraft with its flags and examples.
---

<!-- Generated from the verbs in command/. Change it there, then: make docs -->

` + "`pgraft VERB -h`" + ` prints what this page says of a verb. Flags may stand before and behind arguments; ` + "`-x` and `--x`" + ` are the same,
and ` + "`--`" + ` ends them. ` + "`lock` and `watch`" + ` take their flags before the command that they run.

Results go to standard output, all else to standard error. ` + "`-format=json`" + ` prints the types of the [HTTP API](http-api.md).

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; the message says what to do next |
| 2 | wrong usage: nothing was asked of an agent |
| other | ` + "`lock` and `watch`" + ` pass on the code of the command that they ran |

## Connection

The verbs that ask an agent have these flags. Where a flag is not given, the environment variable counts.
`

// verbsUnder lists the verbs of a group of the overview, those below a word such as kv in order of their names.
func verbsUnder(words []string, all map[string]*adapter) []string {
	var names []string
	for _, word := range words {
		var found []string
		for name := range all {
			if name == word || strings.HasPrefix(name, word+" ") {
				found = append(found, name)
			}
		}
		slices.Sort(found)
		names = append(names, found...)
	}
	return names
}

func writeCommonFlags(b *strings.Builder, a *adapter) {
	_, common := a.splitFlags()
	writeFlagTable(b, common)
}

func writeVerb(b *strings.Builder, a *adapter) {
	s := a.spec()
	own, common := a.splitFlags()
	fmt.Fprintf(b, "\n### %s\n\n```\npgraft %s", s.name, s.name)
	if len(own)+len(common) > 0 {
		b.WriteString(" [flags]")
	}
	if s.args != "" {
		b.WriteString(" " + s.args)
	}
	fmt.Fprintf(b, "\n```\n\n%s.\n", plain(s.synopsis))
	writeParagraphs(b, s.help)
	if len(own) > 0 {
		writeFlagTable(b, own)
	}
	if len(common) > 0 {
		b.WriteString("\nAnd the flags of the [connection](#connection).\n")
	}
	fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.Join(s.examples, "\n"))
}

// writeParagraphs makes a paragraph of each line, and keeps indented ones as they are.
func writeParagraphs(b *strings.Builder, text string) {
	for line := range strings.Lines(text) {
		code := strings.HasPrefix(line, " ")
		switch line = strings.TrimSpace(line); {
		case code:
			fmt.Fprintf(b, "\n    %s\n", line)
		case line != "":
			fmt.Fprintf(b, "\n%s\n", plain(line))
		}
	}
}

func writeFlagTable(b *strings.Builder, flags []*flag.Flag) {
	b.WriteString("\n| flag | meaning |\n|---|---|\n")
	for _, f := range flags {
		placeholder, usage := flag.UnquoteUsage(f)
		head := "-" + f.Name
		if placeholder != "" {
			head += "=" + placeholder
		}
		if d := shownDefault(f); d != "" {
			usage += fmt.Sprintf(" (default %s)", d)
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", head, strings.ReplaceAll(plain(usage), "|", `\|`))
	}
}

// shownDefault is the default value of a flag where it says something.
func shownDefault(f *flag.Flag) string {
	switch f.DefValue {
	case "false", "0", "0s", "-1ns", "[]":
		return ""
	}
	return f.DefValue
}

// plain keeps Markdown from reading more into a text than code between backquotes.
func plain(text string) string {
	escape := strings.NewReplacer("*", `\*`, "<", "&lt;")
	parts := strings.Split(text, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = escape.Replace(parts[i])
	}
	return strings.Join(parts, "`")
}
