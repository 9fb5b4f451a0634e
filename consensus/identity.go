package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

const identityFile = "server-id"

// LoadServerID returns the server's id, which it makes at first use and keeps in the data directory for ever. A
// directory that has Raft's state but no id is refused: a server with a new id must not speak for an old one's log.
func LoadServerID(dataDir string) (raft.ServerID, error) {
	path := filepath.Join(dataDir, identityFile)
	content, err := os.ReadFile(path)
	switch {
	case err == nil:
		return parseServerID(path, content)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read server id: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dataDir, raftDir)); err == nil {
		return "", fmt.Errorf("%s is missing but %s is there: restore the file, or empty %s to rejoin as a new server",
			path, filepath.Join(dataDir, raftDir), dataDir)
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", fmt.Errorf("create data directory: %w", err)
	}
	id := uuid.NewString()
	if err := writeFileSync(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("write server id: %w", err)
	}
	return raft.ServerID(id), nil
}

func parseServerID(path string, content []byte) (raft.ServerID, error) {
	id, err := uuid.Parse(strings.TrimSpace(string(content)))
	if err != nil {
		return "", fmt.Errorf("%s does not hold a UUID: restore it from a copy of this data directory: %w", path, err)
	}
	return raft.ServerID(id.String()), nil
}

// writeFileSync replaces a file so that after a crash either the old or the new content is there.
func writeFileSync(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails, as it should, once renamed
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
