package consensus

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/fsm"
)

// OfflineInfo is what a stopped server's data directory holds of Raft. Of the survivors of a lost majority, the one
// with the highest (LastLogTerm, LastIndex) knows most.
type OfflineInfo struct {
	ServerID    raft.ServerID   `json:"server_id"`
	Term        uint64          `json:"term"`
	FirstIndex  uint64          `json:"first_index"`
	LastIndex   uint64          `json:"last_index"`
	LastLogTerm uint64          `json:"last_log_term"`
	Snapshots   []*SnapshotInfo `json:"snapshots"` // newest first
	// Configuration is the latest, committed or not, and ConfigurationIndex the entry that made it.
	Configuration      []OfflineServer `json:"configuration"`
	ConfigurationIndex uint64          `json:"configuration_index"`
	// TermOnly is a server that heard of an election and never got an entry: it has nothing to recover.
	TermOnly bool `json:"term_only"`
}

// SnapshotInfo is one snapshot.
type SnapshotInfo struct {
	ID    string `json:"id"`
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	Size  int64  `json:"size"`
}

// OfflineServer is a server of a configuration.
type OfflineServer struct {
	ID      raft.ServerID `json:"id"`
	Address string        `json:"address"`
	Voter   bool          `json:"voter"`
}

// offline opens a stopped server's state.
func offline(dataDir string, logger hclog.Logger) (*store, raft.ServerID, *DirLock, error) {
	lock, err := AcquireLock(dataDir)
	if err != nil {
		return nil, "", nil, err
	}
	id, err := LoadServerID(dataDir)
	if err != nil {
		return nil, "", nil, errors.Join(err, lock.Release())
	}
	config := Config{}
	config.applyDefaults()
	s, err := openStore(dataDir, logOptions{segmentSize: config.SegmentSize, logger: logger})
	if err != nil {
		return nil, "", nil, errors.Join(err, lock.Release())
	}
	return s, id, lock, nil
}

// Inspect reads the data directory of a stopped server.
func Inspect(dataDir string, logger hclog.Logger) (info OfflineInfo, err error) {
	s, id, lock, err := offline(dataDir, logger)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, s.close(), lock.Release()) }()
	info.ServerID = id
	state, err := s.state()
	if err != nil {
		return info, err
	}
	info.Term, info.TermOnly = state.Term, state.termOnly()
	if err := info.readSnapshots(s); err != nil {
		return info, err
	}
	return info, info.readLog(s)
}

func (i *OfflineInfo) readSnapshots(s *store) error {
	list, err := s.snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for _, meta := range list {
		i.Snapshots = append(i.Snapshots, &SnapshotInfo{meta.ID, meta.Index, meta.Term, meta.Size})
	}
	if len(list) > 0 {
		i.LastIndex, i.LastLogTerm = list[0].Index, list[0].Term
		i.setConfiguration(list[0].ConfigurationIndex, list[0].Configuration)
	}
	return nil
}

func (i *OfflineInfo) readLog(s *store) error {
	first, err := s.logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("read first index: %w", err)
	}
	last, err := s.logs.LastIndex()
	if err != nil {
		return fmt.Errorf("read last index: %w", err)
	}
	i.FirstIndex = first
	for index := max(first, i.LastIndex+1); index > 0 && index <= last; index++ {
		var entry raft.Log
		if err := s.logs.GetLog(index, &entry); err != nil {
			return fmt.Errorf("read entry %d: %w", index, err)
		}
		if entry.Type == raft.LogConfiguration {
			configuration, err := decodeConfiguration(entry.Data)
			if err != nil {
				return fmt.Errorf("read entry %d: %w", index, err)
			}
			i.setConfiguration(index, configuration)
		}
		i.LastIndex, i.LastLogTerm = index, entry.Term
	}
	return nil
}

// decodeConfiguration is raft's function without its panic.
func decodeConfiguration(data []byte) (configuration raft.Configuration, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("decode configuration: %v", problem)
		}
	}()
	return raft.DecodeConfiguration(data), nil
}

