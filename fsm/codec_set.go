package fsm

import (
	"encoding/binary"
	"fmt"
)

// A KVSet has a form of its own, since nearly all of a busy log are these: msgpack takes ten times as long, on each
// server. Numbers are big endian; a text or value is 4 bytes of length and its bytes:
//
//	offset  size
//	     0     8  Base of the request
//	     8     8  Flags
//	    16     1  kind of condition
//	    17     8  number of the condition
//	    25        ID of the request, Key, Acquire, Release, Value
const (
	setFlags  = 8
	setKind   = 16
	setNumber = 17
	setTexts  = 25
)

// appendSet appends an encoded KVSet to b.
func appendSet(b []byte, op *KVSet) []byte {
	b = binary.BigEndian.AppendUint64(b, op.Base)
	b = binary.BigEndian.AppendUint64(b, op.Flags)
	b = append(b, byte(op.Cond.Kind))
	b = binary.BigEndian.AppendUint64(b, op.Cond.Number)
	for _, text := range [...]string{op.ID, op.Key, op.Acquire, op.Release} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(op.Value))), op.Value...)
}

// sizeOfSet is how many bytes appendSet appends.
func sizeOfSet(op *KVSet) int {
	const texts = 5
	return setTexts + texts*lengthSize + len(op.ID) + len(op.Key) + len(op.Acquire) + len(op.Release) + len(op.Value)
}

// decodeSet reads what appendSet wrote, and keeps nothing of b.
func decodeSet(b []byte) (Op, error) {
	if len(b) < setTexts {
		return nil, fmt.Errorf("decode %T: %d bytes are too few", KVSet{}, len(b))
	}
	var op KVSet
	op.Base, op.Flags = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[setFlags:])
	op.Cond = Cond{Kind: CondKind(b[setKind]), Number: binary.BigEndian.Uint64(b[setNumber:])}
	rest := b[setTexts:]
	var body []byte
	var err error
	for _, text := range [...]*string{&op.ID, &op.Key, &op.Acquire, &op.Release} {
		if body, rest, err = cut(rest); err != nil {
			return nil, fmt.Errorf("decode %T: %w", op, err)
		}
		*text = string(body)
	}
	if body, rest, err = cut(rest); err != nil {
		return nil, fmt.Errorf("decode %T: %w", op, err)
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("decode %T: %d bytes too many", op, len(rest))
	}
	op.Value = append(make([]byte, 0, len(body)), body...) // empty, not nil, as a value that is read
	return op, nil
}
