package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// debianBinDirs is where Debian and Ubuntu keep the server's programs, which they leave out of PATH.
const debianBinDirs = "/usr/lib/postgresql/*/bin"

// ErrNoBinaries is returned when no PostgreSQL server programs are found.
var ErrNoBinaries = errors.New("no PostgreSQL server programs found")

// FindBinDir returns the directory that holds the server's programs (postgres, initdb): configured if it is given, else
// what pg_config says, else a directory of PATH, else the newest of /usr/lib/postgresql/*/bin.
func FindBinDir(configured string) (string, error) {
	if configured != "" {
		if !holdsServer(configured) {
			return "", fmt.Errorf("look for postgres and initdb in bin_dir %q: %w: correct postgres.bin_dir or leave it empty",
				configured, ErrNoBinaries)
		}
		return configured, nil
	}
	for _, dir := range binDirCandidates() {
		if holdsServer(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: install the server package (postgresql-17 on Debian and Ubuntu, postgresql17-server on "+
		"Red Hat) or set postgres.bin_dir to the directory that holds initdb", ErrNoBinaries)
}

func binDirCandidates() []string {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	found, _ := filepath.Glob(debianBinDirs) // its only error is a malformed pattern
	return append(dirs, newestFirst(found)...)
}

// newestFirst sorts …/VERSION/bin by version as a number: 9.6 comes after 14, and 9 is older than 10.
func newestFirst(dirs []string) []string {
	version := func(dir string) float64 {
		v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(dir)), 64)
		return v
	}
	sort.SliceStable(dirs, func(i, j int) bool { return version(dirs[i]) > version(dirs[j]) })
	return dirs
}

func holdsServer(dir string) bool {
	for _, program := range []string{"postgres", "initdb"} {
		info, err := os.Stat(filepath.Join(dir, program))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}
