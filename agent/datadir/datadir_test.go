package datadir_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgraft/pgraft/agent/datadir"
)

func TestCluster(t *testing.T) {
	dir := t.TempDir()
	if c, err := datadir.ReadCluster(dir); err != nil || c.ID != "" {
		t.Fatalf("empty directory: %+v, %v", c, err)
	}
	prod := datadir.Cluster{ID: "id-1", Name: "prod"}
	for range 2 {
		if err := datadir.WriteCluster(dir, prod); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := datadir.ReadCluster(dir); err != nil || c != prod {
		t.Errorf("got %+v, %v, want %+v", c, err, prod)
	}
	var other *datadir.OtherClusterError
	if err := datadir.WriteCluster(dir, datadir.Cluster{ID: "id-2", Name: "prod"}); !errors.As(err, &other) {
		t.Errorf("another id: got %v, want OtherClusterError", err)
	}
	if err := datadir.Check(dir, "test"); !errors.As(err, &other) {
		t.Errorf("another name: got %v, want OtherClusterError", err)
	}
	if err := datadir.Check(dir, "prod"); err != nil {
		t.Errorf("own name: %v", err)
	}
}

func TestRetired(t *testing.T) {
	dir := t.TempDir()
	if _, found, err := datadir.ReadRetired(dir); found || err != nil {
		t.Fatalf("empty directory: %v, %v", found, err)
	}
	if err := datadir.WriteRetired(dir, datadir.Retired{ServerID: "s", Reason: "left"}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "raft", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r, found, err := datadir.ReadRetired(dir); !found || err != nil || r.Reason != "left" {
		t.Errorf("got %+v, %v, %v", r, found, err)
	}
	if err := datadir.Renew(dir, "raft"); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("after renewal %v is left", left)
	}
}

func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.ReadCluster(dir); err == nil {
		t.Error("a broken file is taken for an empty one")
	}
}
