package managed_test

import (
	"testing"
	"time"

	"github.com/pgraft/pgraft/postgres/managed"
)

func (tpl *template) testPromote(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 2)
	standby := c.standbys[0]
	lsn := c.awaitFlushed(t, 2)
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	begun, err := standby.Promote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("promoted in %s", time.Since(started))
	if begun.Timeline != 2 || begun.Parent != 1 || begun.LSN < lsn {
		t.Errorf("begun %+v, acknowledged %s", begun, lsn)
	}
	if again, err := standby.Promote(t.Context()); err != nil || again != begun {
		t.Errorf("promoted again: %+v, %v", again, err)
	}
	if l := standby.observe(t); l.InRecovery || l.Timeline != 2 || l.Flushed < begun.LSN {
		t.Errorf("the new primary says %+v", l)
	}
	// One that was never promoted is told as it is.
	if first, err := c.primary.Promote(t.Context()); err != nil || first != (managed.Switch{Timeline: 1}) {
		t.Errorf("the first primary: %+v, %v", first, err)
	}
}

// A promotion ends what stands in its way, as nothing else would within the time that a cluster has.
func (tpl *template) testPromoteHeldUp(t *testing.T) {
	t.Parallel()
	c := tpl.cluster(t, 1)
	standby := c.standbys[0]
	query := standby.conn(t)
	soon(t, "the table is replayed", func() (there bool) {
		if err := query.QueryRow(t.Context(), "SELECT to_regclass('t') IS NOT NULL").Scan(&there); err != nil {
			t.Fatal(err)
		}
		return there
	})
	standby.exec(t, "SELECT pg_wal_replay_pause()")
	if _, err := query.Exec(t.Context(), "BEGIN; SELECT count(*) FROM t"); err != nil {
		t.Fatal(err)
	}
	c.primary.exec(t, "TRUNCATE t")
	c.awaitFlushed(t, 1)
	if err := standby.CutOff(t.Context(), standby.settings); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if _, err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("promoted in %s", time.Since(started))
	var n int
	if err := standby.conn(t).QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows after the promotion, %v: the TRUNCATE that was received is not replayed", n, err)
	}
}
