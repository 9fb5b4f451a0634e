package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pollEvery is how often a change of a process or its lock file is looked for: it comes without a notice.
const pollEvery = 5 * time.Millisecond

// LockFile is what postmaster.pid says: that it is there does not mean that the postmaster is.
type LockFile struct {
	PID       int
	DataDir   string
	Port      int    // 0 until the server listens
	SocketDir string // the first one, "" for none
	Ready     bool   // the server takes connections
}

// Places of postmaster.pid's lines.
const (
	lockLinePID       = 0
	lockLineDataDir   = 1
	lockLinePort      = 3
	lockLineSocketDir = 4
	lockLineStatus    = 7
)

// ReadLockFile reads the postmaster.pid of a data directory.
func ReadLockFile(dataDir string) (LockFile, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return LockFile{}, fmt.Errorf("read lock file: %w", err)
	}
	return ParseLockFile(string(raw))
}

// ParseLockFile reads the text of a postmaster.pid, which may end early while the server is starting.
func ParseLockFile(text string) (LockFile, error) {
	lines := strings.Split(text, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[lockLinePID]))
	if err != nil || pid == 0 {
		return LockFile{}, fmt.Errorf("read lock file: %q is no process id", lines[lockLinePID])
	}
	line := func(n int) string {
		if n >= len(lines) {
			return ""
		}
		return strings.TrimSpace(lines[n])
	}
	lock := LockFile{
		PID:       max(pid, -pid), // a standalone backend's is negative
		DataDir:   line(lockLineDataDir),
		SocketDir: line(lockLineSocketDir),
	}
	lock.Port, _ = strconv.Atoi(line(lockLinePort)) // 0 where it is not there yet
	status := line(lockLineStatus)
	lock.Ready = status == "ready" || status == "standby"
	return lock, nil
}

// Alive reports whether pid is a process that still runs. One that has ended but is not reaped by its parent does not:
// kill(pid, 0), which PostgreSQL trusts, can't tell.
func Alive(pid int) bool {
	switch processState(pid) {
	case 'Z':
		return false
	case 0: // gone, or there is no /proc here
		err := syscall.Kill(pid, 0)
		return err == nil || errors.Is(err, syscall.EPERM)
	}
	// One that ends gives its files and its directory back before it is a zombie, and does nothing any more.
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return !errors.Is(err, fs.ErrNotExist)
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

// processesIn returns the living server processes whose working directory is dir: a postmaster and its children, and
// children that outlived their postmaster. A shell that someone left standing there is none.
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
		if err == nil && cwd == dir && runsServer(pid) && Alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// worksIn reports whether pid is a server process whose working directory is dir. Where that can't be seen it says yes:
// the careful answer before a lock is taken for stale.
func worksIn(pid int, dir string) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return true
	}
	dir, err = filepath.EvalSymlinks(dir)
	return err != nil || cwd == dir && runsServer(pid)
}

// runsServer reports whether pid's program is PostgreSQL's server, also one that an upgrade has deleted since. Where
// that can't be seen it says yes.
func runsServer(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return true
	}
	switch strings.TrimSuffix(filepath.Base(exe), " (deleted)") {
	case "postgres", "postmaster":
		return true
	}
	return false
}
