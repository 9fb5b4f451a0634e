// Package wal has the words for places in PostgreSQL's write-ahead log. It owns no state and starts no goroutine.
package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in the write-ahead log, PostgreSQL's pg_lsn. 0 is no position.
type LSN uint64

// Timeline is PostgreSQL's timeline id. Two servers that were promoted without knowing of each other may give the same
// number to different histories, so that a Timeline alone identifies nothing: see primacy.Position.
type Timeline uint32

// String returns the form that PostgreSQL prints, "16/B374D848".
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// ParseLSN reads PostgreSQL's form.
func ParseLSN(text string) (LSN, error) {
	high, low, ok := strings.Cut(text, "/")
	if !ok {
		return 0, fmt.Errorf("read LSN %q: no slash", text)
	}
	h, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("read LSN %q: %w", text, err)
	}
	l, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("read LSN %q: %w", text, err)
	}
	return LSN(h<<32 | l), nil
}

// MarshalText implements encoding.TextMarshaler.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LSN) UnmarshalText(text []byte) error {
	parsed, err := ParseLSN(string(text))
	*l = parsed
	return err
}
