package fsm

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The bounds of an entry. A batcher stays well below MaxEntrySize: Raft suggests 512 KiB, which a single write of a
// value of the largest size exceeds by its key only.
const (
	MaxEntrySize = 1 << 20
	MaxEntryOps  = 8192
)

// EntryID tells entries apart, so that one that is proposed twice is applied once. Its zero value asks for no such
// care.
type EntryID [16]byte

// Entry is what one raft log entry carries.
type Entry struct {
	ID EntryID
	// Base is a log index that was committed before the entry was first proposed, 0 if unknown: see Request.Base.
	Base uint64
	// Time is the clock of the leader that put the entry into the log, the only clock that the state machine knows.
	Time time.Time
	Ops  []Op
}

// An encoded entry:
//
//	offset  size
//	     0     1  version
//	     1    16  ID
//	    17     8  Base, big endian as all numbers
//	    25     8  time, Unix nanoseconds, 0 = not stamped
//	    33     4  number of operations
//	    37        per operation: 4 bytes of length, then what EncodeOp writes
const (
	entryVersion = 1

	offsetID    = 1
	offsetBase  = 17
	offsetTime  = 25
	offsetCount = 33
	offsetOps   = 37
	lengthSize  = 4
)

// EntryBuilder puts encoded operations into an entry one by one.
type EntryBuilder struct {
	buffer []byte
	count  int
}

// NewEntryBuilder starts an entry without a time: the leader stamps it (see StampTime). There is room at once for the
// given number of operations with so many bytes together, and it grows for more.
func NewEntryBuilder(id EntryID, base uint64, ops, bytes int) *EntryBuilder {
	b := make([]byte, offsetOps, offsetOps+ops*lengthSize+bytes)
	b[0] = entryVersion
	copy(b[offsetID:], id[:])
	binary.BigEndian.PutUint64(b[offsetBase:], base)
	return &EntryBuilder{buffer: b}
}

// Fits reports whether Add would take an operation of the given encoded size.
func (b *EntryBuilder) Fits(opSize int) bool {
	return b.count < MaxEntryOps && len(b.buffer)+lengthSize+opSize <= MaxEntrySize
}

// Add appends what EncodeOp returned. It fails, and changes nothing, when the entry would pass its bounds.
func (b *EntryBuilder) Add(op []byte) error {
	if !b.Fits(len(op)) {
		return fmt.Errorf("add op: entry of %d ops and %d bytes has no room for %d bytes more", b.count, len(b.buffer), len(op))
	}
	b.buffer = binary.BigEndian.AppendUint32(b.buffer, uint32(len(op)))
	b.buffer = append(b.buffer, op...)
	b.count++
	return nil
}

// Len returns the number of operations so far.
func (b *EntryBuilder) Len() int { return b.count }

// Size returns the number of bytes so far.
func (b *EntryBuilder) Size() int { return len(b.buffer) }

// Bytes returns the encoded entry, which shares memory with the builder.
func (b *EntryBuilder) Bytes() []byte {
	binary.BigEndian.PutUint32(b.buffer[offsetCount:], uint32(b.count))
	return b.buffer
}

// EncodeEntry writes an entry for the log.
func EncodeEntry(e Entry) ([]byte, error) {
	p := newPacker()
	b := NewEntryBuilder(e.ID, e.Base, len(e.Ops), 0)
	for _, op := range e.Ops {
		encoded, err := p.encodeOp(op)
		if err != nil {
			return nil, err
		}
		if err := b.Add(encoded); err != nil {
			return nil, fmt.Errorf("encode entry: %w", err)
		}
	}
	encoded := b.Bytes()
	return encoded, StampTime(encoded, e.Time)
}

// StampTime overwrites the time of an encoded entry, as a leader does with what others forward to it.
func StampTime(entry []byte, t time.Time) error {
	if err := checkHeader(entry); err != nil {
		return fmt.Errorf("stamp entry: %w", err)
	}
	var nanos int64
	if !t.IsZero() {
		nanos = t.UnixNano()
	}
	binary.BigEndian.PutUint64(entry[offsetTime:], uint64(nanos))
	return nil
}

// DecodeEntry reads what EncodeEntry or an EntryBuilder wrote. It accepts nothing else, whatever the input, and needs
// memory in proportion to it.
func DecodeEntry(b []byte) (Entry, error) { return newPacker().decodeEntry(b) }

func (p *packer) decodeEntry(b []byte) (Entry, error) {
	e, count, err := decodeHeader(b)
	if err != nil {
		return Entry{}, fmt.Errorf("decode entry: %w", err)
	}
	rest := b[offsetOps:]
	e.Ops = make([]Op, 0, count)
	for i := range count {
		var body []byte
		if body, rest, err = cut(rest); err != nil {
			return Entry{}, fmt.Errorf("decode entry: op %d: %w", i, err)
		}
		op, err := p.decodeOp(body)
		if err != nil {
			return Entry{}, fmt.Errorf("decode entry: op %d: %w", i, err)
		}
		e.Ops = append(e.Ops, op)
	}
	if len(rest) != 0 {
		return Entry{}, fmt.Errorf("decode entry: %d bytes too many", len(rest))
	}
	return e, nil
}

func checkHeader(b []byte) error {
	if len(b) < offsetOps {
		return fmt.Errorf("%d bytes are too few", len(b))
	}
	if len(b) > MaxEntrySize {
		return fmt.Errorf("%d bytes are more than %d", len(b), MaxEntrySize)
	}
	if b[0] != entryVersion {
		return fmt.Errorf("unknown version %d", b[0])
	}
	return nil
}

func decodeHeader(b []byte) (e Entry, count int, err error) {
	if err := checkHeader(b); err != nil {
		return Entry{}, 0, err
	}
	copy(e.ID[:], b[offsetID:])
	e.Base = binary.BigEndian.Uint64(b[offsetBase:])
	if nanos := int64(binary.BigEndian.Uint64(b[offsetTime:])); nanos != 0 {
		e.Time = time.Unix(0, nanos).UTC()
	}
	n := binary.BigEndian.Uint32(b[offsetCount:])
	if n > MaxEntryOps || int(n) > len(b)/lengthSize {
		return Entry{}, 0, fmt.Errorf("%d operations are too many", n)
	}
	return e, int(n), nil
}

// cut takes a length and that many bytes off the front.
func cut(b []byte) (body, rest []byte, err error) {
	if len(b) < lengthSize {
		return nil, nil, fmt.Errorf("length cut short")
	}
	n := binary.BigEndian.Uint32(b)
	b = b[lengthSize:]
	if uint64(n) > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%d bytes announced, %d there", n, len(b))
	}
	return b[:n], b[n:], nil
}
