package managed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Wipe removes all data: of the data directory, of its tablespaces and of its WAL. The directories themselves stay.
// When it is interrupted the data directory is unfinished.
func (s *Server) Wipe(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Running() {
		return fmt.Errorf("wipe %s: %w", s.cfg.DataDir, ErrRunning)
	}
	s.forgetConfig()
	if err := s.wipe(ctx); err != nil {
		return fmt.Errorf("wipe %s: %w", s.cfg.DataDir, err)
	}
	return nil
}

func (s *Server) wipe(ctx context.Context) error {
	names, err := s.entries()
	if err != nil || len(names) == 0 {
		return errors.Join(err, s.endRewind())
	}
	old := s.path(oldDir)
	if err := os.Mkdir(old, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := s.syncDir(); err != nil {
		return err
	}
	places := append(outside(s.cfg.DataDir), outside(s.path(newDir))...)
	for _, place := range append(places, outside(old)...) {
		if err := wipeOutside(place); err != nil {
			return err
		}
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if name == oldDir {
			continue
		}
		if err := os.RemoveAll(s.path(name)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	return errors.Join(s.syncDir(), s.endRewind())
}

// wipeOutside removes PostgreSQL's files from a directory that a symbolic link of the data directory led to: those of
// this cluster's versions in a tablespace, and WAL.
func wipeOutside(place string) error {
	entries, err := os.ReadDir(place)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !isWALFile(entry.Name()) && !strings.HasPrefix(entry.Name(), "PG_") {
			continue
		}
		if err := os.RemoveAll(filepath.Join(place, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// isWALFile tells what PostgreSQL puts into pg_wal.
func isWALFile(name string) bool {
	const timelineDigits = 8
	return name == "archive_status" || name == "summaries" || strings.HasPrefix(name, "xlogtemp.") ||
		len(name) > timelineDigits && strings.Trim(name[:timelineDigits], "0123456789ABCDEF") == ""
}
