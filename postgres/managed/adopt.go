package managed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// debianConfigs is where Debian and Ubuntu keep each server's configuration, as VERSION/NAME.
const debianConfigs = "/etc/postgresql"

// adoptConfig brings into the data directory what a server that was not pgraft's has elsewhere: all of its
// configuration, as Debian has it, or files that postgresql.conf names.
func (s *Server) adoptConfig(context.Context, conf) ([]string, error) {
	var changes []string
	if _, err := os.Stat(s.path("postgresql.conf")); errors.Is(err, os.ErrNotExist) {
		did, err := s.adoptElsewhere()
		if changes = did; err != nil {
			return changes, err
		}
	}
	did, err := s.adoptNamedFiles()
	return append(changes, did...), err
}

func (s *Server) adoptElsewhere() ([]string, error) {
	dir := s.configElsewhere()
	if dir == "" {
		return nil, nil // pgraft.conf is enough for PostgreSQL
	}
	var changes []string
	files := []string{"pg_hba.conf", "pg_ident.conf"}
	more, _ := filepath.Glob(filepath.Join(dir, "conf.d", "*.conf")) // its only error is a malformed pattern
	for _, file := range more {
		files = append(files, filepath.Join("conf.d", filepath.Base(file)))
	}
	if len(more) > 0 {
		if err := s.pm.Owner.MakeDir(s.path("conf.d"), 0o700); err != nil {
			return nil, err
		}
	}
	for _, file := range append(files, "postgresql.conf") { // the last one tells that it is done
		change, err := s.copyIn(filepath.Join(dir, file), s.path(file))
		if changes = append(changes, change...); err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// configElsewhere returns the directory whose postgresql.conf is about our data directory, "" if there is none.
func (s *Server) configElsewhere() string {
	paths, _ := filepath.Glob(filepath.Join(s.etc, "*", "*", "postgresql.conf")) // as above
	for _, path := range paths {
		if sameFile(confValues(path)["data_directory"], s.cfg.DataDir) {
			return filepath.Dir(path)
		}
	}
	return ""
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// copyIn copies a configuration file into the data directory. One that is not there is no error.
func (s *Server) copyIn(from, to string) ([]string, error) {
	raw, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	changed, err := s.replace(to, string(raw), true)
	if err != nil || !changed {
		return nil, err
	}
	return []string{fmt.Sprintf("%s: copied from %s, which counts no more", filepath.Base(to), from)}, nil
}

// adoptNamedFiles makes the data directory the place of the files that postgresql.conf names elsewhere, and takes out
// the lines that name them: a clone gets postgresql.conf, and they would lead it to another server's files.
func (s *Server) adoptNamedFiles() ([]string, error) {
	path := s.path("postgresql.conf")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	own := map[string]string{"hba_file": "pg_hba.conf", "ident_file": "pg_ident.conf", "data_directory": "", "external_pid_file": ""}
	text, dropped := withoutNames(string(raw), func(name string) bool { _, is := own[name]; return is }, true)
	var changes []string
	for _, line := range dropped {
		name, value, _ := parseConfLine(line)
		if to := own[name]; to != "" && !sameFile(value, s.path(to)) {
			change, err := s.copyIn(value, s.path(to))
			if changes = append(changes, change...); err != nil {
				return changes, err
			}
		}
		changes = append(changes, "postgresql.conf: removed "+line)
	}
	_, err = s.replace(path, text, true)
	return changes, err
}
