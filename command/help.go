package command

import (
	"flag"
	"fmt"
	"strings"
)

// connectionFlags are common to all verbs that ask an agent; the help shows them in a section of their own.
var connectionFlags = map[string]bool{
	"http-addr": true, "token": true, "ca-file": true, "cert-file": true, "key-file": true,
	"tls-server-name": true, "timeout": true,
}

const helpWidth = 100

// Help returns the whole help of the verb: usage, what it does, flags and examples.
func (a *adapter) Help() string {
	s := a.spec()
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: pgraft %s", s.name)
	own, common := a.splitFlags()
	if len(own)+len(common) > 0 {
		b.WriteString(" [flags]")
	}
	if s.args != "" {
		b.WriteString(" " + s.args)
	}
	fmt.Fprintf(&b, "\n\n%s.\n", s.synopsis)
	if s.help != "" {
		fmt.Fprintf(&b, "\n%s\n", wrap(s.help, helpWidth, ""))
	}
	writeExamples(&b, s.examples)
	writeFlags(&b, "Flags", own)
	writeFlags(&b, "Connection", common)
	return strings.TrimRight(b.String(), "\n")
}

func (a *adapter) splitFlags() (own, common []*flag.Flag) {
	a.set.VisitAll(func(f *flag.Flag) {
		if connectionFlags[f.Name] && a.set.Lookup("http-addr") != nil {
			common = append(common, f)
			return
		}
		own = append(own, f)
	})
	return own, common
}

func writeExamples(b *strings.Builder, examples []string) {
	switch len(examples) {
	case 0:
		return
	case 1:
		b.WriteString("\nExample:\n")
	default:
		b.WriteString("\nExamples:\n")
	}
	for _, e := range examples {
		fmt.Fprintf(b, "  %s\n", e)
	}
}

func writeFlags(b *strings.Builder, title string, flags []*flag.Flag) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, f := range flags {
		placeholder, usage := flag.UnquoteUsage(f)
		head := "  -" + f.Name
		if placeholder != "" {
			head += "=" + placeholder
		}
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "0s" && d != "[]" {
			usage += fmt.Sprintf(" (default %s)", d)
		}
		const indent = 26
		text := wrap(usage, helpWidth-indent, "")
		text = strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", indent))
		if len(head) > indent-2 {
			fmt.Fprintf(b, "%s\n%s%s\n", head, strings.Repeat(" ", indent), text)
			continue
		}
		fmt.Fprintf(b, "%-*s%s\n", indent, head, text)
	}
}

// wrap breaks each paragraph of text at width and puts indent before every line. Lines that start with a space are kept
// as they are.
func wrap(text string, width int, indent string) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, " ") || line == "" {
			out = append(out, strings.TrimRight(indent+line, " "))
			continue
		}
		out = append(out, wrapLine(line, width-len(indent), indent)...)
	}
	return strings.Join(out, "\n")
}

func wrapLine(line string, width int, indent string) []string {
	var out []string
	current := ""
	for word := range strings.FieldsSeq(line) {
		switch {
		case current == "":
			current = word
		case len([]rune(current))+1+len([]rune(word)) > width:
			out = append(out, indent+current)
			current = word
		default:
			current += " " + word
		}
	}
	return append(out, indent+current)
}
