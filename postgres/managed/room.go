package managed

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/pgraft/pgraft/postgres"
)

// Room returns how many bytes PostgreSQL can still write, on the fullest of the file systems that it writes to.
func (s *Server) Room() (int64, error) {
	dir := s.cfg.DataDir
	least := int64(-1)
	for _, place := range postgres.Places(dir) {
		var st unix.Statfs_t
		err := unix.Statfs(place, &st)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return 0, fmt.Errorf("ask for room in %s: %w", place, err)
		default:
			room := int64(st.Bavail) * int64(st.Bsize)
			if least < 0 || room < least {
				least = room
			}
		}
	}
	if least < 0 {
		return 0, fmt.Errorf("ask for room in %s: %w", dir, fs.ErrNotExist)
	}
	return least, nil
}
