package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Source says where a value came from. The zero Source is the default.
type Source struct {
	File    string // of an HCL or JSON file
	Line    int
	Column  int
	Flag    string // name of a command line flag, without the dash
	Conf    string // name of a setting in postgresql.conf
	Setting string // name of a cluster-wide setting
}

// String is how `pgraft info` shows a source: "default", "/etc/pgraft.d/a.hcl:3", "flag -data-dir",
// "postgresql.conf pgraft.batch_size".
func (s Source) String() string {
	switch {
	case s.File != "":
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	case s.Flag != "":
		return "flag -" + s.Flag
	case s.Conf != "":
		return "postgresql.conf " + s.Conf
	case s.Setting != "":
		return "setting " + s.Setting
	default:
		return "default"
	}
}

// place is how a problem names its source: with the column, so that an editor can jump there.
func (s Source) place() string {
	if s.File != "" {
		return fmt.Sprintf("%s:%d:%d", s.File, s.Line, s.Column)
	}
	return s.String()
}

func fromRange(r hcl.Range) Source {
	return Source{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

// Problem is one thing wrong with a configuration.
type Problem struct {
	Source  Source
	Path    string // of the key; empty where the problem is not one key's
	Message string // what is wrong, and what to write instead
}

// String is "FILE:LINE:COLUMN: KEY: MESSAGE".
func (p Problem) String() string {
	var b strings.Builder
	if p.Source != (Source{}) {
		b.WriteString(p.Source.place() + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error is a configuration that was refused, with all of its problems in the order of files, then keys.
type Error struct {
	Problems []Problem
}

// Error gives each problem a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// fromDiagnostics turns what the HCL library reports into problems. Its texts end in a full stop and may have several
// lines; a problem is one line.
func fromDiagnostics(diags hcl.Diagnostics) []Problem {
	problems := make([]Problem, 0, len(diags))
	for _, d := range diags {
		p := Problem{Message: d.Summary}
		if d.Detail != "" {
			p.Message += ": " + strings.Join(strings.Fields(d.Detail), " ")
		}
		p.Message = strings.TrimSuffix(p.Message, ".")
		if strings.HasPrefix(d.Summary, "Invalid single-argument block") {
			p.Message += ": write each argument on a line of its own"
		}
		if d.Subject != nil {
			p.Source = fromRange(*d.Subject)
		}
		problems = append(problems, p)
	}
	return problems
}
