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

	"github.com/pgraft/pgraft/internal/durable"
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
	if err := durable.WriteFile(path, []byte(id+"\n")); err != nil {
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
