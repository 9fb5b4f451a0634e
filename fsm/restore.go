package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

// SnapshotInfo tells what a snapshot holds.
type SnapshotInfo struct {
	Version     int
	Index, Term uint64 // of the last entry in it
	ClusterID   string
	ClusterName string
	Size        int64
	Tables      []TableCount // in the order in which the snapshot holds them
	Checksum    string       // SHA-256, verified, in hex
	// Primacy says who the primary PostgreSQL is, without the secret; nil if the cluster manages none.
	Primacy *primacy.State
}

// TableCount is how many rows a table has.
type TableCount struct {
	Table string
	Rows  int
}

// InspectSnapshot reads and verifies a whole snapshot.
func InspectSnapshot(r io.Reader) (SnapshotInfo, error) {
	reader := newSnapshotReader(r)
	store, err := reader.store()
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("inspect snapshot: %w", err)
	}
	info := SnapshotInfo{
		Version: int(reader.version), Size: reader.n, Checksum: fmt.Sprintf("%x", reader.checksum),
		ClusterID: store.ClusterID(), ClusterName: store.ClusterName(),
	}
	info.Index, info.Term = store.Applied()
	if reader.version == snapshotVersion {
		_, managed := store.Primacy(nil)
		managed.Secret = ""
		info.Primacy = &managed
	}
	for i, s := range sections() {
		info.Tables = append(info.Tables, TableCount{s.table, reader.rows[byte(firstSection+i)]})
	}
	info.Tables = append(info.Tables, TableCount{"dedupe", reader.rows[sectionRecord]})
	return info, nil
}

// ReadStore reads what WriteTo wrote, to the end of r, and returns the store only if all of it is sound.
func ReadStore(r io.Reader) (*Store, error) {
	store, err := newSnapshotReader(r).store()
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return store, nil
}

// snapshotReader builds a store from frames. Memory grows with what is read, not with what lengths announce.
type snapshotReader struct {
	src      *bufio.Reader
	sum      hash.Hash
	n        int64
	checksum []byte
	packer   *packer
	sections []section
	version  byte

	w       *write
	events  eventState
	section byte         // of the last frame
	last    string       // key of the last row of the section
	rows    map[byte]int // by section
	buffer  bytes.Buffer // of the frame at hand
}

func newSnapshotReader(r io.Reader) *snapshotReader {
	return &snapshotReader{
		src: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), packer: newPacker(), sections: sections(),
		w: newStore().begin(), rows: make(map[byte]int),
	}
}

func (r *snapshotReader) store() (*Store, error) {
	if err := r.magic(); err != nil {
		return nil, err
	}
	for {
		section, payload, err := r.frame()
		if err != nil {
			return nil, err
		}
		if section == sectionEnd {
			break
		}
		if err := r.row(section, payload); err != nil {
			return nil, fmt.Errorf("section %d row %d: %w", section, r.rows[section], err)
		}
	}
	if err := r.verify(); err != nil {
		return nil, err
	}
	r.w.put(tableState, r.events)
	r.w.commit()
	return r.w.store, nil
}

func (r *snapshotReader) magic() error {
	b, err := r.read(len(snapshotMagic) + 1)
	if err != nil {
		return err
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return errors.New("not a snapshot of pgraft")
	}
	r.version = b[len(snapshotMagic)]
	if r.version != snapshotVersion && r.version != oldVersion {
		return fmt.Errorf("snapshot has version %d, this program knows up to %d: use the version of pgraft that wrote it",
			r.version, snapshotVersion)
	}
	return nil
}

// read returns the next n bytes, valid until the next call.
func (r *snapshotReader) read(n int) ([]byte, error) {
	r.buffer.Reset()
	m, err := io.CopyN(&r.buffer, r.src, int64(n))
	r.n += m
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("snapshot is cut short after %d bytes", r.n)
	}
	if err != nil {
		return nil, err
	}
	r.sum.Write(r.buffer.Bytes())
	return r.buffer.Bytes(), nil
}

