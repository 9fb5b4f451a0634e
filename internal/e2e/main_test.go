package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestMain links one binary for all tests, unless the environment names one.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(testcluster.EnvBinary) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "pgraft-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "pgraft")
	if err := testcluster.BuildAt(bin, true); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(testcluster.EnvBinary, bin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
