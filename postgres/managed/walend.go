package managed

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/pgraft/pgraft/postgres/wal"
)

// WALEnd tells how far the WAL of a timeline reaches behind a position in it, for people: it is read from the files of a
// server that does not run, and a damaged or missing one ends it too early. It is the position itself if there is no
// record behind it.
func (s *Server) WALEnd(ctx context.Context, timeline wal.Timeline, from wal.LSN) (wal.LSN, error) {
	cmd := s.pm.Owner.Command(ctx, "/", filepath.Join(s.cfg.BinDir, "pg_waldump"),
		"-p", s.path("pg_wal"), "-t", fmt.Sprint(timeline), "-s", from.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("find end of WAL: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("find end of WAL: %w", err)
	}
	end := endOfRecords(out, from)
	// It ends with an error wherever WAL ends.
	_ = cmd.Wait()
	return end, nil
}

// walRecord is pg_waldump's line about a record: its length with all that belongs to it, and where it begins.
var walRecord = regexp.MustCompile(`len \(rec/tot\): *\d+/ *(\d+), .*\blsn: ([0-9A-F]+/[0-9A-F]+),`)

// endOfRecords returns where the last record ends that pg_waldump shows, at least: the headers of pages within it are
// not in its length.
func endOfRecords(dump io.Reader, from wal.LSN) wal.LSN {
	const align = 8
	lines := bufio.NewReader(dump)
	for {
		line, err := lines.ReadString('\n')
		if m := walRecord.FindStringSubmatch(line); m != nil {
			at, lsnErr := wal.ParseLSN(m[2])
			length, lenErr := strconv.ParseUint(m[1], 10, 32)
			if lsnErr == nil && lenErr == nil {
				from = max(from, (at+wal.LSN(length)+align-1)/align*align)
			}
		}
		if err != nil {
			return from
		}
	}
}
