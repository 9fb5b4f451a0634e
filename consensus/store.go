package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	walmetrics "github.com/hashicorp/raft-wal/metrics"

	"github.com/pgraft/pgraft/internal/durable"
)

// The layout below the data directory.
const (
	raftDir          = "raft"
	walDir           = "wal"
	raftVersionFile  = "version"
	raftVersion      = 1
	bootstrapMarker  = "bootstrapping"
	acceptanceFile   = "bootstrap.json"
	retainSnapshots  = 2
	logCacheEntries  = 512
	stableTerm       = "CurrentTerm"  // raft's own key
	stableLastVote   = "LastVoteTerm" // raft's own key
	notFoundByRaft   = "not found"    // what raft takes for "no such key"
	statBlockInBytes = 512
)

// StateFiles returns the names, below the data directory, of all that makes a server the one that it is. Without them
// the directory is fit for a new server. The id goes last: a state without it is refused.
func StateFiles() []string { return []string{raftDir, identityFile} }

// store is Raft's state on disk. raft-wal syncs each append; nothing here weakens that.
type store struct {
	dir       string // DATA_DIR/raft
	wal       *logStore
	logs      *raft.LogCache
	snapshots *raft.FileSnapshotStore
}

// logOptions say how the log's files are kept and who counts what is done with them.
type logOptions struct {
	segmentSize int
	metrics     walmetrics.Collector // nil = nobody
	logger      hclog.Logger
}

func openStore(dataDir string, opts logOptions) (*store, error) {
	s := &store{dir: filepath.Join(dataDir, raftDir)}
	if err := checkVersion(s.dir); err != nil {
		return nil, err
	}
	if err := s.openLog(opts); err != nil {
		return nil, err
	}
	if err := s.forgetHalfBootstrap(opts); err != nil {
		return nil, errors.Join(err, s.close())
	}
	var err error
	s.snapshots, err = raft.NewFileSnapshotStoreWithLogger(s.dir, retainSnapshots, opts.logger.Named("snapshots"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open snapshots: %w", err), s.close())
	}
	return s, nil
}

func (s *store) openLog(opts logOptions) error {
	path := filepath.Join(s.dir, walDir)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("create log directory: %w", err)
	}
	log, err := openLogStore(path, opts)
	if err != nil {
		return err
	}
	s.wal = log
	s.logs, err = raft.NewLogCache(logCacheEntries, log)
	return err
}

// checkVersion refuses a directory that a later release wrote.
func checkVersion(dir string) error {
	path := filepath.Join(dir, raftVersionFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create raft directory: %w", err)
		}
		if err := durable.WriteFile(path, []byte(strconv.Itoa(raftVersion)+"\n")); err != nil {
			return fmt.Errorf("write raft version: %w", err)
		}
		return durable.SyncDir(filepath.Dir(dir))
	}
	if err != nil {
		return fmt.Errorf("read raft version: %w", err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || version < 1 {
		return fmt.Errorf("%s does not hold a version", path)
	}
	if version > raftVersion {
		return fmt.Errorf("%s was written by a later release (format %d, this one knows %d): run that release", dir, version, raftVersion)
	}
	return nil
}

func (s *store) close() error { return s.wal.Close() }

// raftState is what decides whether a server belongs to a cluster already.
type raftState struct {
	Term      uint64 `json:"term"`
	LastIndex uint64 `json:"last_index"`
	Snapshots int    `json:"snapshots"`
	Voted     bool   `json:"voted"`
}

func (s raftState) empty() bool { return s == raftState{} }

// termOnly is a server that heard of an election and has nothing to show for it: it waits for the cluster's leader.
func (s raftState) termOnly() bool { return s.Term > 0 && s.LastIndex == 0 && s.Snapshots == 0 }

func (s *store) state() (raftState, error) {
	state, err := s.logState()
	if err != nil {
		return state, err
	}
	list, err := s.snapshots.List()
	state.Snapshots = len(list)
	return state, err
}

func (s *store) logState() (state raftState, err error) {
	if state.Term, err = s.stableUint64(stableTerm); err != nil {
		return state, fmt.Errorf("read term: %w", err)
	}
	vote, err := s.stableUint64(stableLastVote)
	if err != nil {
		return state, fmt.Errorf("read vote: %w", err)
	}
	state.Voted = vote > 0
	if state.LastIndex, err = s.wal.LastIndex(); err != nil {
		return state, fmt.Errorf("read last index: %w", err)
	}
	return state, nil
}

func (s *store) stableUint64(key string) (uint64, error) {
	value, err := s.wal.GetUint64([]byte(key))
	if err != nil && err.Error() == notFoundByRaft {
		return 0, nil
	}
	return value, err
}

// forgetHalfBootstrap undoes a bootstrap that a crash cut in two: raft writes the term first and the configuration
// then, and with the first alone it can neither be bootstrapped nor elect. The marker says that it was this server's
// own bootstrap; without log, snapshot and vote there is nothing to lose.
func (s *store) forgetHalfBootstrap(opts logOptions) error {
	marker := filepath.Join(s.dir, bootstrapMarker)
	if _, err := os.Stat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	state, err := s.logState()
	if err != nil {
		return err
	}
	if state.Term == 1 && state.LastIndex == 0 && !state.Voted {
		opts.logger.Warn("undoing a bootstrap that was interrupted before anything was written")
		if err := s.wal.Close(); err != nil {
			return fmt.Errorf("close raft log: %w", err)
		}
		if err := os.RemoveAll(filepath.Join(s.dir, walDir)); err != nil {
			return fmt.Errorf("remove interrupted bootstrap: %w", err)
		}
		if err := s.openLog(opts); err != nil {
			return err
		}
	}
	return s.unmarkBootstrap()
}

func (s *store) markBootstrap() error {
	return durable.WriteFile(filepath.Join(s.dir, bootstrapMarker), nil)
}

func (s *store) unmarkBootstrap() error {
	return errors.Join(os.Remove(filepath.Join(s.dir, bootstrapMarker)), durable.SyncDir(s.dir))
}

// diskBytes returns how much room Raft's files take.
func (s *store) diskBytes() int64 {
	var total int64
	_ = filepath.WalkDir(s.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file that went away meanwhile
		}
		if info, err := entry.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				total += stat.Blocks * statBlockInBytes
			}
		}
		return nil
	})
	return total
}
