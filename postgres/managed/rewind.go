package managed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgraft/pgraft/internal/durable"
)

// rewindNote is the file in Config.StateDir that tells of a rewind that has not finished. pg_rewind would remove it
// from the data directory itself.
const rewindNote = "postgres-rewind"

// RewindResult tells what a Rewind without an error did.
type RewindResult string

// The results of Rewind.
const (
	RewindDone      RewindResult = "done"
	RewindNotNeeded RewindResult = "not needed" // the source's history goes through all that is here
)

// CannotRewind is returned by a Rewind that will never succeed with this data and this source.
type CannotRewind struct{ Reason string }

// Error returns PostgreSQL's reason.
func (e *CannotRewind) Error() string { return "pg_rewind can't: " + e.Reason }

// hopeless are pg_rewind's words for that.
var hopeless = []string{
	"could not find common ancestor",
	"could not find previous WAL record", // WAL from before the histories part is gone
	"could not read WAL record",
	"could not open file", // of that WAL
	"source and target clusters are from different systems",
	"clusters are not compatible with this version of pg_rewind",
	"target server needs to use either data checksums",
	"full_page_writes must be enabled",
	"source data directory must be shut down cleanly",
}

// Rewind takes the stopped server's data back to where its history parts from the source's, and puts the source's in
// the place of what came after. One that was not shut down is recovered first. The source must have written a
// checkpoint since its promotion: PostgreSQL before 16 otherwise finds nothing to do. Afterwards the data directory is
// made for a standby. The configuration files stay as they are here.
//
// An error other than *CannotRewind may pass. After either the directory may be unfinished: see Data.Partial.
func (s *Server) Rewind(ctx context.Context, conninfo string) (RewindResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Running() {
		return "", fmt.Errorf("rewind %s: %w", s.cfg.DataDir, ErrRunning)
	}
	if s.partial() {
		return "", fmt.Errorf("rewind %s: %w", s.cfg.DataDir, ErrPartial)
	}
	result, err := s.rewind(ctx, conninfo)
	if err != nil {
		return "", fmt.Errorf("rewind %s: %w", s.cfg.DataDir, err)
	}
	return result, nil
}

func (s *Server) rewind(ctx context.Context, conninfo string) (RewindResult, error) {
	// What a crash left must be gone, and no child of it may be at work.
	if err := s.pm.Kill(ctx, killGrace); err != nil {
		return "", err
	}
	if err := s.Standby(false); err != nil { // single-user recovery refuses a standby's
		return "", err
	}
	kept, err := s.keepConfig()
	if err != nil {
		return "", err
	}
	if conninfo, err = s.prepareSource(conninfo); err != nil {
		return "", err
	}
	if err := s.beginRewind(); err != nil {
		return "", err
	}
	s.forgetConfig()
	out, err := s.pgRewind(ctx, conninfo)
	touched := strings.Contains(out, "need to copy") || strings.Contains(out, "rewinding from last common checkpoint")
	if err != nil {
		if !touched {
			err = errors.Join(err, s.Standby(true), s.endRewind())
		}
		return "", err
	}
	return s.finishRewind(out, kept)
}

func (s *Server) pgRewind(ctx context.Context, conninfo string) (string, error) {
	args := []string{"-D", s.cfg.DataDir, "--source-server", conninfo, "-P", "--no-sync"}
	cmd := s.pm.Owner.Command(ctx, "/", filepath.Join(s.cfg.BinDir, "pg_rewind"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := runBound(cmd)
	if err == nil {
		return out.String(), nil
	}
	if ctx.Err() == nil {
		for _, words := range hopeless {
			if strings.Contains(out.String(), words) {
				return out.String(), &CannotRewind{Reason: errorLine(out.String())}
			}
		}
	}
	return out.String(), programError(ctx, "pg_rewind", err, out.Bytes())
}

func (s *Server) finishRewind(out string, kept map[string][]byte) (RewindResult, error) {
	for name, text := range kept {
		if _, err := s.replace(s.path(name), string(text), true); err != nil {
			return "", err
		}
	}
	if err := os.Remove(s.path(ownFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := s.Standby(true); err != nil {
		return "", err
	}
	if err := s.sync(s.cfg.DataDir); err != nil {
		return "", err
	}
	if err := s.endRewind(); err != nil {
		return "", err
	}
	if strings.Contains(out, "no rewind required") {
		return RewindNotNeeded, nil
	}
	return RewindDone, nil
}

// keepConfig reads the files that pg_rewind overwrites with the source's.
func (s *Server) keepConfig() (map[string][]byte, error) {
	kept := map[string][]byte{}
	for _, name := range []string{"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"} {
		raw, err := os.ReadFile(s.path(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("keep configuration: %w", err)
		}
		kept[name] = raw
	}
	return kept, nil
}

// notePath names the note, and what it says which directory is meant: one that was put in its place since is whole.
func (s *Server) note() (path, text string, err error) {
	id, err := fileIdentity(s.cfg.DataDir)
	return filepath.Join(s.cfg.StateDir, rewindNote), s.cfg.DataDir + "\n" + id + "\n", err
}

func (s *Server) rewinding() bool {
	path, text, err := s.note()
	if err != nil {
		return false // there is no data directory
	}
	raw, err := os.ReadFile(path)
	return err == nil && string(raw) == text
}

func (s *Server) beginRewind() error {
	path, text, err := s.note()
	if err != nil {
		return err
	}
	return durable.WriteFile(path, []byte(text))
}

func (s *Server) endRewind() error {
	path, _, err := s.note()
	if err != nil {
		return nil // there is no data directory
	}
	if err := os.Remove(path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	return durable.SyncDir(s.cfg.StateDir)
}
