package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/config"
)

// TestProblems loads each directory of testdata, with the flags in its file flags, and compares what is reported.
func TestProblems(t *testing.T) {
	cases, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range cases {
		if entry.Name() == "fuzz" {
			continue
		}
		t.Run(entry.Name(), func(t *testing.T) {
			dir := filepath.Join("testdata", entry.Name())
			args, err := os.ReadFile(filepath.Join(dir, "flags"))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			flags := parseFlags(t, strings.Split(strings.TrimRight(string(args), "\n"), "\n")...)
			_, warnings, err := config.Load(config.LoadOptions{Paths: []string{dir}, Flags: flags, Host: fixedHost()})
			golden(t, filepath.Join(dir, "want"), report(warnings, err))
		})
	}
}

func report(warnings []config.Problem, err error) string {
	var b strings.Builder
	if err != nil {
		b.WriteString(err.Error() + "\n")
	}
	for _, w := range warnings {
		b.WriteString("warning: " + w.String() + "\n")
	}
	if b.Len() == 0 {
		return "no problems\n"
	}
	return b.String()
}
