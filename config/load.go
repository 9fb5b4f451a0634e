package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
)

// LoadOptions says what a Config is made of. Later Paths win over earlier ones, Flags over all files.
type LoadOptions struct {
	Paths []string // files or directories, beside those that Flags names
	Flags *Flags   // may be nil
	Host  *Host    // nil: this machine
}

// Bounds of one file. The HCL parser calls itself for each level of nesting, so that a file of brackets could exhaust
// the stack, which no recover can catch.
const (
	maxFileSize = 1 << 20
	maxNesting  = 100
)

// Load reads, merges and checks. On success it returns the Config and its warnings; otherwise the error is an *Error
// that names all problems, and there is no Config.
func Load(opt LoadOptions) (*Config, []Problem, error) {
	files, l := opt.open()
	for _, path := range files {
		l.loadFile(path)
	}
	return l.finish(opt)
}

// LoadBytes is Load for one file that was already read; the end of its name, .hcl or .json, gives its syntax.
func LoadBytes(name string, src []byte, opt LoadOptions) (*Config, []Problem, error) {
	files, l := opt.open()
	for _, path := range files {
		l.loadFile(path)
	}
	l.loadSource(name, src)
	return l.finish(opt)
}

// loader gathers a Config and everything wrong with it.
type loader struct {
	c        *Config
	keys     *keyTable
	broken   map[string]bool // keys whose value was refused: what follows from them is not reported
	syntax   bool            // a file could not be parsed, so what is missing is not known
	problems []Problem
	warnings []Problem
}

func newLoader(base *Config) *loader {
	base.sources = map[string]Source{}
	return &loader{c: base, keys: newKeyTable(), broken: map[string]bool{}}
}

func (opt LoadOptions) open() ([]string, *loader) {
	base, paths := Default(), opt.Paths
	if opt.Flags != nil {
		if opt.Flags.Dev {
			base = DevDefaults()
		}
		paths = slices.Concat(paths, opt.Flags.Configs)
	}
	l := newLoader(base)
	var files []string
	for _, path := range paths {
		files = append(files, l.listFiles(path)...)
	}
	return files, l
}

func (l *loader) finish(opt LoadOptions) (*Config, []Problem, error) {
	if opt.Flags != nil {
		opt.Flags.apply(l)
	}
	if !l.syntax {
		l.derive(opt.Host.orMachine())
		l.validate()
	}
	if len(l.problems) > 0 {
		return nil, l.warnings, &Error{Problems: l.problems}
	}
	return l.c, l.warnings, nil
}

// listFiles returns what one -config means: the file, or the directory's *.hcl and *.json in lexical order.
func (l *loader) listFiles(path string) []string {
	info, err := os.Stat(path)
	if err != nil {
		l.unreadable(path, err)
		return nil
	}
	if !info.IsDir() {
		return []string{path}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		l.unreadable(path, err)
		return nil
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); (ext == ".hcl" || ext == ".json") && !strings.HasPrefix(name, ".") && !e.IsDir() {
			files = append(files, filepath.Join(path, name))
		}
	}
	if len(files) == 0 {
		l.warnings = append(l.warnings, Problem{Message: path + ": no *.hcl or *.json file in this directory"})
	}
	return files
}

func (l *loader) unreadable(path string, err error) {
	l.syntax = true
	if pe, ok := err.(*os.PathError); ok { //nolint:errorlint // os returns it bare, and only its inner text is wanted
		err = pe.Err
	}
	l.problems = append(l.problems, Problem{Message: fmt.Sprintf("%s: read config: %v", path, err)})
}

func (l *loader) loadFile(path string) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFileSize {
		err = fmt.Errorf("%d bytes is too long for a config file: split it, each may have %d", info.Size(), maxFileSize)
	}
	var src []byte
	if err == nil {
		src, err = os.ReadFile(path)
	}
	if err != nil {
		l.unreadable(path, err)
		return
	}
	l.loadSource(path, src)
}

func (l *loader) loadSource(name string, src []byte) {
	body, diags := parseFile(name, src)
	l.problems = append(l.problems, fromDiagnostics(diags)...)
	if diags.HasErrors() {
		l.syntax = true
		return
	}
	end := fromRange(body.MissingItemRange())
	l.c.files = append(l.c.files, end)
	l.decodeBody(body)
}

// parseFile parses by the name's ending, after a look at size and nesting.
func parseFile(name string, src []byte) (hcl.Body, hcl.Diagnostics) {
	start := hcl.Pos{Line: 1, Column: 1}
	refuse := func(pos hcl.Pos, summary, detail string) (hcl.Body, hcl.Diagnostics) {
		r := hcl.Range{Filename: name, Start: pos, End: pos}
		return nil, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &r}}
	}
	if len(src) > maxFileSize {
		return refuse(start, "File too long", fmt.Sprintf("It has %d bytes; split it, each may have %d", len(src), maxFileSize))
	}
	if pos, deep := tooDeep(src); deep {
		return refuse(pos, "Nested too deeply", fmt.Sprintf("No configuration needs more than %d levels of brackets and operators", maxNesting))
	}
	var file *hcl.File
	var diags hcl.Diagnostics
	switch filepath.Ext(name) {
	case ".hcl":
		file, diags = hclsyntax.ParseConfig(src, name, start)
	case ".json":
		file, diags = json.Parse(src, name)
	default:
		return refuse(start, "Unknown kind of file", `The name of a config file must end in .hcl or .json`)
	}
	if file == nil || diags.HasErrors() {
		return nil, diags
	}
	return file.Body, diags
}

// tooDeep reports where src first opens more brackets, or strings together more of the operators that the parser
// recurses on, than any configuration needs. It counts within strings and comments, too: what matters is that nothing
// gets past it.
func tooDeep(src []byte) (hcl.Pos, bool) {
	depth, run := 0, 0
	for i, b := range src {
		switch b {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth = max(0, depth-1)
		}
		if bytes.IndexByte([]byte("-!?:"), b) >= 0 {
			run++
		} else if b == '\n' {
			run = 0
		}
		if depth > maxNesting || run > maxNesting {
			line := 1 + bytes.Count(src[:i], []byte("\n"))
			return hcl.Pos{Line: line, Column: i - bytes.LastIndexByte(src[:i], '\n'), Byte: i}, true
		}
	}
	return hcl.Pos{}, false
}
