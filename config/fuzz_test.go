package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgraft/pgraft/config"
)

// FuzzLoadHCL looks for a file that makes the loader panic, or that is taken though what it says can't be shown.
func FuzzLoadHCL(f *testing.F) { fuzzLoad(f, "fuzz.hcl", config.ExampleHCL) }

// FuzzLoadJSON is FuzzLoadHCL for JSON.
func FuzzLoadJSON(f *testing.F) { fuzzLoad(f, "fuzz.json", config.ExampleJSON) }

func fuzzLoad(f *testing.F, name, example string) {
	f.Helper()
	f.Add([]byte(example))
	seeds, err := filepath.Glob("testdata/*/*" + filepath.Ext(name))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range seeds {
		src, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, _, err := config.LoadBytes(name, src, config.LoadOptions{Host: fixedHost()})
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		if err != nil && err.Error() == "" {
			t.Fatal("refused without a word")
		}
		if c != nil {
			c.Values()
			c.JoinAddrs()
			if live, restart := config.Diff(c, c); live != nil || restart != nil {
				t.Fatalf("differs from itself: %v %v", live, restart)
			}
		}
	})
}
