// Package datadir keeps two facts beside the Raft log that must outlive it: which cluster the directory belongs to, and
// whether its server was retired. Both are known to the replicated store as well, but only after this agent has joined
// with the others, and they decide whether it may.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pgraft/pgraft/internal/durable"
)

const (
	clusterFile = "cluster.json"
	retiredFile = "retired.json"
)

// Cluster names the cluster that a data directory belongs to.
type Cluster struct {
	ID   string `json:"cluster_id"`
	Name string `json:"cluster_name"`
}

// Retired tells why this directory's server is no member any more.
type Retired struct {
	ServerID string    `json:"server_id"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Create makes the directory, readable by its owner only, where it is missing.
func Create(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create data_dir: %w", err)
	}
	return nil
}

// ReadCluster returns the cluster that the directory belongs to; zero if it belongs to none yet.
func ReadCluster(dir string) (Cluster, error) {
	var c Cluster
	_, err := read(filepath.Join(dir, clusterFile), &c)
	return c, err
}

// WriteCluster records the directory's cluster. A directory never changes its cluster: another id is an error.
func WriteCluster(dir string, c Cluster) error {
	old, err := ReadCluster(dir)
	switch {
	case err != nil:
		return err
	case old == c:
		return nil
	case old.ID != "" && old.ID != c.ID:
		return &OtherClusterError{Dir: dir, Has: old, Want: c}
	}
	return write(filepath.Join(dir, clusterFile), c)
}

// Check refuses a directory of a cluster with another name.
func Check(dir, clusterName string) error {
	c, err := ReadCluster(dir)
	if err != nil {
		return err
	}
	if c.ID != "" && c.Name != clusterName {
		return &OtherClusterError{Dir: dir, Has: c, Want: Cluster{Name: clusterName}}
	}
	return nil
}

// ReadRetired returns the record of retirement, and false when the server was never retired.
func ReadRetired(dir string) (Retired, bool, error) {
	var r Retired
	found, err := read(filepath.Join(dir, retiredFile), &r)
	return r, found, err
}

// WriteRetired records that the server is no member any more.
func WriteRetired(dir string, r Retired) error {
	return write(filepath.Join(dir, retiredFile), r)
}

// Renew makes a retired directory fit for a new server: what the old one remembered goes, the keyring stays.
func Renew(dir string, forget ...string) error {
	for _, name := range append(forget, clusterFile, retiredFile) {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("forget the retired server: %w", err)
		}
	}
	return nil
}

// OtherClusterError tells that a data directory belongs to a cluster other than the one at hand.
type OtherClusterError struct {
	Dir       string
	Has, Want Cluster
}

func (e *OtherClusterError) Error() string {
	return fmt.Sprintf("data_dir %s belongs to cluster %q (id %s), not to %q (id %s): "+
		"set another data_dir, or the cluster_name that belongs to this one", e.Dir, e.Has.Name, e.Has.ID, e.Want.Name, orNone(e.Want.ID))
}

func orNone(id string) string {
	if id == "" {
		return "none yet"
	}
	return id
}

func read(path string, into any) (bool, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read data_dir: %w", err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}

func write(path string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	return durable.WriteFile(path, raw)
}