func (r *snapshotReader) frame() (section byte, payload []byte, err error) {
	head, err := r.read(frameHeaderSize)
	if err != nil {
		return 0, nil, err
	}
	section, size := head[0], binary.BigEndian.Uint32(head[1:])
	switch {
	case section == sectionEnd && size == 0:
		return sectionEnd, nil, nil
	case section == sectionEnd, size > maxFrameSize:
		return 0, nil, fmt.Errorf("frame of %d bytes in section %d", size, section)
	}
	payload, err = r.read(int(size))
	return section, payload, err
}

// row loads one frame. The header comes first, once, and sections come in order.
func (r *snapshotReader) row(section byte, payload []byte) error {
	if r.rows[sectionHeader] == 0 != (section == sectionHeader) || section < r.section {
		return fmt.Errorf("out of order after section %d", r.section)
	}
	if section != r.section {
		r.section, r.last = section, ""
	}
	r.rows[section]++
	switch i := int(section) - firstSection; {
	case section == sectionHeader:
		return r.header(payload)
	case section == sectionRecord:
		return r.record(payload)
	case i < len(r.sections):
		return r.sections[i].read(r, payload)
	default:
		return errors.New("unknown section")
	}
}

func (r *snapshotReader) header(payload []byte) error {
	var h snapshotHeader
	if err := r.packer.unpack(payload, &h); err != nil {
		return err
	}
	r.w.log.Index, r.w.log.Term = h.Index, h.Term
	r.w.log.Window.Floor = h.WindowFloor
	r.w.kv.Floor = h.KVFloor
	r.events.Last = h.LastEvent
	r.w.put(tableState, h.Cluster)
	for _, t := range h.Changed {
		r.w.put(tableState, t)
	}
	if (h.Primacy != nil) != (r.version == snapshotVersion) {
		return fmt.Errorf("header does not fit snapshot version %d", r.version)
	}
	if h.Primacy != nil {
		r.w.put(tableState, *h.Primacy)
	}
	return nil
}

func (r *snapshotReader) record(payload []byte) error {
	row := new(record)
	if err := r.packer.unpack(payload, row); err != nil {
		return err
	}
	if row.Requests != nil && len(row.Requests) != len(row.Results) {
		return fmt.Errorf("%d requests for %d results", len(row.Requests), len(row.Results))
	}
	for i := range row.Results {
		normalise(row.Results[i].Txn)
	}
	r.w.log.Window.add(row)
	r.w.store.memory.enter(row)
	return nil
}

// follows checks that a row's key is usable and above the one before it.
func (r *snapshotReader) follows(key, table string) error {
	if table != tableEvent && (key == "" || !isText(key)) {
		return fmt.Errorf("unusable key %q", clip(key))
	}
	if key <= r.last {
		return fmt.Errorf("key %q out of order", clip(key))
	}
	r.last = key
	return nil
}

// load completes a row that was read, and counts it.
func (r *snapshotReader) load(row any) {
	switch row := row.(type) {
	case *api.KVPair:
		normalisePair(row)
		r.w.kv.Keys++
		r.w.kv.Bytes += pairSize(row)
	case *tombstone:
		r.w.kv.Tombstones++
	case *api.Event:
		row.Time = row.Time.UTC()
		r.events.Rows++
	}
}

// normalise undoes what msgpack does to empty slices.
func normalise(t *api.TxnResponse) {
	if t == nil {
		return
	}
	for i := range t.Results {
		for j := range t.Results[i].Pairs {
			normalisePair(&t.Results[i].Pairs[j])
		}
	}
}

func normalisePair(pair *api.KVPair) {
	if pair.Value == nil {
		pair.Value = []byte{}
	}
}

// verify compares the checksum and makes sure that nothing follows it.
func (r *snapshotReader) verify() error {
	if r.rows[sectionHeader] == 0 {
		return errors.New("snapshot has no header")
	}
	r.checksum = r.sum.Sum(nil)
	want, err := r.read(sha256.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(want, r.checksum) {
		return errors.New("checksum does not match: the snapshot is damaged")
	}
	if _, err := r.src.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the snapshot's end")
	}
	return nil
}
