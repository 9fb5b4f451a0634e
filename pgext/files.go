package pgext

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ExtensionName is the extension's name and that of the schema of its tables.
const ExtensionName = "pgraft"

const controlFile = ExtensionName + ".control"

//go:embed sql
var embedded embed.FS

// Files are the extension's control file and scripts.
type Files struct {
	fs fs.FS
}

// EmbeddedFiles returns the files of this build.
func EmbeddedFiles() Files {
	sub, err := fs.Sub(embedded, "sql")
	if err != nil { // the name is a constant
		return Files{embedded}
	}
	return Files{sub}
}

// NewFiles takes the control file and the scripts from the root of a file system.
func NewFiles(f fs.FS) Files { return Files{f} }

// Version returns the version that the control file installs by default.
func (f Files) Version() (string, error) {
	control, err := fs.ReadFile(f.fs, controlFile)
	if err != nil {
		return "", fmt.Errorf("read control file: %w", err)
	}
	for line := range strings.Lines(string(control)) {
		key, value, ok := strings.Cut(line, "=")
		if ok && strings.TrimSpace(key) == "default_version" {
			return strings.Trim(strings.TrimSpace(value), "'"), nil
		}
	}
	return "", errors.New("control file names no default_version")
}

// names returns the control file and all scripts, the control file last: whoever sees it finds its scripts there.
func (f Files) names() ([]string, error) {
	scripts, err := fs.Glob(f.fs, ExtensionName+"--*.sql")
	if err != nil {
		return nil, fmt.Errorf("list scripts: %w", err)
	}
	return append(scripts, controlFile), nil
}

// differing returns which of the files dir lacks or has with another content.
func (f Files) differing(dir string) ([]string, error) {
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		want, err := fs.ReadFile(f.fs, name)
		if err != nil {
			return nil, fmt.Errorf("read script: %w", err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			out = append(out, name)
		}
	}
	return out, nil
}

// write puts the named files into dir. Each is replaced as a whole, so that servers and agents which share the
// directory never see half of one.
func (f Files) write(dir string, names []string) error {
	for _, name := range names {
		content, err := fs.ReadFile(f.fs, name)
		if err != nil {
			return fmt.Errorf("read script: %w", err)
		}
		if err := replaceFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chain returns the scripts that lead from a version (empty: nothing is there) to another, and false if none do.
func (f Files) chain(from, to string) ([]string, bool) {
	if from == to {
		return nil, true
	}
	if from == "" {
		return f.firstInstall(to)
	}
	return f.upgrade(from, to)
}

func (f Files) firstInstall(to string) ([]string, bool) {
	names, err := f.names()
	if err != nil {
		return nil, false
	}
	var best []string
	for _, name := range names {
		base, ok := scriptVersions(name)
		if !ok || len(base) != 1 {
			continue
		}
		rest, ok := f.upgrade(base[0], to)
		if ok && (best == nil || len(rest)+1 < len(best)) {
			best = append([]string{name}, rest...)
		}
	}
	return best, best != nil
}

// upgrade searches the shortest way over the scripts pgraft--A--B.sql, breadth first.
func (f Files) upgrade(from, to string) ([]string, bool) {
	names, err := f.names()
	if err != nil {
		return nil, false
	}
	type step struct {
		version string
		scripts []string
	}
	seen := map[string]bool{from: true}
	for queue := []step{{version: from}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at.version == to {
			return at.scripts, true
		}
		for _, name := range names {
			v, ok := scriptVersions(name)
			if !ok || len(v) != 2 || v[0] != at.version || seen[v[1]] {
				continue
			}
			seen[v[1]] = true
			queue = append(queue, step{v[1], append(slices.Clone(at.scripts), name)})
		}
	}
	return nil, false
}

// scriptVersions takes pgraft--1.0.sql and pgraft--1.0--1.1.sql apart.
func scriptVersions(name string) ([]string, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(name, ".sql"), ExtensionName+"--")
	if !ok || !strings.HasSuffix(name, ".sql") {
		return nil, false
	}
	versions := strings.Split(rest, "--")
	return versions, len(versions) <= 2
}

// script returns a script ready to run outside the extension machinery: without psql's own commands and with the
// schema filled in, as CREATE EXTENSION does it.
func (f Files) script(name, schema string) (string, error) {
	content, err := fs.ReadFile(f.fs, name)
	if err != nil {
		return "", fmt.Errorf("read script: %w", err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, `\`) {
			b.WriteString(line)
		}
	}
	return strings.ReplaceAll(b.String(), "@extschema@", schema), nil
}

// functions returns the names of the functions that installing a version puts into the user's schema.
func (f Files) functions(version string) ([]string, error) {
	scripts, _ := f.chain("", version)
	var names []string
	for _, name := range scripts {
		content, err := fs.ReadFile(f.fs, name)
		if err != nil {
			return nil, fmt.Errorf("read script: %w", err)
		}
		for line := range strings.Lines(string(content)) {
			if rest, ok := strings.CutPrefix(line, "CREATE FUNCTION @extschema@."); ok {
				function, _, _ := strings.Cut(rest, "(")
				names = append(names, function)
			}
		}
	}
	return names, nil
}

// newer reports whether version a is later than b, number by number.
func newer(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := part(as, i), part(bs, i)
		if x != y {
			return x > y
		}
	}
	return false
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return -1
	}
	return n
}

// replaceFile writes beside path and renames, so that a reader finds the old content or the new one, whole. It does not
// sync: after a crash of the machine both kinds of file are written again.
func replaceFile(path string, content []byte, mode os.FileMode) (retErr error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return fmt.Errorf("create file beside %s: %w", path, err)
	}
	defer func() {
		if retErr != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(content); err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	if err := tmp.Chmod(mode); err != nil {
		return fmt.Errorf("set mode of %s: %w", tmp.Name(), err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("close %s: %w", tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}
