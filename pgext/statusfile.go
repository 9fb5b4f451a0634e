package pgext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgraft/pgraft/api"
)

const (
	statusName    = "status.json"
	localName     = "pgraft.local"
	statusVersion = 1
	// headSize is what the quick functions read of the file. The head line is padded to it, so that they never cut a
	// character of the status behind it in two.
	headSize = 512
)

// StatusPath returns the status file's place in an agent's run_dir, where the SQL functions look for it.
func StatusPath(runDir string) string { return filepath.Join(runDir, statusName) }

// StatusHead is the status file's first line: what the functions that are called most need, and until when the agent
// vouches for it. Times are microseconds since 1970.
type StatusHead struct {
	V            int             `json:"v"`
	WrittenUS    int64           `json:"written_us"`
	FreshUntilUS int64           `json:"fresh_until_us"` // past it nothing in the file is believed but history
	LeaseUntilUS int64           `json:"lease_until_us"` // past it is_leader is not
	IsLeader     bool            `json:"is_leader"`
	LeaderID     int             `json:"leader_id"`
	Term         uint64          `json:"term"`
	NodeID       int             `json:"node_id"`
	WorkerState  api.WorkerState `json:"worker_state"`
}

// StatusFile is the file through which the agent tells PostgreSQL's functions how things stand. One goroutine at a
// time may write it; readers need no lock.
type StatusFile struct {
	Path string
	Mode os.FileMode // default 0644: PostgreSQL's user must be able to read it
}

// StatusBody is what follows the head: a whole status, encoded.
type StatusBody []byte

// EncodeStatus encodes a status for the file.
func EncodeStatus(s api.Status) (StatusBody, error) {
	content, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	// PostgreSQL's jsonb takes no NUL character.
	return bytes.ReplaceAll(content, []byte(`\u0000`), []byte(`\ufffd`)), nil
}

// Write replaces the file. now is the moment that s is true of, fresh how long readers may take the agent for alive
// without hearing more. The leadership claim ends at s.LeaseUntil, whatever fresh is.
func (f StatusFile) Write(s api.Status, now time.Time, fresh time.Duration) error {
	body, err := EncodeStatus(s)
	if err != nil {
		return err
	}
	return f.WriteHead(s, body, now, fresh)
}

// WriteHead is Write with a body of a moment ago, for a head that must be renewed more often than the rest.
func (f StatusFile) WriteHead(s api.Status, body StatusBody, now time.Time, fresh time.Duration) error {
	content, err := encodeHead(s, now, fresh)
	if err != nil {
		return err
	}
	content = append(content, "\"status\":"...)
	content = append(content, body...)
	content = append(content, "}\n"...)
	mode := f.Mode
	if mode == 0 {
		mode = 0o644
	}
	tmp := f.Path + ".tmp"
	if err := writeFile(tmp, content, mode); err != nil {
		return fmt.Errorf("write status file: %w", err)
	}
	if err := os.Rename(tmp, f.Path); err != nil {
		return fmt.Errorf("replace status file: %w", err)
	}
	return nil
}

// writeFile is os.WriteFile with a mode that the umask does not narrow.
func writeFile(path string, content []byte, mode os.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Chmod(mode), file.Close())
}

// encodeHead returns the first line, padded to headSize.
func encodeHead(s api.Status, now time.Time, fresh time.Duration) ([]byte, error) {
	head := StatusHead{
		V: statusVersion, WrittenUS: now.UnixMicro(), FreshUntilUS: now.Add(fresh).UnixMicro(),
		IsLeader: s.IsLeader && !s.LeaseUntil.IsZero(), LeaderID: s.LeaderID, Term: s.Term, NodeID: s.NodeID,
		WorkerState: s.WorkerState,
	}
	if head.IsLeader {
		head.LeaseUntilUS = s.LeaseUntil.UnixMicro()
	}
	headJSON, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("encode status head: %w", err)
	}
	line := append([]byte(`{"head":`), headJSON...)
	line = append(line, ',')
	if len(line) >= headSize {
		return nil, fmt.Errorf("status head has %d bytes, more than %d", len(line), headSize-1)
	}
	line = append(line, bytes.Repeat([]byte{' '}, headSize-1-len(line))...)
	return append(line, '\n'), nil
}

// Remove takes the file away, so that readers know at once that the agent has stopped.
func (f StatusFile) Remove() error {
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove status file: %w", err)
	}
	return nil
}

// ReadStatus reads a status file as the SQL functions do, without judging its age.
func ReadStatus(path string) (StatusHead, api.Status, error) {
	var file struct {
		Head   StatusHead `json:"head"`
		Status api.Status `json:"status"`
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return file.Head, file.Status, fmt.Errorf("read status file: %w", err)
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return file.Head, file.Status, fmt.Errorf("decode status file: %w", err)
	}
	return file.Head, file.Status, nil
}

// Local is the place of the agent beside a PostgreSQL.
type Local struct {
	RunDir      string `json:"run_dir"`
	ConsolePort int    `json:"console_port"`
	NodeName    string `json:"node_name"`
}

// WriteLocal puts the agent's place into a file of PostgreSQL's data directory. It wins over table pgraft.local, whose
// row comes from the primary: on a standby that was cloned from another host the file is what is right.
func WriteLocal(dataDir string, l Local) error {
	content, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode %s: %w", localName, err)
	}
	path := filepath.Join(dataDir, localName)
	if err := replaceFile(path, append(content, '\n'), 0o600); err != nil {
		return err
	}
	return giveToOwnerOf(dataDir, path)
}

// giveToOwnerOf makes a file that of a directory's owner: pg_rewind, which runs as PostgreSQL's user, opens each file of
// the data directory to write it.
func giveToOwnerOf(dir, path string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("find the owner of the data directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("give %s to PostgreSQL's user: %w", path, err)
	}
	return nil
}
