package fsm

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// A snapshot is a stream:
//
//	magic, 7 bytes; version, 1 byte
//	frames: section, 1 byte; length, 4 bytes, big endian; msgpack of that length
//	        the header, then the sections in order, the rows of each in the order of its table's id
//	the end frame, section 0 and length 0
//	SHA-256 of all before it, 32 bytes
//
// Equal stores give equal bytes.
const (
	snapshotMagic   = "pgraftS"
	snapshotVersion = 2 // where the header has a Primacy, else 1: readable for programs that know nothing of it
	oldVersion      = 1
	maxFrameSize    = 32 << 20
	frameHeaderSize = 5

	sectionEnd    = 0
	sectionHeader = 1
	sectionRecord = 64 // of the dedupe window; the tables' sections are in between
)

// snapshotHeader holds what is no row. Counts are not in it: they are counted again as rows are read.
type snapshotHeader struct {
	Index, Term uint64
	Cluster     clusterState
	KVFloor     uint64
	WindowFloor uint64
	LastEvent   uint64
	Changed     []tableIndex  // by table
	Primacy     *primacyState `codec:",omitempty"`
}

// section writes and reads the rows of one table.
type section struct {
	table string
	write func(txn *memdb.Txn, out *frameWriter) error
	read  func(r *snapshotReader, payload []byte) error
}

// sections are the tables of a snapshot, in order. A section's number is its place here, from 2: only append.
func sections() []section {
	return []section{
		sectionOf(tableKV, func(p *api.KVPair) string { return p.Key }),
		sectionOf(tableTombstone, func(t *tombstone) string { return t.Key }),
		sectionOf(tableSession, func(s *session) string { return s.ID }),
		sectionOf(tableLockDelay, func(d *lockDelay) string { return d.Key }),
		sectionOf(tableNode, func(n *Node) string { return n.Name }),
		sectionOf(tableBinding, func(b *binding) string { return b.Name }),
		sectionOf(tableRemoved, func(r *removed) string { return r.ServerID }),
		sectionOf(tableSetting, func(s *api.Setting) string { return s.Name }),
		sectionOf(tableEvent, func(e *api.Event) string {
			return string(binary.BigEndian.AppendUint64(nil, e.Index))
		}),
	}
}

const firstSection = sectionHeader + 1

// sectionOf describes the table of rows *T, whose order is that of their keys.
func sectionOf[T any](table string, key func(*T) string) section {
	return section{
		table: table,
		write: func(txn *memdb.Txn, out *frameWriter) (err error) {
			each(txn, nil, table, indexID, func(row *T) bool {
				err = out.frame(row)
				return err == nil
			})
			return err
		},
		read: func(r *snapshotReader, payload []byte) error {
			row := new(T)
			if err := r.packer.unpack(payload, row); err != nil {
				return err
			}
			if err := r.follows(key(row), table); err != nil {
				return err
			}
			r.load(row)
			r.w.put(table, row)
			return nil
		},
	}
}

// WriteTo writes a snapshot of the store as it is when the call begins. It implements io.WriterTo.
func (s *Store) WriteTo(dst io.Writer) (int64, error) {
	txn := s.read()
	out := newFrameWriter(dst)
	if err := out.write([]byte(snapshotMagic), []byte{versionOf(txn)}); err != nil {
		return out.n, fmt.Errorf("write snapshot: %w", err)
	}
	if err := writeFrames(txn, out); err != nil {
		return out.n, fmt.Errorf("write snapshot: %w", err)
	}
	if err := out.finish(); err != nil {
		return out.n, fmt.Errorf("write snapshot: %w", err)
	}
	return out.n, nil
}

func versionOf(txn *memdb.Txn) byte {
	if state[primacyState](txn, nil, keyPrimacy).Index == 0 {
		return oldVersion
	}
	return snapshotVersion
}

func writeFrames(txn *memdb.Txn, out *frameWriter) error {
	log := state[logState](txn, nil, keyLog)
	out.section = sectionHeader
	if err := out.frame(headerOf(txn, log)); err != nil {
		return err
	}
	for i, s := range sections() {
		out.section = byte(firstSection + i)
		if err := s.write(txn, out); err != nil {
			return fmt.Errorf("table %s: %w", s.table, err)
		}
	}
	out.section = sectionRecord
	for _, r := range log.Window.Records {
		if err := out.frame(r); err != nil {
			return fmt.Errorf("dedupe window: %w", err)
		}
	}
	return nil
}

func headerOf(txn *memdb.Txn, log logState) snapshotHeader {
	h := snapshotHeader{
		Index: log.Index, Term: log.Term,
		Cluster:     state[clusterState](txn, nil, keyCluster),
		KVFloor:     state[kvState](txn, nil, keyKV).Floor,
		WindowFloor: log.Window.Floor,
		LastEvent:   state[eventState](txn, nil, keyEvent).Last,
	}
	if row := state[primacyState](txn, nil, keyPrimacy); row.Index != 0 {
		h.Primacy = &row
	}
	each(txn, nil, tableState, indexPrefix, func(t tableIndex) bool {
		h.Changed = append(h.Changed, t)
		return true
	}, keyTable)
	return h
}

// frameWriter writes frames, counts and hashes.
type frameWriter struct {
	buffered *bufio.Writer
	sum      hash.Hash
	packer   *packer
	section  byte
	n        int64
}

func newFrameWriter(dst io.Writer) *frameWriter {
	return &frameWriter{buffered: bufio.NewWriterSize(dst, 64<<10), sum: sha256.New(), packer: newPacker()}
}

func (f *frameWriter) write(parts ...[]byte) error {
	for _, part := range parts {
		f.sum.Write(part)
		n, err := f.buffered.Write(part)
		f.n += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *frameWriter) frame(value any) error {
	payload, err := f.packer.pack(nil, value)
	if err != nil {
		return err
	}
	if len(payload) > maxFrameSize {
		return fmt.Errorf("row of %d bytes is too large", len(payload))
	}
	return f.write(frameHeader(f.section, len(payload)), payload)
}

func frameHeader(section byte, size int) []byte {
	return binary.BigEndian.AppendUint32([]byte{section}, uint32(size))
}

// finish writes the end frame and the checksum.
func (f *frameWriter) finish() error {
	if err := f.write(frameHeader(sectionEnd, 0)); err != nil {
		return err
	}
	if err := f.write(f.sum.Sum(nil)); err != nil {
		return err
	}
	return f.buffered.Flush()
}
