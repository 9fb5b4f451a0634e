package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// DevServer is the throwaway PostgreSQL of `pgraft agent -dev`.
type DevServer struct {
	node      *node
	dir       string
	extension extensionFiles
}

// StartDevServer starts a PostgreSQL in a temporary directory of its own.
func StartDevServer(ctx context.Context, port int) (*DevServer, error) {
	dir, err := os.MkdirTemp("", "pgraft-dev-postgres-")
	if err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	n := &node{name: "dev", basePort: port - portPostgres, dir: dir, serverDir: dir, superuser: "postgres", external: true}
	s := &DevServer{node: n, dir: dir, extension: newExtensionFiles()}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(serverError(err), s.Close())
	}
	return s, nil
}

func (s *DevServer) start(ctx context.Context) error {
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return fmt.Errorf("open directory to PostgreSQL's user: %w", err)
	}
	if err := checkReach(s.dir); err != nil {
		return err
	}
	if err := s.node.newServer(); err != nil {
		return err
	}
	return s.node.startServer(ctx)
}

// DSN is how to reach it.
func (s *DevServer) DSN() string { return s.node.conninfo() }

// Dir is where it keeps its data and its log.
func (s *DevServer) Dir() string { return filepath.Dir(s.node.pgData()) }

// Close stops it and removes its data.
func (s *DevServer) Close() error {
	var err error
	if s.node.server != nil {
		err = s.node.stopServer()
	}
	return errors.Join(err, s.extension.remove(), os.RemoveAll(s.dir))
}
