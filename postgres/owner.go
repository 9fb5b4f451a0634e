package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Owner is the operating system user that PostgreSQL's programs run as and that owns its files.
type Owner struct {
	Name     string
	UID, GID uint32
	cred     *syscall.Credential // nil: we are that user
}

// FindOwner returns the user name where this process is root, as which PostgreSQL refuses to run, else this process's
// own user, which is the only one that it can run programs as.
func FindOwner(name string) (Owner, error) {
	if os.Geteuid() != 0 {
		return ownUser(), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return Owner{}, fmt.Errorf("look up the user to run PostgreSQL as (root may not): %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return Owner{}, fmt.Errorf("read user id of %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return Owner{}, fmt.Errorf("read group id of %s: %w", name, err)
	}
	if uid == 0 {
		return Owner{}, fmt.Errorf("run PostgreSQL as %s: it refuses to run as root", name)
	}
	o := Owner{Name: name, UID: uint32(uid), GID: uint32(gid)}
	o.cred = &syscall.Credential{Uid: o.UID, Gid: o.GID, Groups: groups(u)}
	return o, nil
}

func ownUser() Owner {
	o := Owner{Name: strconv.Itoa(os.Geteuid()), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	if u, err := user.LookupId(o.Name); err == nil {
		o.Name = u.Username
	}
	return o
}

// groups returns a user's further groups: a TLS key is often readable by one of them only, ssl-cert on Debian.
func groups(u *user.User) []uint32 {
	ids, err := u.GroupIds()
	if err != nil {
		return nil // the main group is there in any case
	}
	var gids []uint32
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			gids = append(gids, uint32(gid))
		}
	}
	return gids
}

// Command returns a command that runs as the owner, in a session of its own (no signal of our terminal reaches it), in
// a directory which that user may enter, with messages in English and nothing of libpq's variables in its environment.
func (o Owner) Command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: o.cred}
	for _, v := range os.Environ() {
		if !isLibpqVariable(v) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "HOME="+dir)
	return cmd
}

// isLibpqVariable tells PGHOST, PGPORT, PGDATA and their like, but not PG_OOM_ADJUST_FILE, which is the server's.
func isLibpqVariable(v string) bool {
	return strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "PG_")
}

// Own gives a file or directory to the owner.
func (o Owner) Own(path string) error {
	if o.cred == nil {
		return nil
	}
	if err := os.Lchown(path, int(o.UID), int(o.GID)); err != nil {
		return fmt.Errorf("give file to PostgreSQL's user: %w", err)
	}
	return nil
}

// MakeDir makes dir and its parents where they are missing, as the owner's own.
func (o Owner) MakeDir(dir string, mode os.FileMode) error {
	if dir == "" {
		return nil
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := o.MakeDir(filepath.Dir(dir), mode); err != nil {
		return err
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create directory: %w", err)
	}
	return o.Own(dir)
}
