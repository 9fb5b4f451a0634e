package controller

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/internal/durable"
	"github.com/pgraft/pgraft/postgres/wal"
)

// localFile is the record's name in the agent's data directory.
const localFile = "postgres.json"

// Local is what the node must remember about its PostgreSQL, whatever ends the agent. It is changed by replacing the
// file whole, before the change is relied on.
type Local struct {
	// Memory names the copy of the data that is here, or that the node is making.
	Memory string `json:"memory"`
	// Fingerprint tells whether the directory still is the one that Memory names, "" before there was data.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Mark is the name that the copy is being given, "" = none: see Controller.mark.
	Mark string `json:"mark,omitempty"`
	// Promised is the epoch below which no WAL is accepted any more. It only grows.
	Promised uint64 `json:"promised"`
	// Following is the epoch whose primary the data comes from. It is set before the first byte of it can arrive.
	Following uint64 `json:"following,omitempty"`
	// Timelines tells which epoch began each timeline of this copy.
	Timelines map[wal.Timeline]uint64 `json:"timelines,omitempty"`
	// Position was reached once, at the end of a WAL record. A copy that reaches less far is an older one.
	Position primacy.Position `json:"position"`
	// Seen is the furthest position that was seen, whole record or not: for people, when it is thrown away.
	Seen primacy.Position `json:"seen"`
	// Promoting is the epoch for which a promotion was begun here: a timeline that is not known otherwise is its.
	Promoting uint64 `json:"promoting,omitempty"`
	// Unconfirmed tells that this copy led when it went down: what it holds may never have been acknowledged.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
	// Spoiled says why this copy is not what the cluster took it for, "" = it is.
	Spoiled string `json:"spoiled,omitempty"`
	// Work was begun and not finished: the data can't be used until it is done again.
	Work *Work `json:"work,omitempty"`
}

// Work is something that leaves the data unusable when it is cut short.
type Work struct {
	Kind  WorkKind `json:"kind"`
	Epoch uint64   `json:"epoch"` // whose primary is the source
	// Copied tells that the files are complete. The server was not seen to be consistent since.
	Copied bool   `json:"copied,omitempty"`
	Why    string `json:"why,omitempty"`
}

// WorkKind is what kind of work it is.
type WorkKind string

// The kinds of work.
const (
	WorkInit   WorkKind = "initdb"
	WorkClone  WorkKind = "clone"
	WorkRewind WorkKind = "rewind"
)

// clone returns a copy that shares nothing with l.
func (l Local) clone() Local {
	l.Timelines = maps.Clone(l.Timelines)
	if l.Work != nil {
		work := *l.Work
		l.Work = &work
	}
	return l
}

// renew makes l the record of another copy of the data, of which nothing is known yet.
func (l *Local) renew() error {
	memory, err := newMemory()
	if err != nil {
		return err
	}
	*l = Local{Memory: memory, Promised: l.Promised}
	return nil
}

// newMemory returns a name that no copy had before. It is short, since it is part of each standby's application_name.
func newMemory() (string, error) {
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("name copy of data: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// LoadLocal reads the record from the agent's data directory, or begins one.
func LoadLocal(dir string) (Local, error) {
	l, err := ReadLocal(dir)
	if !errors.Is(err, os.ErrNotExist) {
		return l, err
	}
	if err := l.renew(); err != nil {
		return Local{}, err
	}
	return l, SaveLocal(dir, l)
}

// ReadLocal reads the record and changes nothing. Where there is none the error is an os.ErrNotExist.
func ReadLocal(dir string) (Local, error) {
	content, err := os.ReadFile(filepath.Join(dir, localFile))
	if err != nil {
		return Local{}, fmt.Errorf("read record of PostgreSQL's copy: %w", err)
	}
	return decodeLocal(content)
}

func decodeLocal(content []byte) (Local, error) {
	var l Local
	if err := json.Unmarshal(content, &l); err != nil {
		return Local{}, fmt.Errorf("decode %s (restore it, or let this node join as a new one with an empty data_dir): %w", localFile, err)
	}
	if l.Memory == "" {
		return Local{}, fmt.Errorf("decode %s: it names no memory (restore it, or let this node join as a new one with an empty data_dir)", localFile)
	}
	return l, nil
}

// SaveLocal replaces the record and returns when it is on disk.
func SaveLocal(dir string, l Local) error {
	content, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record of PostgreSQL's copy: %w", err)
	}
	return durable.WriteFile(filepath.Join(dir, localFile), append(content, '\n'))
}
