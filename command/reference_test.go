package command_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/command"
)

const docsDir = "../website/content/docs"

// TestReferencePage holds the documentation's page of verbs to what the verbs say of themselves.
func TestReferencePage(t *testing.T) {
	path := filepath.Join(docsDir, "reference", "cli.md")
	want := command.Reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if string(page) != want {
		t.Errorf("%s is not what the verbs say: run make docs", path)
	}
}

// Every verb stands on the page once, each with its usage and an example.
func TestReferenceIsComplete(t *testing.T) {
	var have []string
	for section := range strings.SplitSeq(command.Reference(), "\n### ") {
		name, text, ok := strings.Cut(section, "\n")
		if !ok || !strings.Contains(text, "pgraft "+name) {
			continue
		}
		have = append(have, name)
		if _, examples, _ := strings.Cut(text, "```sh\n"); !strings.Contains(examples, "pgraft "+name) {
			t.Errorf("%s has no example", name)
		}
	}
	want := slices.Clone(allVerbs)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the page has %v\nwant %v", have, want)
	}
}
