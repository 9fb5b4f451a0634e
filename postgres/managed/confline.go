package managed

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// includeLine is the last line of postgresql.conf.
const includeLine = "include_if_exists = '" + ownFile + "'"

// parseConfLine reads a line of postgresql.conf as PostgreSQL does. ok is false for one that sets nothing.
func parseConfLine(line string) (name, value string, ok bool) {
	line = strings.TrimLeft(line, " \t\r\n\f\v")
	end := 0
	for end < len(line) && isNameByte(line[end], end == 0) {
		end++
	}
	name, rest := strings.ToLower(line[:end]), strings.TrimLeft(line[end:], " \t\r\f\v")
	if name == "" {
		return "", "", false
	}
	separated := len(rest) < len(line)-end
	if strings.HasPrefix(rest, "=") {
		rest, separated = strings.TrimLeft(rest[1:], " \t\r\f\v"), true
	}
	if strings.HasPrefix(rest, "'") {
		value, ok = unquote(rest[1:])
		return name, value, ok
	}
	if end := strings.IndexAny(rest, " \t\r\n\f\v#"); end >= 0 {
		rest = rest[:end]
	}
	return name, rest, rest != "" && separated
}

func isNameByte(c byte, first bool) bool {
	switch {
	case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c >= 0x80:
		return true
	case c == '.', c == '$', '0' <= c && c <= '9':
		return !first
	}
	return false
}

// unquote returns the value before the closing quote.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
			b.WriteByte('\'')
		case s[i] == '\'':
			return b.String(), true
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(unescape(s[i]))
		default:
			b.WriteByte(s[i])
		}
	}
	return "", false
}

func unescape(c byte) byte {
	if i := strings.IndexByte("bfnrt", c); i >= 0 {
		return "\b\f\n\r\t"[i]
	}
	return c
}

// confValues returns what a configuration file and those that it includes set, the last line for a name counting. What
// can't be read sets nothing: PostgreSQL will say so better.
func confValues(path string) map[string]string {
	values := map[string]string{}
	addConfValues(values, path, 0)
	delete(values, "include_if_exists")
	return values
}

// maxIncludes is how deep PostgreSQL follows files that include each other.
const maxIncludes = 10

func addConfValues(values map[string]string, path string, depth int) {
	raw, err := os.ReadFile(path)
	if err != nil || depth > maxIncludes {
		return
	}
	beside := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(path), name)
	}
	for line := range strings.Lines(string(raw)) {
		name, value, ok := parseConfLine(line)
		switch {
		case !ok || value == ownFile && strings.HasPrefix(name, "include"):
		case name == "include" || name == "include_if_exists":
			addConfValues(values, beside(value), depth+1)
		case name == "include_dir":
			files, _ := filepath.Glob(filepath.Join(beside(value), "*.conf")) // its only error is a malformed pattern
			for _, file := range files {
				addConfValues(values, file, depth+1)
			}
		default:
			values[name] = value
		}
	}
}

// withInclude returns the text of postgresql.conf with includeLine at its end and nowhere else.
func withInclude(text string) string {
	isInclude := func(line string) bool {
		name, value, ok := parseConfLine(line)
		return ok && name == "include_if_exists" && value == ownFile
	}
	lines := slices.DeleteFunc(strings.Split(text, "\n"), isInclude)
	text = strings.TrimRight(strings.Join(lines, "\n"), " \t\r\n")
	if text == "" {
		return includeLine + "\n"
	}
	return text + "\n\n" + includeLine + "\n"
}

// withoutNames returns the text of a configuration file without the lines that set the names for which drop says so,
// and those lines. With comment they stay as comments.
func withoutNames(text string, drop func(name string) bool, comment bool) (rest string, dropped []string) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		name, _, ok := parseConfLine(line)
		if !ok || !drop(name) {
			b.WriteString(line)
			continue
		}
		dropped = append(dropped, strings.TrimSpace(line))
		if comment {
			b.WriteString("# removed by pgraft: " + line)
		}
	}
	return b.String(), dropped
}
