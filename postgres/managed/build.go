package managed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/internal/durable"
	"github.com/pgraft/pgraft/postgres"
)

// A directory of one of these names in the data directory tells that it is unfinished. New data is made in newDir and
// moved up when it is whole, which works where the data directory is a mount point, too; oldDir is there while old data
// is being removed.
const (
	newDir = "pgraft.new"
	oldDir = "pgraft.old"
)

// partial reports whether something was begun and not finished.
func (s *Server) partial() bool {
	for _, name := range []string{newDir, oldDir} {
		if _, err := os.Lstat(s.path(name)); err == nil {
			return true
		}
	}
	return s.rewinding()
}

// InitOptions are how InitDB makes a cluster. The zero value is UTF8 with collation C.
type InitOptions struct {
	Locale string // of the operating system, default C
}

// InitDB makes a new cluster in an empty or unfinished data directory: UTF8, with data checksums, and a superuser that
// nobody can log in as but over the socket.
func (s *Server) InitDB(ctx context.Context, opt InitOptions) error {
	setDefault(&opt.Locale, "C")
	args := []string{"-U", s.cfg.Superuser, "-E", "UTF8", "--locale=" + opt.Locale, "-k", "--no-sync",
		"--auth-local=peer", "--auth-host=scram-sha-256"}
	err := s.build(ctx, func(dir string) error {
		_, err := s.run(ctx, nil, "initdb", append(args, "-D", dir)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("initialise %s: %w", s.cfg.DataDir, err)
	}
	return nil
}

// CloneSource is a server to clone from.
type CloneSource struct {
	Conninfo string // see Conninfo
	// Slot is a replication slot there that keeps the WAL from now on for this server, "" = none is used.
	Slot string
}

// Clone makes a copy of a running server's data in an empty or unfinished data directory. progress is called from
// another goroutine with bytes, about once a second, and total may grow. The copy is no standby yet: see Standby.
func (s *Server) Clone(ctx context.Context, source CloneSource, progress func(done, total int64)) error {
	conninfo, err := s.prepareSource(source.Conninfo)
	if err != nil {
		return fmt.Errorf("clone to %s: %w", s.cfg.DataDir, err)
	}
	args := []string{"-d", conninfo, "-w", "-X", "stream", "-c", "fast", "--no-sync", "-P", "--no-manifest"}
	if source.Slot != "" {
		args = append(args, "-S", source.Slot)
	}
	err = s.build(ctx, func(dir string) error {
		return s.baseBackup(ctx, progress, append(args, "-D", dir)...)
	})
	if err != nil {
		return fmt.Errorf("clone to %s: %w", s.cfg.DataDir, err)
	}
	return nil
}

func (s *Server) baseBackup(ctx context.Context, progress func(done, total int64), args ...string) error {
	cmd := s.pm.Owner.Command(ctx, "/", filepath.Join(s.cfg.BinDir, "pg_basebackup"), args...)
	w := &progressWriter{progress: progress}
	cmd.Stderr = w
	err := runBound(cmd)
	if err == nil {
		return nil
	}
	if problem := cloneProblem(w.complaint.String()); problem != nil && ctx.Err() == nil {
		return problem
	}
	return programError(ctx, "pg_basebackup", err, w.complaint.Bytes())
}

// cloneProblem finds in pg_basebackup's complaint what a person has to change.
func cloneProblem(complaint string) error {
	last := errorLine(complaint)
	switch {
	case strings.Contains(complaint, "incompatible server version"):
		return &Problem{What: last, Hint: "this server's programs must be of the cluster's major version: set postgres.bin_dir"}
	case strings.Contains(complaint, "exists but is not empty"):
		return &Problem{
			What: last,
			Hint: "it is the place of a tablespace of the primary's: empty it here, as a clone has its tablespaces in the same places",
		}
	case strings.Contains(complaint, "No space left on device"):
		return &Problem{What: last, Hint: "free space for a whole copy of the primary's data"}
	}
	return nil
}

// errorLine returns the line of a program's complaint that tells what went wrong.
func errorLine(complaint string) string {
	found := postgres.LastLines([]byte(complaint), 1)
	for line := range strings.Lines(complaint) {
		if strings.Contains(line, "error: ") || strings.Contains(line, "fatal: ") {
			found = strings.TrimSpace(line)
		}
	}
	return found
}

// progressWriter takes pg_basebackup's standard error apart into progress and complaints.
type progressWriter struct {
	progress  func(done, total int64)
	line      bytes.Buffer
	complaint bytes.Buffer
}

// maxComplaint bounds what is kept of a program's complaints.
const maxComplaint = 64 << 10

// Write implements io.Writer.
func (w *progressWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != '\n' && c != '\r' {
			w.line.WriteByte(c)
		}
		if c == '\n' || c == '\r' || w.line.Len() > maxComplaint {
			w.endLine()
		}
	}
	return len(p), nil
}

func (w *progressWriter) endLine() {
	line := w.line.String()
	w.line.Reset()
	if done, total, ok := parseProgress(line); ok {
		if w.progress != nil {
			w.progress(done, total)
		}
		return
	}
	if strings.TrimSpace(line) != "" && w.complaint.Len()+len(line) < maxComplaint {
		w.complaint.WriteString(line + "\n")
	}
}

var progressLine = regexp.MustCompile(`^\s*(\d+)/(\d+) kB \(\d+%\)`)

// parseProgress reads a line of `pg_basebackup -P` and returns bytes.
func parseProgress(line string) (done, total int64, ok bool) {
	m := progressLine.FindStringSubmatch(line)
	if m == nil {
		return 0, 0, false
	}
	const kB, bits = 1024, 53 // so that the product fits
	done, errDone := strconv.ParseInt(m[1], 10, bits)
	total, errTotal := strconv.ParseInt(m[2], 10, bits)
	return done * kB, total * kB, errDone == nil && errTotal == nil
}

// build has fill make data in a directory of PostgreSQL's user, and makes it the data directory's content.
func (s *Server) build(ctx context.Context, fill func(dir string) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.forgetConfig()
	dir := s.path(newDir)
	if err := s.pm.Owner.MakeDir(dir, 0o700); err != nil {
		return err
	}
	if err := fill(dir); err != nil {
		return err
	}
	if err := s.sync(dir); err != nil {
		return fmt.Errorf("sync new data: %w", err)
	}
	if err := s.checkMajor(dir); err != nil {
		return err
	}
	return s.moveUp(dir)
}

// prepare leaves an empty data directory of PostgreSQL's user, or returns why it can't be one.
func (s *Server) prepare(ctx context.Context) error {
	if s.Running() {
		return ErrRunning
	}
	if s.partial() {
		if err := s.wipe(ctx); err != nil {
			return err
		}
	}
	names, err := s.entries()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return &Problem{
			What: fmt.Sprintf("the directory %s is not empty", s.cfg.DataDir),
			Hint: "empty it or set postgres.data_dir to another one",
		}
	}
	if err := s.pm.Owner.MakeDir(s.cfg.DataDir, 0o700); err != nil {
		return err
	}
	if err := s.pm.Owner.Own(s.cfg.DataDir); err != nil {
		return err
	}
	return s.setMode()
}

