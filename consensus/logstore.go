package consensus

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walmetrics "github.com/hashicorp/raft-wal/metrics"
)

// logStore is Raft's log and its stable store on raft-wal, with two things that raft-wal 0.4.1 lacks. It remembers why
// the log can't be written: when a leader's write fails, raft makes it a follower and says no more than that. And it
// opens the log again once there is room: a rotation that failed on a full disk leaves raft-wal's last segment sealed
// for as long as it is open.
type logStore struct {
	path string
	opts logOptions

	mu     sync.RWMutex // guards the rest; read-held through each call, so that none sees a log that is being replaced
	wal    *wal.WAL
	tried  time.Time // when the log was last opened again
	closed bool

	fault atomic.Pointer[error]
	// inject, for tests, fails writes.
	inject atomic.Pointer[error]
}

func openLogStore(path string, opts logOptions) (*logStore, error) {
	if opts.metrics == nil {
		opts.metrics = &walmetrics.NoOpCollector{}
	}
	s := &logStore{path: path, opts: opts}
	var err error
	s.wal, err = s.open()
	return s, err
}

func (s *logStore) open() (*wal.WAL, error) {
	log, err := wal.Open(s.path, wal.WithSegmentSize(s.opts.segmentSize), wal.WithLogger(s.opts.logger.Named("wal")),
		wal.WithMetricsCollector(s.opts.metrics))
	if err != nil {
		return nil, fmt.Errorf("open raft log in %s: %w", s.path, err)
	}
	return log, nil
}

// StoreLogs appends entries.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	err := s.append(logs)
	if len(logs) > 0 && (errors.Is(err, wal.ErrSealed) || errors.Is(err, wal.ErrClosed)) {
		if err = s.reopen(logs[0].Index - 1); err == nil {
			err = s.append(logs)
		}
	}
	s.note(err)
	return err
}

// StoreLog appends one entry.
func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

func (s *logStore) append(logs []*raft.Log) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if injected := s.inject.Load(); injected != nil {
		return *injected
	}
	return s.wal.StoreLogs(logs)
}

func (s *logStore) note(err error) {
	if err == nil && s.fault.Load() == nil {
		return
	}
	if err == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&err)
}

// err returns what keeps the log from being written, nil when the last write went well.
func (s *logStore) err() error {
	if fault := s.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// reopenInterval is how often a log that can't be written is opened again.
const reopenInterval = time.Second

// reopen replaces the open log if there is room for what opening it writes. last is the index that Raft takes for the
// log's last: what lies behind it was never acknowledged, since the write that brought it ended in an error.
func (s *logStore) reopen(last uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || time.Since(s.tried) < reopenInterval {
		return s.cause()
	}
	s.tried = time.Now()
	if free, err := freeBytes(s.path); err != nil || free < s.needed() {
		return s.cause()
	}
	// raft-wal's lock on its directory is waited for without end, so the old log goes first.
	if err := s.wal.Close(); err != nil && !errors.Is(err, wal.ErrClosed) {
		return fmt.Errorf("close raft log: %w", err)
	}
	log, err := s.open()
	if err != nil {
		return err
	}
	s.wal = log
	s.opts.logger.Info("raft log opened again: there is room for it")
	return dropBehind(log, last)
}

func dropBehind(log *wal.WAL, last uint64) error {
	end, err := log.LastIndex()
	if err != nil || end <= last {
		return err
	}
	return log.DeleteRange(last+1, end)
}

// cause says why a sealed log stays sealed.
func (s *logStore) cause() error {
	free, err := freeBytes(s.path)
	if err != nil {
		return err
	}
	if free < s.needed() {
		return fmt.Errorf("%w: the next file of the log needs %d MiB and %d MiB are free", syscall.ENOSPC, s.needed()>>20, free>>20)
	}
	return wal.ErrSealed
}

// needed is what a log needs to be opened again: its next file, which is allocated whole, and a little for the rest.
func (s *logStore) needed() int64 { return int64(s.opts.segmentSize) + 1<<20 }

func freeBytes(path string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		return 0, fmt.Errorf("look for free space: %w", err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}

// FirstIndex is part of raft.LogStore, as are the next ones.
func (s *logStore) FirstIndex() (uint64, error) { return with(s, (*wal.WAL).FirstIndex) }

// LastIndex returns the index of the last entry, 0 for none.
func (s *logStore) LastIndex() (uint64, error) { return with(s, (*wal.WAL).LastIndex) }

// GetLog reads an entry.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	_, err := with(s, func(w *wal.WAL) (struct{}, error) { return struct{}{}, w.GetLog(index, log) })
	return err
}

// DeleteRange removes entries at either end of the log.
func (s *logStore) DeleteRange(first, last uint64) error {
	_, err := with(s, func(w *wal.WAL) (struct{}, error) { return struct{}{}, w.DeleteRange(first, last) })
	return err
}

// IsMonotonic tells raft that the log has no gaps, which spares this store raft#697.
func (s *logStore) IsMonotonic() bool { return true }

// Set is part of raft.StableStore, as are the next ones.
func (s *logStore) Set(key, value []byte) error {
	_, err := with(s, func(w *wal.WAL) (struct{}, error) { return struct{}{}, w.Set(key, value) })
	return err
}

// Get reads a value.
func (s *logStore) Get(key []byte) ([]byte, error) {
	return with(s, func(w *wal.WAL) ([]byte, error) { return w.Get(key) })
}

// SetUint64 stores a number.
func (s *logStore) SetUint64(key []byte, value uint64) error {
	_, err := with(s, func(w *wal.WAL) (struct{}, error) { return struct{}{}, w.SetUint64(key, value) })
	return err
}

// GetUint64 reads a number.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	return with(s, func(w *wal.WAL) (uint64, error) { return w.GetUint64(key) })
}

// with runs one call on the log that is open now.
func with[T any](s *logStore, call func(*wal.WAL) (T, error)) (T, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return call(s.wal)
}

// Close closes the log for good.
func (s *logStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.wal.Close()
}

var (
	_ raft.LogStore          = (*logStore)(nil)
	_ raft.StableStore       = (*logStore)(nil)
	_ raft.MonotonicLogStore = (*logStore)(nil)
)
