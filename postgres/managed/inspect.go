package managed

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgraft/pgraft/postgres"
)

// Data is what a data directory tells without its server.
type Data struct {
	Empty bool // there is nothing, or no directory: it may be made by InitDB or Clone
	// Partial tells that InitDB, Clone, Rewind or Wipe did not finish. What is there is worth nothing then, nothing else
	// is told about it, and InitDB, Clone and Wipe put it away.
	Partial bool
	Major   int // of the data
	ControlData
	StandbySignal bool // the next start is one of a standby
}

// Inspect looks at the data directory. What a person has to change there is an error of type *Problem. While a server
// runs, its ControlData is as of the last checkpoint.
func (s *Server) Inspect(ctx context.Context) (Data, error) {
	if s.partial() {
		return Data{Partial: true}, nil
	}
	info, err := os.Stat(s.cfg.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return Data{Empty: true}, nil
	}
	if err != nil {
		return Data{}, fmt.Errorf("inspect data directory: %w", err)
	}
	if !info.IsDir() {
		return Data{}, &Problem{What: fmt.Sprintf("%s is no directory", s.cfg.DataDir), Hint: "correct postgres.data_dir"}
	}
	names, err := s.entries()
	if err != nil {
		return Data{}, fmt.Errorf("inspect data directory: %w", err)
	}
	if len(names) == 0 {
		return Data{Empty: true}, nil
	}
	major, err := s.checkData(info)
	if err != nil {
		return Data{}, err
	}
	control, err := s.controlData(ctx)
	if err != nil {
		return Data{}, err
	}
	_, err = os.Stat(s.path("standby.signal"))
	return Data{Major: major, ControlData: control, StandbySignal: err == nil}, nil
}

// entries returns what is in the data directory, without what a new file system brings along.
func (s *Server) entries() ([]string, error) {
	entries, err := os.ReadDir(s.cfg.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != "lost+found" {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// checkData looks for what PostgreSQL would refuse, and for what it can't know. It returns the data's major version.
func (s *Server) checkData(info fs.FileInfo) (int, error) {
	dir := s.cfg.DataDir
	raw, err := os.ReadFile(s.path("PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, &Problem{
			What: fmt.Sprintf("the directory %s is not empty and holds no PostgreSQL data", dir),
			Hint: "empty it or set postgres.data_dir to another one",
		}
	}
	if err != nil {
		return 0, fmt.Errorf("inspect data directory: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, &Problem{What: fmt.Sprintf("the data in %s is of version %q", dir, raw), Hint: "pgraft needs data of PostgreSQL 14 or later"}
	}
	if major != s.major {
		return 0, &Problem{
			What: fmt.Sprintf("the data in %s is of PostgreSQL %d and the programs in %s are PostgreSQL %d", dir, major, s.cfg.BinDir, s.major),
			Hint: fmt.Sprintf("set postgres.bin_dir to the programs of PostgreSQL %d, or bring the data to %d with pg_upgrade", major, s.major),
		}
	}
	return major, s.checkAccess(info)
}

func (s *Server) checkAccess(info fs.FileInfo) error {
	dir, owner := s.cfg.DataDir, s.pm.Owner
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != owner.UID {
		return &Problem{
			What: fmt.Sprintf("the data directory %s belongs to user %s, and PostgreSQL would run as %s", dir, userName(st.Uid), owner.Name),
			Hint: fmt.Sprintf("give it away with `chown -R %s %s`, or run the agent as its owner", owner.Name, dir),
		}
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 || mode&0o700 != 0o700 {
		return &Problem{
			What: fmt.Sprintf("the data directory %s has mode %04o", dir, mode),
			Hint: fmt.Sprintf("PostgreSQL wants 0700 or 0750: `chmod 0700 %s`", dir),
		}
	}
	return nil
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func (s *Server) controlData(ctx context.Context) (ControlData, error) {
	out, err := s.run(ctx, nil, "pg_controldata", "-D", s.cfg.DataDir)
	if err != nil {
		return ControlData{}, err
	}
	return parseControlData(out)
}

// Fingerprint names the copy of the data that is in the data directory. It changes when the directory was replaced by
// another, a backup of itself too, and stays while PostgreSQL works in it. It does not depend on the device's number,
// which a machine may change when it boots.
func (s *Server) Fingerprint() (string, error) {
	if s.partial() {
		return "", ErrPartial
	}
	dir, err := fileIdentity(s.cfg.DataDir)
	if err != nil {
		return "", fmt.Errorf("name data directory: %w", err)
	}
	version, err := fileIdentity(s.path("PG_VERSION"))
	if err != nil {
		return "", fmt.Errorf("name data directory: %w", err)
	}
	raw, err := os.ReadFile(s.path("global", "pg_control"))
	if err != nil {
		return "", fmt.Errorf("name data directory: %w", err)
	}
	const idSize = 8 // the system identifier is what the file begins with
	if len(raw) < idSize {
		return "", errors.New("name data directory: pg_control is cut short")
	}
	mark, err := os.ReadFile(s.path(markFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("name data directory: %w", err)
	}
	return Marked(fmt.Sprintf("%d/%s/%s", binary.NativeEndian.Uint64(raw), dir, version), string(mark)), nil
}

// markFile holds the part of the fingerprint that Mark makes.
const markFile = "pgraft.mark"

// Mark makes a word the last part of the fingerprint, durably. A copy that was made before does not have it.
func (s *Server) Mark(word string) error {
	if _, err := s.replace(s.path(markFile), word, true); err != nil {
		return fmt.Errorf("name data directory: %w", err)
	}
	return nil
}

// Marked is what a fingerprint becomes by Mark.
func Marked(fingerprint, word string) string {
	const parts = 3 // system identifier, directory, file
	fields := strings.SplitN(fingerprint, "/", parts+1)
	if word != "" {
		fields = append(fields[:min(parts, len(fields))], word)
	}
	return strings.Join(fields, "/")
}

// run runs one of PostgreSQL's programs as its user and returns its output; an error holds the last lines of what it
// complained about.
func (s *Server) run(ctx context.Context, env []string, program string, args ...string) (string, error) {
	cmd := s.pm.Owner.Command(ctx, "/", filepath.Join(s.cfg.BinDir, program), args...)
	cmd.Env = append(cmd.Env, env...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := runBound(cmd); err != nil {
		return "", programError(ctx, program, err, complaint.Bytes())
	}
	return out.String(), nil
}

// waitDelay is how long a program's children may keep its output open after it was killed.
const waitDelay = 5 * time.Second

// cancelGroup makes the end of a command's context end the programs that it runs, too: pg_rewind recovers with a
// postgres of its own. The command has a session of its own, as Owner.Command gives it.
func cancelGroup(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = waitDelay
}

func programError(ctx context.Context, program string, err error, complaint []byte) error {
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", program, ctx.Err())
	}
	return fmt.Errorf("run %s: %w: %s", program, err, postgres.LastLines(complaint, 5))
}
