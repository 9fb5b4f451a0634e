package controller

import (
	"fmt"

	"github.com/pgraft/pgraft/postgres/managed"
)

// mark gives the copy another name before each start of PostgreSQL. A backup that was made before has an older one, even
// if it is restored into the same directory and file by file, so that it is not taken for what the cluster counts on.
// What is restored from a backup made since is found by how far its WAL reaches. A copy that another tool made is not
// touched before it is pgraft's.
func (c *Controller) mark() error {
	if c.memo.local.Fingerprint == "" {
		return nil
	}
	word, err := newMemory()
	if err != nil {
		return err
	}
	// Until the name is changed for sure, both count.
	if err := c.amend(func(l *Local) { l.Mark = word }); err != nil {
		return err
	}
	if err := c.cfg.Postgres.Mark(word); err != nil {
		return fmt.Errorf("name the copy of the data: %w", err)
	}
	fingerprint, err := c.cfg.Postgres.Fingerprint()
	if err != nil {
		return err
	}
	return c.amend(func(l *Local) { l.Fingerprint, l.Mark = fingerprint, "" })
}

// is reports whether a fingerprint is this copy's.
func (l Local) is(fingerprint string) bool {
	return fingerprint == l.Fingerprint || l.Mark != "" && fingerprint == managed.Marked(l.Fingerprint, l.Mark)
}
