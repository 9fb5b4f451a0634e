//go:build !linux

package managed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func openPidfd(int) (*os.File, error) { return nil, errors.ErrUnsupported }

func waitExit(*os.File, chan struct{}) {}

func runBound(cmd *exec.Cmd) error {
	cancelGroup(cmd)
	return cmd.Run()
}

func syncFilesystem(string) error {
	syscall.Sync()
	return nil
}

func fileIdentity(path string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return "", fmt.Errorf("stat %s: %w", path, err)
	}
	return fmt.Sprintf("%x", st.Ino), nil
}
