package membership

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/pgraft/pgraft/api"
)

// tombstone says that a node left, and in which of its lives. Tombstones travel with every state exchange, so that
// also a node learns of a goodbye that was cut off when it was said.
type tombstone struct {
	name     string
	serverID string
	started  time.Time
}

const (
	tombstonesVersion = 1
	maxTombstones     = 256
)

// tombstonesOf collects the tombstones among members, as many as one exchange carries.
func tombstonesOf(members []Member) []tombstone {
	var out []tombstone
	for _, m := range members {
		if m.Status == api.NodeLeft && len(out) < maxTombstones {
			out = append(out, tombstone{name: m.Name, serverID: m.Meta.ServerID, started: m.Meta.Started})
		}
	}
	return out
}

func encodeTombstones(tombs []tombstone) []byte {
	if len(tombs) == 0 {
		return nil
	}
	buf := binary.AppendUvarint([]byte{tombstonesVersion}, uint64(len(tombs)))
	for _, t := range tombs {
		id, _ := uuid.Parse(t.serverID)
		buf = binary.AppendUvarint(buf, uint64(len(t.name)))
		buf = append(buf, t.name...)
		buf = append(buf, id[:]...)
		buf = binary.AppendUvarint(buf, uint64(max(t.started.UnixMilli(), 0)))
	}
	return buf
}

func decodeTombstones(buf []byte) ([]tombstone, error) {
	if len(buf) == 0 {
		return nil, nil
	}
	if buf[0] != tombstonesVersion {
		return nil, fmt.Errorf("decode tombstones: version %d, this node knows version %d", buf[0], tombstonesVersion)
	}
	d := decoder{buf: buf[1:]}
	n := d.number(maxTombstones)
	var out []tombstone
	for range n {
		t := tombstone{name: d.text(MaxNameLen), serverID: d.id()}
		t.started = time.UnixMilli(int64(d.number(1 << 48))).UTC()
		if d.bad != "" {
			break
		}
		out = append(out, t)
	}
	if d.bad != "" {
		return nil, fmt.Errorf("decode tombstones: %s", d.bad)
	}
	return out, nil
}
