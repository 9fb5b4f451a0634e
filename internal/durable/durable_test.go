package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgraft/pgraft/internal/durable"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, want := range []string{"first", "second and longer", "3"} {
		if err := durable.WriteFile(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v, %v, want the file alone", entries, err)
	}
}

func TestWriteFileFails(t *testing.T) {
	if err := durable.WriteFile(filepath.Join(t.TempDir(), "missing", "file"), nil); err == nil {
		t.Error("no error for a directory that is not there")
	}
}
