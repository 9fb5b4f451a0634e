package managed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// openPidfd returns a file that Go's poller can wait for: no thread is held while it does.
func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open pidfd of %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// waitExit closes exited when the pidfd's process has ended, reaped or not. It returns when file is closed, too.
func waitExit(file *os.File, exited chan struct{}) {
	raw, err := file.SyscallConn()
	if err != nil {
		return // it is closed
	}
	ended := false
	_ = raw.Read(func(fd uintptr) bool { // fails when file is closed
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(fds, 0)
		}
		ended = n > 0
		return n != 0
	})
	if ended {
		close(exited)
	}
}

// runBound runs a command that the system kills when this process dies: an orphan would go on writing into a directory
// that our successor works on.
func runBound(cmd *exec.Cmd) error {
	cancelGroup(cmd)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// The signal comes when the thread that started the command ends, so that thread must not end before.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// syncFilesystem makes everything written to the file system of path durable.
func syncFilesystem(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return unix.Syncfs(int(f.Fd()))
}

// fileIdentity tells a file or directory from every other one, also from one that has its inode number later.
func fileIdentity(path string) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return "", fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		return fmt.Sprintf("%x", st.Ino), nil
	}
	return fmt.Sprintf("%x-%x.%x", st.Ino, st.Btime.Sec, st.Btime.Nsec), nil
}
