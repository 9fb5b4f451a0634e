package managed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgraft/pgraft/postgres"
)

// passFile is the name of the file that has ReplicationRole's password, in libpq's form. It is beside the socket: a
// clone, a rewind and a wipe change all that is in the data directory, and the agent's own is closed to PostgreSQL.
const passFile = "passfile"

// passLine is the one line of it. It is for whatever primary: one that moves changes nothing but the conninfo, and only
// a conninfo that names the file has it read.
func passLine(secret string) string {
	return "*:*:*:" + ReplicationRole + ":" + strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(secret) + "\n"
}

// hidePassword takes the password out of a conninfo, which PostgreSQL logs when it changes and which programs have among
// their arguments, and puts it into the file that the conninfo names instead.
//
// Each libpq reads the file when it connects, so the file is written first: there never is a conninfo whose file lacks
// or has half a password. It is replaced in one step and never removed, so that this holds for a standby's process that
// still has the conninfo of before, too. Such a one may read a new password that its primary does not know; it has
// connected before, or tries again.
func (s *Server) hidePassword(conninfo string) (rest string, changed bool, err error) {
	rest, secret := postgres.TakePassword(conninfo)
	if secret == "" {
		return conninfo, false, nil
	}
	if strings.ContainsAny(secret, "\r\n") {
		return "", false, errors.New("write password file: it can't hold a password of several lines")
	}
	s.passLine = passLine(secret)
	changed, err = s.writePassFile()
	return rest + " passfile=" + postgres.QuoteConninfo(s.passFile()), changed, err
}

func (s *Server) passFile() string { return filepath.Join(s.cfg.SocketDir, passFile) }

// writePassFile is done again before each start: a machine forgets its run directories when it goes down.
func (s *Server) writePassFile() (changed bool, err error) {
	if s.passLine == "" {
		return false, nil // nobody was to be followed yet
	}
	if err := s.makeSocketDir(); err != nil {
		return false, fmt.Errorf("write password file: %w", err)
	}
	path := s.passFile()
	write := s.replace
	if info, err := os.Lstat(path); err == nil && info.Mode() != passMode {
		write = s.put // whatever it holds: libpq passes over one that others may read
	}
	changed, err = write(path, s.passLine, true)
	if err != nil {
		return false, fmt.Errorf("write password file: %w", err)
	}
	return changed, nil
}

// passMode is that of a regular file which only its owner may read.
const passMode fs.FileMode = 0o600

// prepareSource makes the files that pg_basebackup and pg_rewind reach another server with, and returns the conninfo to
// give them.
func (s *Server) prepareSource(conninfo string) (string, error) {
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	if _, err := s.copyTLS(); err != nil { // they may read only the copies, too
		return "", err
	}
	conninfo, _, err := s.hidePassword(conninfo)
	return conninfo, err
}
