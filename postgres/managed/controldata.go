package managed

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/postgres/wal"
)

// ControlData is what pg_controldata tells of a data directory: what was true when the server last wrote it.
type ControlData struct {
	SystemID string
	// State is PostgreSQL's word: "in production", "shut down", "shut down in recovery", "in archive recovery" and others.
	State string
	// Checkpoint is where the latest checkpoint's record begins, and Redo where recovery would begin.
	Checkpoint, Redo         wal.LSN
	Timeline, PrevTimeline   wal.Timeline // of the latest checkpoint
	MinRecovery              wal.LSN      // how far a standby must replay to be consistent, 0 = nothing to replay
	MinRecoveryTimeline      wal.Timeline
	DataChecksums            bool
	WALLogHints              bool
	WALLevel                 string
	MaxConnections           int // the values that a standby of this data must not go below
	MaxWorkerProcesses       int
	MaxWALSenders            int
	MaxPreparedTransactions  int
	MaxLocksPerTransaction   int
	CatalogVersion           string
	BytesPerWALSegment       int
	EndOfBackupRecordPending bool // a backup that was not replayed to its end yet
}

// CleanShutdown reports whether a primary wrote all it had and nothing came after Checkpoint's record.
func (d ControlData) CleanShutdown() bool { return d.State == "shut down" }

// parseControlData reads the output of pg_controldata.
func parseControlData(text string) (ControlData, error) {
	f := controlFields{values: map[string]string{}}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			f.values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	d := ControlData{
		SystemID:                f.text("Database system identifier"),
		State:                   f.text("Database cluster state"),
		Checkpoint:              f.lsn("Latest checkpoint location"),
		Redo:                    f.lsn("Latest checkpoint's REDO location"),
		Timeline:                f.timeline("Latest checkpoint's TimeLineID"),
		PrevTimeline:            f.timeline("Latest checkpoint's PrevTimeLineID"),
		MinRecovery:             f.lsn("Minimum recovery ending location"),
		MinRecoveryTimeline:     f.timeline("Min recovery ending loc's timeline"),
		DataChecksums:           f.number("Data page checksum version", 32) != 0,
		WALLogHints:             f.text("wal_log_hints setting") == "on",
		WALLevel:                f.text("wal_level setting"),
		MaxConnections:          int(f.number("max_connections setting", 31)),
		MaxWorkerProcesses:      int(f.number("max_worker_processes setting", 31)),
		MaxWALSenders:           int(f.number("max_wal_senders setting", 31)),
		MaxPreparedTransactions: int(f.number("max_prepared_xacts setting", 31)),
		MaxLocksPerTransaction:  int(f.number("max_locks_per_xact setting", 31)),
		CatalogVersion:          f.text("Catalog version number"),
		BytesPerWALSegment:      int(f.number("Bytes per WAL segment", 31)),
	}
	d.EndOfBackupRecordPending = f.text("End-of-backup record required") == "yes"
	if f.err != nil {
		return ControlData{}, fmt.Errorf("read pg_controldata: %w", f.err)
	}
	return d, nil
}

// controlFields takes values out of the output and keeps the first error.
type controlFields struct {
	values map[string]string
	err    error
}

func (f *controlFields) text(name string) string {
	value, ok := f.values[name]
	if !ok && f.err == nil {
		f.err = fmt.Errorf("it does not tell the %q", name)
	}
	return value
}

func (f *controlFields) number(name string, bits int) uint64 {
	n, err := strconv.ParseUint(f.text(name), 10, bits)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", name, err)
	}
	return n
}

func (f *controlFields) timeline(name string) wal.Timeline { return wal.Timeline(f.number(name, 32)) }

func (f *controlFields) lsn(name string) wal.LSN {
	lsn, err := wal.ParseLSN(f.text(name))
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", name, err)
	}
	return lsn
}
