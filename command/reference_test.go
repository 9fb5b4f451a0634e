package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReferencePage holds the documentation's page of verbs to what the verbs say of themselves.
func TestReferencePage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Command line\n\nWhat `pgraft VERB -h` prints, for every verb. Generated: `make docs`.\n\n" +
		"Exit codes: 0 done, 1 failed, 2 wrong usage; `lock` and `watch` pass on the code of the command that they ran. " +
		"`-format=json` prints the types of the HTTP API. `-x` and `--x` are the same; flags may stand before and behind " +
		"arguments; `--` ends them.\n")
	verbs := slices.Clone(allVerbs)
	slices.Sort(verbs)
	for _, verb := range verbs {
		r := run(t, "", append(strings.Fields(verb), "-h")...)
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s```\n", verb, r.stdout)
	}
	path := filepath.Join("..", "website", "content", "docs", "reference", "cli.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if string(page) != b.String() {
		t.Errorf("%s is not what the verbs say: run make docs", path)
	}
}
