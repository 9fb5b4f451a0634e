package docs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/command"
	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/internal/docs"
)

const root = "../.."

func pages(t *testing.T) []docs.Page {
	t.Helper()
	pages, err := docs.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 10 {
		t.Fatalf("only %d pages", len(pages))
	}
	return pages
}

// pageNamed returns one page.
func pageNamed(t *testing.T, path string) docs.Page {
	t.Helper()
	all := pages(t)
	i := slices.IndexFunc(all, func(p docs.Page) bool { return p.Path == path })
	if i < 0 {
		t.Fatalf("no page %s", path)
	}
	return all[i]
}

func TestLinks(t *testing.T) {
	all := pages(t)
	anchors := map[string][]string{}
	for _, p := range all {
		anchors[p.Path] = p.Anchors()
	}
	checked := 0
	for _, p := range all {
		for _, link := range p.Links() {
			checked++
			if _, err := os.Stat(filepath.Join(root, link.File)); err != nil {
				t.Errorf("%s:%d: no file %s", p.Path, link.Line, link.File)
				continue
			}
			if link.Anchor != "" && !slices.Contains(anchors[link.File], link.Anchor) {
				t.Errorf("%s:%d: %s has no heading for #%s", p.Path, link.Line, link.File, link.Anchor)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links found", checked)
	}
}

// A site needs a title and a description of every page, and makes the title its first heading.
func TestFrontMatter(t *testing.T) {
	for _, p := range pages(t) {
		if !strings.HasPrefix(p.Path, "website/content/") {
			continue
		}
		text := ""
		for _, line := range p.Lines[:min(5, len(p.Lines))] {
			text += line.Text + "\n"
		}
		if !regexp.MustCompile(`^---\ntitle: .+\ndescription: .+\.\n---\n`).MatchString(text) {
			t.Errorf("%s begins with %q", p.Path, text)
		}
		for _, line := range p.Lines {
			if !line.Code && strings.HasPrefix(line.Text, "# ") {
				t.Errorf("%s:%d: the title is in the front matter", p.Path, line.Number)
			}
		}
	}
}

// help returns what a verb says of itself, "" where there is no such verb.
func help(verb string) string {
	var stdout, stderr bytes.Buffer
	if command.Run(append(strings.Fields(verb), "-h"), strings.NewReader(""), &stdout, &stderr) != 0 {
		return ""
	}
	return stdout.String()
}

var (
	// invocation is pgraft where a shell would run it.
	invocation = regexp.MustCompile(`(?:^|[\s(;|&/"])pgraft((?: +[^\s|;&>#)]+)+)`)
	verbWord   = regexp.MustCompile(`^[a-z][a-z-]*$`)
	flagWord   = regexp.MustCompile(`^--?([a-z][a-z-]*)`)
)

// TestVerbs runs -h of every verb that the pages use, and looks for every flag in it.
func TestVerbs(t *testing.T) {
	checked := 0
	for _, p := range pages(t) {
		for _, code := range p.Commands() {
			for _, m := range invocation.FindAllStringSubmatch(code.Text, -1) {
				checked++
				checkInvocation(t, p.Path, code.Line, strings.Fields(m[1]))
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d command lines found", checked)
	}
}

func checkInvocation(t *testing.T, path string, line int, words []string) {
	t.Helper()
	verb, text := "", ""
	for len(words) > 0 && verbWord.MatchString(words[0]) {
		longer := help(strings.TrimSpace(verb + " " + words[0]))
		if longer == "" {
			break
		}
		verb, text, words = strings.TrimSpace(verb+" "+words[0]), longer, words[1:]
	}
	if verb == "" {
		if len(words) > 0 && verbWord.MatchString(words[0]) {
			t.Errorf("%s:%d: pgraft has no verb %s", path, line, words[0])
		}
		return
	}
	if strings.Contains(text, "\nVerbs:\n") && len(words) > 0 && verbWord.MatchString(words[0]) {
		t.Errorf("%s:%d: pgraft %s has no verb %s", path, line, verb, words[0])
	}
	for i, word := range words {
		if (verb == "lock" || verb == "watch") && i > 1 {
			return // the flags of another program
		}
		m := flagWord.FindStringSubmatch(word)
		if m != nil && m[1] != "h" && !regexp.MustCompile(`\n  -`+m[1]+`[=\s]`).MatchString(text) {
			t.Errorf("%s:%d: pgraft %s has no flag -%s", path, line, verb, m[1])
		}
	}
}

var (
	apiCall = regexp.MustCompile(`^(GET|PUT|POST|DELETE|HEAD) (/[^\s"'` + "`" + `]*)`)
	curl    = regexp.MustCompile(`\bcurl\b.*?[\s"'](?:https?://)?(?:[\w.]+|\[[^\]]*\])(?::[0-9]+)?(/[^\s"']*)`)
	method  = regexp.MustCompile(`-X ?(\w+)`)
)

// TestRoutes compares every call of the HTTP API on the pages with the table of routes.
func TestRoutes(t *testing.T) {
	checked := 0
	for _, p := range pages(t) {
		for _, code := range p.Commands() {
			verb, target := "", ""
			if m := apiCall.FindStringSubmatch(code.Text); m != nil {
				verb, target = m[1], m[2]
			} else if m := curl.FindStringSubmatch(code.Text); m != nil {
				verb, target = "GET", m[1]
				if x := method.FindStringSubmatch(code.Text); x != nil {
					verb = x[1]
				}
			}
			if target == "" {
				continue
			}
			checked++
			if problem := checkCall(verb, target); problem != "" {
				t.Errorf("%s:%d: %s %s: %s", p.Path, code.Line, verb, target, problem)
			}
		}
	}
	if checked < 12 {
		t.Errorf("only %d calls found", checked)
	}
}

func checkCall(verb, target string) string {
	path, query, _ := strings.Cut(target, "?")
	var known []string
	found := false
	for _, rt := range httpapi.Reference() {
		pattern := regexp.QuoteMeta(rt.Path)
		pattern = regexp.MustCompile(`\\\{key\\\}`).ReplaceAllString(pattern, ".*")
		pattern = regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(pattern, "[^/]+")
		if rt.Method != verb || !regexp.MustCompile("^"+pattern+"$").MatchString(path) {
			continue
		}
		found = true
		for _, param := range rt.Params {
			known = append(known, param[0])
		}
	}
	if !found {
		return "no such route"
	}
	for _, pair := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' }) {
		name, _, _ := strings.Cut(pair, "=")
		if !slices.Contains(known, name) {
			return "no parameter " + name
		}
	}
	return ""
}

var (
	sqlName     = regexp.MustCompile(`\b(pgraft_[a-z_]*[a-z])(\(?)`)
	otherNames  = []string{"pgraft_admin", "pgraft_agent", "pgraft_drill", "pgraft_exporter", "pgraft_replication"} // roles, and a table
	metricTails = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// TestNames looks up every pgraft_… in the references of SQL and metrics, which are compared with the program.
func TestNames(t *testing.T) {
	known := slices.Clone(otherNames)
	sql, metrics := pageNamed(t, "website/content/docs/reference/sql.md"), pageNamed(t, "website/content/docs/reference/metrics.md")
	for _, line := range sql.Lines {
		if name, ok := strings.CutPrefix(line.Text, "### pgraft_"); ok {
			known = append(known, "pgraft_"+name)
		}
	}
	for _, line := range metrics.Lines {
		if cells := strings.Split(line.Text, "|"); len(cells) > 2 {
			known = append(known, sqlName.FindAllString(cells[1], -1)...)
		}
	}
	for _, p := range pages(t) {
		if p.Path == metrics.Path {
			continue
		}
		for _, line := range p.Lines {
			for _, m := range sqlName.FindAllStringSubmatch(line.Text, -1) {
				if !slices.Contains(known, m[1]) && !slices.Contains(known, metricTails.ReplaceAllString(m[1], "")) {
					t.Errorf("%s:%d: there is no %s", p.Path, line.Number, m[1])
				}
			}
		}
	}
}

// TestConfigurations loads the examples of the guides. Those of the reference are tested in config.
func TestConfigurations(t *testing.T) {
	page := pageNamed(t, "website/content/docs/getting-started.md")
	blocks := page.Blocks("hcl")
	if len(blocks) < 2 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	whole := strings.ReplaceAll(blocks[0].Text, "…", "cGdyYWZ0IHRlc3RzIG5lZWQgYSAzMiBieXRlIGtleS4=")
	cfg, warnings, err := config.LoadBytes("example.hcl", []byte(whole), config.LoadOptions{})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("line %d: %v, warnings %v", blocks[0].Line, err, warnings)
	}
	if cfg.BootstrapExpect != len(cfg.RetryJoin) || cfg.Postgres.DSN == "" {
		t.Errorf("%+v", cfg)
	}
	for _, block := range blocks[1:] {
		// The files that a part names are not here; that they are missing is all that may be wrong.
		_, _, err := config.LoadBytes("example.hcl", []byte(whole+block.Text), config.LoadOptions{})
		for _, problem := range strings.Split(errorText(err), "\n") {
			if problem != "" && !strings.Contains(problem, "no such file") {
				t.Errorf("line %d: %s", block.Line, problem)
			}
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestManagedGuide loads the guide's configuration, and gives its HAProxy example to haproxy where that is installed.
func TestManagedGuide(t *testing.T) {
	page := pageNamed(t, "website/content/docs/managed-postgresql.md")
	blocks := page.Blocks("hcl")
	if len(blocks) != 1 {
		t.Fatalf("%d blocks", len(blocks))
	}
	cfg, warnings, err := config.LoadBytes("example.hcl", []byte(blocks[0].Text), config.LoadOptions{})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("line %d: %v, warnings %v", blocks[0].Line, err, warnings)
	}
	if !cfg.Managed() || cfg.BootstrapExpect != len(cfg.RetryJoin) {
		t.Errorf("%+v", cfg)
	}
	proxy := page.Blocks("haproxy")
	if len(proxy) != 1 {
		t.Fatalf("%d blocks for HAProxy", len(proxy))
	}
	checks := regexp.MustCompile(`option httpchk OPTIONS (\S+)`).FindAllStringSubmatch(proxy[0].Text, -1)
	for _, check := range checks {
		if problem := checkCall("GET", check[1]); problem != "" {
			t.Errorf("%s: %s", check[1], problem)
		}
	}
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skipf("SKIPPED the check by haproxy: %v", err)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(proxy[0].Text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), haproxy, "-c", "-f", file).CombinedOutput(); err != nil || len(checks) != 2 {
		t.Errorf("%d checks, %v\n%s", len(checks), err, out)
	}
}

// TestOperationsConfigurations loads the parts of a configuration that the pages of operations show, each in the place
// of nothing else than the least that a node needs.
func TestOperationsConfigurations(t *testing.T) {
	const least = "node_name = \"pg1\"\nbootstrap_expect = 1\nadvertise_addr = \"10.0.0.11\"\npostgres {\n  mode = \"managed\"\n  data_dir = \"/srv/pg\"\n}\n"
	checked := 0
	for _, p := range pages(t) {
		if !strings.HasPrefix(p.Path, "website/content/docs/operations/") {
			continue
		}
		for _, block := range p.Blocks("hcl") {
			if regexp.MustCompile(`(?m)^(postgres|node_name)\b`).MatchString(block.Text) {
				continue // a file of its own, or one that needs its own surroundings: its page's test loads it
			}
			checked++
			_, warnings, err := config.LoadBytes("example.hcl", []byte(least+block.Text), config.LoadOptions{})
			if err != nil || len(warnings) > 0 {
				t.Errorf("%s:%d: %v, warnings %v", p.Path, block.Line, err, warnings)
			}
		}
	}
	if checked < 3 {
		t.Errorf("only %d blocks", checked)
	}
}
