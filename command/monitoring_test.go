package command_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestMonitoringExport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	for range 2 { // the second time they are replaced
		if r := run(t, "", "monitoring", "export", "-out="+dir); r.code != 0 || strings.Count(r.stdout, dir) != 3 {
			t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
	}
	for name, want := range map[string]string{"scrape": "scrape_configs:", "rules": "alert: PgraftNoLeader", "dashboard": `"panels"`} {
		r := run(t, "", "monitoring", "export", name)
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: exit code %d, no %q: %s", name, r.code, want, r.stderr)
		}
		files, err := filepath.Glob(filepath.Join(dir, "pgraft-"+name+".*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: files %v, %v", name, files, err)
		}
		if content, err := os.ReadFile(files[0]); err != nil || string(content) != r.stdout {
			t.Errorf("%s is not what is printed (%v)", files[0], err)
		}
	}
}

func TestMonitoringExportMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "say which"},
		{[]string{"alerts"}, 2, `"alerts": want scrape, rules or dashboard`},
		{[]string{"rules", "-out=" + file}, 1, "not a directory"},
	} {
		r := run(t, "", append([]string{"monitoring", "export"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", c.args, r.code, r.stdout, r.stderr)
		}
	}
}

// TestAlertsNameVerbs asks for the help of each command that an alert sends its reader to.
func TestAlertsNameVerbs(t *testing.T) {
	_, rules, _ := strings.Cut(run(t, "", "monitoring", "export", "rules").stdout, "\ngroups:\n")
	commands := regexp.MustCompile("`pgraft ([a-z -]+[a-z])").FindAllStringSubmatch(rules, -1)
	if len(commands) < 25 {
		t.Fatalf("only %d commands", len(commands))
	}
	for _, c := range commands {
		var words []string
		for _, word := range strings.Fields(c[1]) {
			if strings.HasPrefix(word, "-") {
				break
			}
			words = append(words, word)
		}
		if r := run(t, "", append(words, "-h")...); r.code != 0 || !strings.HasPrefix(r.stdout, "Usage: pgraft "+strings.Join(words, " ")) {
			t.Errorf("there is no pgraft %v: %s", words, r.stderr)
		}
	}
}