func (i *OfflineInfo) setConfiguration(index uint64, configuration raft.Configuration) {
	i.ConfigurationIndex, i.Configuration = index, nil
	for _, server := range configuration.Servers {
		i.Configuration = append(i.Configuration, OfflineServer{server.ID, string(server.Address), server.Suffrage == raft.Voter})
	}
}

// Recover forces a configuration upon a stopped server, for a cluster that has lost its majority for good. All that is
// in its log counts as committed from then on, whether it was or not. Do it on every survivor with the same servers,
// or on the one that knows most with itself alone, and let the others rejoin empty.
//
// The servers that are left out are removed for ever, by a last entry in the log. If they come back they are a majority
// of the old configuration. The recovered servers take nothing of theirs (see judgeRemoved) and tell them that they are
// removed, whereupon their agents end. What no entry can prevent is that they go on among themselves where they can't
// reach a recovered server.
func Recover(dataDir string, servers []OfflineServer, logger hclog.Logger) (err error) {
	s, id, lock, err := offline(dataDir, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(), lock.Release()) }()
	state, err := s.state()
	if err != nil {
		return err
	}
	if state.empty() || state.termOnly() {
		return fmt.Errorf("%s holds no log and no snapshot: there is nothing to recover on this server", dataDir)
	}
	configuration, err := recoveryConfiguration(id, servers)
	if err != nil {
		return err
	}
	if err := expel(s, servers); err != nil {
		return err
	}
	config := Config{ServerID: id, Logger: logger}
	config.applyDefaults()
	_, transport := raft.NewInmemTransport(raft.ServerAddress(id)) // never used to talk
	// A fresh state machine lives in memory only: nothing is applied twice, and it is thrown away.
	machine := fsm.New(logger.Named("fsm"))
	if err := raft.RecoverCluster(config.raftConfig(), machine, s.logs, s.wal, s.snapshots, transport, configuration); err != nil {
		return fmt.Errorf("recover cluster: %w", err)
	}
	return nil
}

// expel appends the entry that removes the servers that are not kept.
func expel(s *store, kept []OfflineServer) error {
	var info OfflineInfo
	if err := errors.Join(info.readSnapshots(s), info.readLog(s)); err != nil {
		return err
	}
	var ops []fsm.Op
	for _, old := range info.Configuration {
		if !slices.ContainsFunc(kept, func(k OfflineServer) bool { return k.ID == old.ID }) {
			ops = append(ops, fsm.NodeRemove{ServerID: string(old.ID), Reason: "lost: the cluster was recovered without it"})
		}
	}
	if len(ops) == 0 {
		return nil
	}
	data, err := fsm.EncodeEntry(fsm.Entry{ID: fsm.EntryID(uuid.New()), Time: time.Now().UTC(), Ops: ops})
	if err != nil {
		return fmt.Errorf("remove the lost servers: %w", err)
	}
	entry := &raft.Log{Index: info.LastIndex + 1, Term: info.LastLogTerm, Type: raft.LogCommand, Data: data, AppendedAt: time.Now()}
	if err := s.logs.StoreLog(entry); err != nil {
		return fmt.Errorf("remove the lost servers: %w", err)
	}
	return nil
}

func recoveryConfiguration(self raft.ServerID, servers []OfflineServer) (raft.Configuration, error) {
	var configuration raft.Configuration
	present := false
	for _, server := range servers {
		suffrage := raft.Nonvoter
		if server.Voter {
			suffrage = raft.Voter
		}
		if server.ID == "" || server.Address == "" {
			return configuration, fmt.Errorf("server %q at %q: both id and address are needed", server.ID, server.Address)
		}
		present = present || server.ID == self
		configuration.Servers = append(configuration.Servers,
			raft.Server{Suffrage: suffrage, ID: server.ID, Address: raft.ServerAddress(server.Address)})
	}
	if !present {
		return configuration, fmt.Errorf("this server, %s, is not among the servers given", self)
	}
	return configuration, nil
}
