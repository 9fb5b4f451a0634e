package fsm

import (
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// opKind is the byte before an operation in an entry. The numbers are in every log on disk: never reuse one.
type opKind uint8

const (
	kindClusterInit    opKind = 1
	kindKVSet          opKind = 2
	kindKVDelete       opKind = 3
	kindTxn            opKind = 4
	kindSessionCreate  opKind = 5
	kindSessionDestroy opKind = 6
	kindNodeRegister   opKind = 7
	kindNodeBind       opKind = 8
	kindNodeRemove     opKind = 9
	kindSettingSet     opKind = 10
	kindSettingDelete  opKind = 11
	kindEventAppend    opKind = 12
	kindNoop           opKind = 13
	kindPrimacy        opKind = 14
)

func (ClusterInit) kind() opKind    { return kindClusterInit }
func (KVSet) kind() opKind          { return kindKVSet }
func (KVDelete) kind() opKind       { return kindKVDelete }
func (Txn) kind() opKind            { return kindTxn }
func (SessionCreate) kind() opKind  { return kindSessionCreate }
func (SessionDestroy) kind() opKind { return kindSessionDestroy }
func (NodeRegister) kind() opKind   { return kindNodeRegister }
func (NodeBind) kind() opKind       { return kindNodeBind }
func (NodeRemove) kind() opKind     { return kindNodeRemove }
func (SettingSet) kind() opKind     { return kindSettingSet }
func (SettingDelete) kind() opKind  { return kindSettingDelete }
func (EventAppend) kind() opKind    { return kindEventAppend }
func (Noop) kind() opKind           { return kindNoop }
func (Primacy) kind() opKind        { return kindPrimacy }

// request returns the Request of the operations that embed one; the others keep Op's zero value.
func (r Request) request() Request { return r }

// packer encodes and decodes msgpack. It keeps what reflection finds out about the types and the library's buffers, so one
// that lives long is faster than a new one. It is for one goroutine at a time.
type packer struct {
	encoder *codec.Encoder
	decoder *codec.Decoder
	scratch []byte // what the encoder writes to
}

func newPacker() *packer {
	h := &codec.MsgpackHandle{WriteExt: true} // tells bytes from text
	h.Canonical = true                        // maps in key order: equal values give equal bytes
	h.ErrorIfNoField = true
	// MaxInitLen stays unset: a length that lies then costs at most 256 KiB or 4096 elements before what it announces is
	// there. A small value would grow a large byte slice by so many bytes at a time, copying all of it each time.
	h.MaxDepth = 32
	return &packer{encoder: codec.NewEncoderBytes(nil, h), decoder: codec.NewDecoderBytes(nil, h)}
}

// pack appends value to prefix.
func (p *packer) pack(prefix []byte, value any) ([]byte, error) {
	p.encoder.ResetBytes(&p.scratch)
	if err := p.encoder.Encode(value); err != nil {
		return nil, err
	}
	return append(prefix, p.scratch...), nil
}

// unpack decodes exactly one value from all of b, and keeps nothing of b.
func (p *packer) unpack(b []byte, value any) error {
	p.decoder.ResetBytes(b)
	if err := p.decoder.Decode(value); err != nil {
		return err
	}
	if rest := len(b) - p.decoder.NumBytesRead(); rest != 0 {
		return fmt.Errorf("%d bytes too many", rest)
	}
	return nil
}

// EncodeOp writes one operation as an EntryBuilder takes it: the kind byte, for a Primacy another one, and msgpack or,
// for a KVSet, a form of its own.
func EncodeOp(op Op) ([]byte, error) {
	if set, ok := op.(KVSet); ok {
		return encodeSet(&set), nil
	}
	return newPacker().encodeOp(op)
}

func encodeSet(op *KVSet) []byte {
	b := make([]byte, 1, 1+sizeOfSet(op))
	b[0] = byte(kindKVSet)
	return appendSet(b, op)
}

func (p *packer) encodeOp(op Op) ([]byte, error) {
	if op == nil {
		return nil, fmt.Errorf("encode op: no operation")
	}
	if set, ok := op.(KVSet); ok {
		return encodeSet(&set), nil
	}
	if op, ok := op.(Primacy); ok {
		return p.encodePrimacy(op)
	}
	b, err := p.pack([]byte{byte(op.kind())}, op)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", op, err)
	}
	return b, nil
}

// DecodeOp reads what EncodeOp wrote.
func DecodeOp(b []byte) (Op, error) { return newPacker().decodeOp(b) }

func (p *packer) decodeOp(b []byte) (Op, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("decode op: empty")
	}
	body := b[1:]
	switch kind := opKind(b[0]); kind {
	case kindClusterInit:
		return decodeAs[ClusterInit](p, body)
	case kindKVSet:
		return decodeSet(body)
	case kindKVDelete:
		return decodeAs[KVDelete](p, body)
	case kindTxn:
		return decodeAs[Txn](p, body)
	case kindSessionCreate:
		return decodeAs[SessionCreate](p, body)
	case kindSessionDestroy:
		return decodeAs[SessionDestroy](p, body)
	case kindNodeRegister:
		return decodeAs[NodeRegister](p, body)
	case kindNodeBind:
		return decodeAs[NodeBind](p, body)
	case kindNodeRemove:
		return decodeAs[NodeRemove](p, body)
	case kindSettingSet:
		return decodeAs[SettingSet](p, body)
	case kindSettingDelete:
		return decodeAs[SettingDelete](p, body)
	case kindEventAppend:
		return decodeAs[EventAppend](p, body)
	case kindNoop:
		return decodeAs[Noop](p, body)
	case kindPrimacy:
		return p.decodePrimacy(body)
	default:
		return nil, fmt.Errorf("decode op: unknown kind %d", kind)
	}
}

func decodeAs[T Op](p *packer, body []byte) (Op, error) {
	var op T
	if err := p.unpack(body, &op); err != nil {
		return nil, fmt.Errorf("decode %T: %w", op, err)
	}
	return op, nil
}

// EncodeResults writes results for the server that forwarded the entry.
func EncodeResults(results []Result) ([]byte, error) {
	b, err := newPacker().pack(nil, results)
	if err != nil {
		return nil, fmt.Errorf("encode results: %w", err)
	}
	return b, nil
}

// DecodeResults reads what EncodeResults wrote.
func DecodeResults(b []byte) ([]Result, error) {
	var results []Result
	if err := newPacker().unpack(b, &results); err != nil {
		return nil, fmt.Errorf("decode results: %w", err)
	}
	return results, nil
}
