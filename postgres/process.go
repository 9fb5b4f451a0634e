package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pollEvery is how often a change of a process or its lock file is looked for: it comes without a notice.
const pollEvery = 5 * time.Millisecond

// lockFile is what postmaster.pid says. Ready is its last line: the server takes connections.
type lockFile struct {
	PID   int
	Ready bool
}

// Places of postmaster.pid's lines.
const (
	lockLinePID    = 0
	lockLineStatus = 7
)

func readLockFile(dataDir string) (lockFile, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return lockFile{}, fmt.Errorf("read lock file: %w", err)
	}
	return parseLockFile(string(raw))
}

func parseLockFile(text string) (lockFile, error) {
	lines := strings.Split(text, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[lockLinePID]))
	if err != nil || pid == 0 {
		return lockFile{}, fmt.Errorf("read lock file: %q is no process id", lines[lockLinePID])
	}
	lock := lockFile{PID: max(pid, -pid)} // a standalone backend writes its pid negative
	if len(lines) > lockLineStatus {
		status := strings.TrimSpace(lines[lockLineStatus])
		lock.Ready = status == "ready" || status == "standby"
	}
	return lock, nil
}

// alive reports whether pid is a process that still runs. One that has ended but is not reaped by its parent does not:
// kill(pid, 0), which PostgreSQL trusts, can't tell.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	return processState(pid) != 'Z'
}

// processState returns the state letter of /proc/PID/stat, 0 where there is none.
func processState(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The command's name is in parentheses and may hold any byte: the state follows the last one.
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 || i+2 >= len(stat) {
		return 0
	}
	return stat[i+2]
}

// processesIn returns the living processes whose working directory is dir: a server's postmaster and its children, and
// children that outlived their postmaster.
func processesIn(dir string) []int {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil // a system without it: the postmaster's own pid is all there is to go by
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cwd, err := os.Readlink("/proc/" + entry.Name() + "/cwd")
		if err == nil && cwd == dir && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// worksIn reports whether pid's working directory is dir. Where that can't be seen it says yes: the careful answer
// before a lock is taken for stale.
func worksIn(pid int, dir string) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return true
	}
	dir, err = filepath.EvalSymlinks(dir)
	return err != nil || cwd == dir
}
