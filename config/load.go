package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LoadOptions says what a Config is made of. Later Paths win over earlier ones, Flags over all files.
type LoadOptions struct {
	Paths []string // files or directories, beside those that Flags names
	Flags *Flags   // may be nil
	Host  *Host    // nil: this machine
}

// maxFileSize bounds one file, for the lexer's sake.
const maxFileSize = 256 << 10

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
	order    map[string]int // of the files, for the order of problems
	keys     *keyTable
	broken   map[string]bool // keys whose value was refused: what follows from them is not reported
	syntax   bool            // a file could not be parsed, so what is missing is not known
	problems []Problem
	warnings []Problem
}

func newLoader(base *Config, sources map[string]Source) *loader {
	base.sources = maps.Clone(sources)
	return &loader{c: base, keys: newKeyTable(), broken: map[string]bool{}, order: map[string]int{}}
}

func (opt LoadOptions) open() ([]string, *loader) {
	base, paths := Default(), opt.Paths
	if opt.Flags != nil {
		if opt.Flags.Dev {
			base = DevDefaults()
		}
		paths = slices.Concat(paths, opt.Flags.Configs)
	}
	l := newLoader(base, map[string]Source{})
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
		l.sortProblems()
		return nil, l.warnings, &Error{Problems: l.problems}
	}
	return l.c, l.warnings, nil
}

// sortProblems orders by file and place, so that who mends them goes from top to bottom. What has no place in a file
// comes last.
func (l *loader) sortProblems() {
	place := func(p Problem) []int {
		if p.Source.File == "" {
			return []int{len(l.order)}
		}
		return []int{l.order[p.Source.File], p.Source.Line, p.Source.Column}
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return slices.Compare(place(a), place(b)) })
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
	l.order[name] = len(l.order)
	body, diags := parseFile(name, src)
	l.problems = append(l.problems, fromDiagnostics(diags)...)
	if diags.HasErrors() {
		l.syntax = true
		return
	}
	l.c.files = append(l.c.files, fromRange(body.MissingItemRange()))
	l.decodeBody(body)
}
