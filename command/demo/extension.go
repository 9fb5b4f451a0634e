package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pgraft/pgraft/pgext"
	"github.com/pgraft/pgraft/postgres"
)

// extensionFiles are what the agents put into PostgreSQL's own directory where they may, for CREATE EXTENSION. A demo
// takes them away again if they were not there before it, and keeps those that an installation brought. Another demo
// that starts at this moment writes them again by itself.
type extensionFiles struct {
	dir string // "" where they are to stay
}

// newExtensionFiles looks what is there before the agents start.
func newExtensionFiles() extensionFiles {
	bin, err := postgres.FindBinDir("")
	if err != nil {
		return extensionFiles{}
	}
	share, err := exec.Command(filepath.Join(bin, "pg_config"), "--sharedir").Output()
	if err != nil {
		return extensionFiles{}
	}
	dir := filepath.Join(strings.TrimSpace(string(share)), "extension")
	if _, err := os.Stat(filepath.Join(dir, "pgraft.control")); err == nil {
		return extensionFiles{}
	}
	return extensionFiles{dir: dir}
}

func (e extensionFiles) remove() error {
	if e.dir == "" {
		return nil
	}
	return pgext.EmbeddedFiles().RemoveFiles(e.dir)
}