func (s *Server) setMode() error {
	if err := os.Chmod(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("close data directory to others: %w", err)
	}
	return nil
}

func (s *Server) checkMajor(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return fmt.Errorf("read version of new data: %w", err)
	}
	if major, err := strconv.Atoi(strings.TrimSpace(string(raw))); err != nil || major != s.major {
		return OtherMajor(s.major, major)
	}
	return nil
}

// moveUp makes what is in dir the data directory's. When it is interrupted, dir is still there.
func (s *Server) moveUp(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("move new data to its place: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == ownFile {
			continue // the source's
		}
		if err := os.Rename(filepath.Join(dir, entry.Name()), s.path(entry.Name())); err != nil {
			return fmt.Errorf("move new data to its place: %w", err)
		}
	}
	err = s.syncDir()
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err == nil {
		err = s.syncDir()
	}
	if err != nil {
		return fmt.Errorf("finish new data: %w", err)
	}
	return nil
}

func (s *Server) syncDir() error {
	if s.cfg.NoSync {
		return nil
	}
	return durable.SyncDir(s.cfg.DataDir)
}

// sync makes the data in dir durable: all at once, which is faster than the file by file of PostgreSQL's programs.
func (s *Server) sync(dir string) error {
	if s.cfg.NoSync {
		return nil
	}
	err := syncFilesystem(dir)
	for _, place := range outside(dir) {
		err = errors.Join(err, syncFilesystem(place))
	}
	return err
}

// outside returns the directories that a data directory's symbolic links lead to: tablespaces, and WAL.
func outside(dir string) []string {
	links := []string{filepath.Join(dir, "pg_wal")}
	spaces, _ := filepath.Glob(filepath.Join(dir, "pg_tblspc", "*")) // its only error is a malformed pattern
	var places []string
	for _, link := range append(links, spaces...) {
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if place, err := filepath.EvalSymlinks(link); err == nil {
			places = append(places, place)
		}
	}
	return places
}
