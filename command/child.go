package command

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// childResult makes the end of a command that we ran our own: its exit code, or 128 and the signal that ended it, as a
// shell does.
func childResult(name string, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("run %s: %w", name, err)
	}
	code := exit.ExitCode()
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return &exitError{code: code}
}
