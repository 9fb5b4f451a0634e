package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/durable"
)

// PeerFileName is the file in the data directory that remembers the members over a restart.
const PeerFileName = "gossip.peers"

type peerFile struct {
	Version int          `json:"version"`
	Members []peerRecord `json:"members"`
}

type peerRecord struct {
	Name          string         `json:"name"`
	Address       netip.AddrPort `json:"address"`
	Status        string         `json:"status"`
	StatusChanged time.Time      `json:"status_changed"`
	LastSeen      time.Time      `json:"last_seen"`
	Meta          Meta           `json:"meta"`
}

const peerFileVersion = 1

// encodePeers gives the peer file's content: all members but the local node.
func encodePeers(members []Member) ([]byte, error) {
	file := peerFile{Version: peerFileVersion, Members: []peerRecord{}}
	for _, m := range members {
		if !m.Local {
			file.Members = append(file.Members, peerRecord{
				Name: m.Name, Address: m.Address, Status: m.Status, StatusChanged: m.StatusChanged, LastSeen: m.LastSeen, Meta: m.Meta,
			})
		}
	}
	return json.MarshalIndent(file, "", "  ")
}

// decodePeers reads the peer file. Who was alive then counts as failed now, until it is heard of: its name and its
// address are kept, and it is redialed.
func decodePeers(data []byte, now time.Time) ([]Member, error) {
	var file peerFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if file.Version != peerFileVersion {
		return nil, fmt.Errorf("decode: version %d, this node knows version %d", file.Version, peerFileVersion)
	}
	var out []Member
	for _, r := range file.Members {
		if _, err := EncodeMeta(r.Meta); err != nil || r.Name == "" || !r.Address.IsValid() {
			return nil, fmt.Errorf("decode: the entry of %q is damaged", r.Name)
		}
		m := Member{
			Name: r.Name, Address: r.Address, Status: r.Status, StatusChanged: r.StatusChanged, LastSeen: r.LastSeen, Meta: r.Meta,
		}
		if m.Status != api.NodeLeft && m.Status != api.NodeFailed {
			m.Status, m.StatusChanged = api.NodeFailed, now
		}
		out = append(out, m)
	}
	return out, nil
}

// loadPeers reads the peer file, if there is one. A damaged one costs only hints, so it is set aside with a warning.
func (m *Membership) loadPeers() []Member {
	if m.cfg.DataDir == "" {
		return nil
	}
	path := filepath.Join(m.cfg.DataDir, PeerFileName)
	data, err := readFile(path)
	if err != nil || data == nil {
		if err != nil {
			m.log.Warn("peer file is not readable: going on without it", "path", path, "error", err)
		}
		return nil
	}
	peers, err := decodePeers(data, time.Now())
	if err != nil {
		m.log.Warn("peer file is damaged: going on without it", "path", path, "error", err)
		return nil
	}
	return peers
}

// savePeers writes the peer file when the table has changed since the last time.
func (m *Membership) savePeers() {
	m.peersMu.Lock()
	defer m.peersMu.Unlock()
	if m.cfg.DataDir == "" || m.left.Load() || !m.table.takeDirty() {
		return
	}
	data, err := encodePeers(m.table.list())
	if err == nil {
		err = durable.WriteFile(filepath.Join(m.cfg.DataDir, PeerFileName), data)
	}
	if err != nil {
		m.table.setDirty()
		if _, ok := m.limit.allow("peer file", time.Now()); ok {
			m.log.Error("peer file is not written: a restart will not know the other members", "error", err)
		}
	}
}

// forgetPeers removes the peer file when this node has left: a restart is not to find its way back by itself.
func (m *Membership) forgetPeers() error {
	if m.cfg.DataDir == "" {
		return nil
	}
	m.peersMu.Lock()
	defer m.peersMu.Unlock()
	if err := os.Remove(filepath.Join(m.cfg.DataDir, PeerFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("leave: forget peers: %w", err)
	}
	return nil
}
